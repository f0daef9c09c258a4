"""People in browsers, in a process of their own.

``python -m tests.reliability.visitors wander ADDRESS PEOPLE SECONDS SEED`` has them look about all at once;
``… launch ADDRESS PEOPLE TIMES QUERY`` has each start trainings as fast as the page lets them. Every person has a
browser profile of their own, and leaves a JSON line on what they did and saw.
"""

import asyncio
import json
import random
import sys
import time

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from tests.conftest import CHROMIUM

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
WAIT_MS = 120_000
POLL_MS = 50
DONE = "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
SHOWN = (
    """document.body.innerText + [...document.querySelectorAll('input, textarea')].map(field => field.value).join()"""
)
MAIN = "[data-testid=stMain]"
CONTROLS = (
    f"{MAIN} [data-testid=stBaseButton-segmented_control]",
    f"{MAIN} label:has(input[role=switch]:not([disabled]))",
    f"{MAIN} [role=tab]",
    f"{MAIN} summary",
)
THINKING_S = (1.0, 5.0)


class Person:
    """One profile of a browser.

    Attributes:
        seconds: from each click to the end of what it drew, as the browser saw it.
        problems: what was shown that should not have been.
    """

    def __init__(self, context, page, address, name, chance):
        self.context, self.page, self.address, self.name, self.chance = context, page, address, name, chance
        self.seconds, self.problems, self.steps = [], [], 0

    @classmethod
    async def arrive(cls, browser, address, name, chance):
        context = await browser.new_context(viewport={"width": 1200, "height": 800})
        page = await context.new_page()
        page.set_default_timeout(WAIT_MS)
        return cls(context, page, address, name, chance)

    async def done(self):
        await self.page.wait_for_function(DONE, polling=POLL_MS)  # by default it has every frame drawn

    async def open(self, path):
        await self.page.goto(f"{self.address}/{path}")
        await self.page.get_by_role("heading", level=1).wait_for()
        await self.done()

    async def write_name(self, text):
        """Type into the form of Train, as far as the server knows it."""
        field = self.page.get_by_label("Name", exact=True)
        await field.fill(text)
        await field.press("Enter")
        await asyncio.sleep(0.1)
        await self.done()

    async def click(self, target):
        """Click, and time how long the page is busy with it."""
        started = time.perf_counter()
        try:
            await target.click(timeout=5000)
        except PlaywrightError:
            return  # it was drawn anew in that moment, as a hand would see
        await asyncio.sleep(0.05)
        await self.done()
        self.seconds.append(time.perf_counter() - started)

    async def step(self):
        """Do what somebody could do next who starts and stops nothing."""
        self.steps += 1
        roll = self.chance.random()
        if roll < 0.02:
            await self.page.reload()
            await self.page.get_by_role("heading", level=1).wait_for()
            await self.done()
        elif roll < 0.15:
            await self.click(self.chance.choice(await self.page.get_by_test_id("stSidebarNavLink").all()))
        elif roll < 0.2 and "/train" in self.page.url:
            await self.write_name(self.name)
        elif options := [option for kind in CONTROLS for option in await self.page.locator(kind).all()]:
            await self.click(self.chance.choice(options))

    async def look(self, others):
        """Note whatever of somebody else, and whatever fault, can be seen."""
        text = await self.page.evaluate(SHOWN) + self.page.url
        self.problems += [f"{self.name} sees {other} at {self.page.url}" for other in others if other in text]
        if await self.page.get_by_test_id("stException").count():
            self.problems.append(f"{self.name} sees an exception at {self.page.url}")

    async def wander(self, until, others):
        while time.monotonic() < until:
            await self.step()
            await self.look(others)
            await asyncio.sleep(self.chance.uniform(*THINKING_S))

    async def launch(self, times):
        """Start one training after the other, each under a name of one's own."""
        for number in range(times):
            name = f"{self.name}-{number}"
            await self.write_name(name)
            await self.page.get_by_role("button", name="Train", exact=True).click()
            await self.page.get_by_test_id("stMain").get_by_text(name).first.wait_for()
            await self.done()


async def wander(people, seconds, _seed):
    """Everybody writes their name, and finds it there when all have; then all look about."""
    names = [person.name for person in people]
    for person in people:
        await person.open("train")
    await asyncio.gather(*(person.write_name(person.name) for person in people))
    for person in people:
        found = await person.page.get_by_label("Name", exact=True).input_value()
        person.problems += [] if found == person.name else [f"{person.name} finds {found} where their name was"]
    print(json.dumps({"begun": True}), flush=True)
    until = time.monotonic() + float(seconds)
    await asyncio.gather(*(person.wander(until, [name for name in names if name != person.name]) for person in people))


async def launch(people, times, query):
    """All open the form, then all start to click."""
    await asyncio.gather(*(person.open(f"train?{query}") for person in people))
    await asyncio.gather(*(person.launch(int(times)) for person in people))


async def main(doing, address, count, *more):
    """Give each person a browser, and tell what they met."""
    async with async_playwright() as playwright:
        browsers = int(count) if doing == "launch" else 1  # ten of them would be all that this machine does
        opened = [await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS) for _ in range(browsers)]
        people = [
            await Person.arrive(opened[i % browsers], address, f"visitor-{chr(97 + i)}", random.Random(f"{more} {i}"))
            for i in range(int(count))
        ]
        await (wander if doing == "wander" else launch)(people, *more)
        for person in people:
            told = {"name": person.name, "steps": person.steps, "seconds": person.seconds, "problems": person.problems}
            print(json.dumps(told), flush=True)
        for browser in opened:
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
