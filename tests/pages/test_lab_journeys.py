"""Looking into an episode, playing it out, and the playground, in Chromium, on the bundled demo with real jobs."""

import re

import pandas as pd
import pytest
from browsing import choose_option, drawn, fill_number, visit
from playwright.sync_api import expect

from seqrl.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SWEEP = "demo/rtg"


@pytest.fixture(scope="session")
def filmed(server):
    """Episodes of the demo whose videos are bundled, by target."""
    store = Store(server[1])
    table = store.sweep_episodes(SWEEP)
    sampled = table[(table["run"] == "demo/dt") & (table["decoding"] == "sampled")]
    found = {
        float(row["target"]): row
        for _, row in sampled.iterrows()
        if store.media_path(SWEEP, int(row["episode_id"])).is_file()
    }
    return dict(sorted(found.items()))


def link(*rows, step=0, more=""):
    first, *others = (int(row["episode_id"]) for row in rows)
    beside = f"&beside={','.join(map(str, others))}" if others else ""
    return f"episode_lab?sweep={SWEEP}&episode={first}{beside}&step={step}{more}"


def at_frame(page, step):
    """The player, once it has painted exactly this frame."""
    player = page.locator(f'.lab[data-frame="{step}"]')
    player.wait_for()
    return player


def ink(page, number=0):
    """How dark the picture of an episode is, column by column: where the cart is."""
    return (
        page.locator("canvas.picture")
        .nth(number)
        .evaluate(
            "c => { const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const sums = [];"
            " for (let x = 0; x < c.width; x += 4) { let s = 0; for (let y = 0; y < c.height; y += 4)"
            " s += 255 - p[4 * (y * c.width + x)]; sums.push(s); } return sums; }"
        )
    )


def test_keys_slider_and_strips_step_through_the_recorded_frames(page, server, filmed):
    row = filmed[max(filmed)]
    visit(page, server, link(row, step=30))
    at_frame(page, 30)
    before = ink(page)
    assert max(before) > 0, "a picture, not a white canvas"
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    at_frame(page, 35)
    assert ink(page) != before
    page.wait_for_url(re.compile("step=35"))
    drawn(page, "Attention at step 35")
    drawn(page, "Response at step 35")
    page.keyboard.press("ArrowLeft")
    at_frame(page, 34)
    slider = page.get_by_label("step of the episode")
    slider.focus()
    page.keyboard.press("End")
    at_frame(page, int(row["length"]))
    expect(page.get_by_text("The episode is over here")).to_be_visible()
    strip = page.locator("canvas.strip").first.bounding_box()
    page.mouse.click(strip["x"] + strip["width"] / 2, strip["y"] + strip["height"] / 2)
    page.wait_for_url(re.compile(rf"step={int(row['length']) // 2}"))
    page.keyboard.press("Space")
    page.wait_for_function(
        f"(() => {{ const find = r => [...r.querySelectorAll('*')].flatMap(e => e.shadowRoot ? "
        f"[...e.shadowRoot.querySelectorAll('.lab')] : []);"
        f" return Number(find(document)[0].dataset.frame) > {int(row['length']) // 2 + 3}; }})()"
    )
    page.keyboard.press("Space")


def test_a_frame_is_the_same_however_one_gets_there(page, server, filmed):
    row = next(filmed[target] for target in sorted(filmed) if filmed[target]["length"] > 40)
    visit(page, server, link(row, step=40))
    at_frame(page, 40)
    there = ink(page)
    page.keyboard.press("Home")
    at_frame(page, 0)
    assert ink(page) != there
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    at_frame(page, 40)
    assert ink(page) == there


def test_episodes_move_side_by_side_and_either_is_looked_into(page, server, filmed):
    rows = [filmed[target] for target in (min(filmed), max(filmed))]
    visit(page, server, link(*rows, step=20))
    at_frame(page, 20)
    expect(page.locator("canvas.picture")).to_have_count(2)
    drawn(page, "Attention at step 20")
    page.get_by_role("radio").or_(page.get_by_role("button")).filter(
        has_text=f"Episode {rows[1]['episode_id']}"
    ).click()
    page.get_by_text(f"now {rows[1]['target'] - 20:g}").wait_for()
    page.get_by_role("combobox", name="What is varied").click()
    page.get_by_role("option", name="pole angle").click()
    page.get_by_text(re.compile("(With|whatever) pole angle")).wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).first.click()
    table = pd.read_csv(download.value.path())
    assert list(table.columns) == ["pole angle", "push left", "push right"]


def test_what_if_is_played_out_by_a_job_and_watched_beside_the_unchanged_episode(page, server, filmed):
    row = filmed[min(filmed)]
    step = int(row["length"]) // 2
    visit(page, server, link(row, step=step))
    at_frame(page, step)
    drawn(page, f"Response at step {step}")
    fill_number(page, "Episodes per schedule", 1)
    page.get_by_text("3 episodes in the real environment").wait_for()
    targets = page.get_by_role("textbox", name=f"Targets from step {step} on (reward)")
    targets.fill("480")
    targets.press("Enter")
    page.get_by_text("2 episodes in the real environment").wait_for()
    page.get_by_role("button", name="Play it out").click()
    watch = page.get_by_role("button", name="Watch side by side")
    watch.wait_for()
    expect(page.get_by_text("With the target unchanged")).to_contain_text(f"{row['achieved_return']:g}")
    watch.click()
    page.wait_for_url(re.compile("sweep=what-if"))
    expect(page.locator("canvas.picture")).to_have_count(2)
    at_frame(page, step)
    assert ink(page, 0) == ink(page, 1), "until the change both are the recorded episode"
    page.keyboard.press("Shift+ArrowRight")
    at_frame(page, step + 10)


def test_a_schedule_from_the_start_is_compared_with_its_first_target(page, server, filmed):
    visit(page, server, link(filmed[min(filmed)], step=5))
    at_frame(page, 5)
    page.get_by_test_id("stButtonGroup").get_by_text("A schedule from the start").click()
    schedule = page.get_by_role("textbox", name="Schedule (step:target)")
    schedule.wait_for()
    fill_number(page, "Episodes per schedule", 2)
    schedule.fill("0:25, 30:500")
    schedule.press("Enter")
    page.get_by_text("4 episodes in the real environment").wait_for()
    page.get_by_role("button", name="Play it out").click()
    page.get_by_text("With the target unchanged (25) it collects").wait_for()
    expect(page.get_by_text("from step 30: 500").first).to_be_visible()


def test_the_address_says_which_head_and_which_dimension_is_looked_at(page, server, filmed):
    visit(page, server, link(filmed[max(filmed)], step=25))
    at_frame(page, 25)
    drawn(page, "Attention at step 25")
    choose_option(page, "Head", "layer 1, head 1")
    page.get_by_text("In layer 1, head 1").wait_for()
    choose_option(page, "What is varied", "cart velocity")
    page.wait_for_url(re.compile("lab.head=layer.*lab.varied=cart|lab.varied=cart.*lab.head=layer"))
    fresh = page.context.browser.new_context(viewport={"width": 1440, "height": 900})
    other = fresh.new_page()
    other.goto(page.url)
    for label, value in (("Head", "layer 1, head 1"), ("What is varied", "cart velocity")):
        expect(other.get_by_role("combobox", name=label)).to_have_value(value)
    other.get_by_text(re.compile("In layer 1, head 1")).wait_for()
    fresh.close()


def test_home_has_a_target_to_be_moved(page, server):
    visit(page, server, "")
    ground = page.locator(".playground[data-shown]")
    ground.wait_for()
    before = ground.get_attribute("data-shown")
    page.get_by_label("return to ask for (reward)").focus()
    page.keyboard.press("Home")
    expect(ground).not_to_have_attribute("data-shown", before)
    expect(ground.locator("video")).to_have_js_property("muted", True)


def test_present_mode_shows_the_next_episode_at_a_key(page, server, filmed):
    row = filmed[min(filmed)]
    visit(page, server, link(row, more="&present=1"))
    page.locator(".lab[data-frame]").wait_for()
    page.keyboard.press("n")
    following = int(row["episode_id"]) + 1
    page.wait_for_url(re.compile(f"episode={following}"))
    page.locator(".lab .title", has_text=f"Episode {following},").wait_for()
    page.keyboard.press("p")
    page.wait_for_url(re.compile(f"episode={int(row['episode_id'])}(&|$)"))


@pytest.mark.parametrize("path", ["lab", "playground"])
def test_a_projector_needs_no_horizontal_scrolling(page, server, filmed, path):
    page.set_viewport_size({"width": 1024, "height": 768})
    page.emulate_media(color_scheme="dark")
    visit(page, server, link(*filmed.values(), step=10) if path == "lab" else "playground")
    page.locator(".lab[data-frame], .playground[data-shown]").wait_for()
    main = page.get_by_test_id("stMain")
    assert main.evaluate("e => e.scrollWidth <= e.clientWidth")
    pictures = page.locator("canvas.picture, canvas.strip, video")
    assert pictures.evaluate_all("all => all.filter(e => !e.getAttribute('aria-label')).length") == 0


def test_the_playground_plays_at_once_what_is_there_and_any_other_target_on_demand(page, server, filmed):
    visit(page, server, "playground?ground=demo/rtg")
    slider = page.get_by_label("return to ask for (reward)")
    slider.focus()
    page.keyboard.press("End")
    page.locator(f'.playground[data-shown="{max(filmed):g}"][data-play-ms]').wait_for()
    page.keyboard.press("Home")
    page.locator(f'.playground[data-shown="{min(filmed):g}"]').wait_for()
    expect(page.get_by_text("nearest that was played: asked for")).to_be_visible()
    page.wait_for_url(re.compile("[?&]asked=0(&|$)"))
    page.reload()
    expect(page.get_by_label("return to ask for (reward)")).to_have_value("0")
    page.get_by_role("button", name="Play exactly 0").click()
    page.locator('.playground[data-shown="0"]').wait_for()
    expect(page.get_by_text("1 more target since")).to_be_visible()


def test_an_episode_of_a_sweep_is_opened_in_the_lab(page, server, filmed):
    row = filmed[max(filmed)]
    visit(
        page, server, f"rtg_sweep?sweep={SWEEP}&point=demo/dt · sampled · {row['target']:g}&episode={row['episode_id']}"
    )
    page.get_by_role("link", name="Look inside").click()
    page.wait_for_url(re.compile(f"episode_lab.*episode={row['episode_id']}"))
    page.locator(".lab[data-frame]").wait_for()
