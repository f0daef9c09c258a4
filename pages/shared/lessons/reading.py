"""Lessons on what is read: the return-to-go, three requests, and the prompt."""

from __future__ import annotations

import os

import numpy as np
import streamlit as st

from pages.shared.charts import chart
from pages.shared.episode_view import asked_for, clip
from pages.shared.frame import controls, finite, open_store, style, two_columns
from pages.shared.lessons.lesson import Link, Missing, Told
from pages.shared.lessons.records import choose_sample, command, figures
from pages.shared.sweep_view import Measured, filmed, point_name
from pages.shared.videos import play
from seqrl import plots
from seqrl.plots.format import enumerate_words, number
from seqrl.store import Store, SweepRow

_MOST_TOKENS = 4


def return_to_go(store: Store) -> Told:
    """An episode's rewards, and what is still to come of them at any step, live."""
    with controls().container(horizontal=True, vertical_alignment="bottom"):
        name, sample = choose_sample(store, "rtg", "demo/cartpole")
        last = len(sample.episodes) - 1
        episode = int(st.number_input("Episode", 0, last, 0, key=finite("rtg.episode"), bind="query-params", width=120))
        discount = st.slider("Discount γ", 0.8, 1.0, 1.0, 0.01, key="rtg.discount", bind="query-params", width=160)
        rewards = np.asarray(sample.episode(min(episode, last)).rewards)
        end = max(1, len(rewards) - 1)
        third, key = min(end, len(rewards) // 3), f"rtg.step.{name}.{episode}"
        step = st.slider("Step", 0, end, third, key=key, bind="query-params", width=180)
    info = plots.return_to_go_info(rewards, float(discount), int(step))
    chart(
        plots.return_to_go(info, *style()),
        "lesson-return-to-go",
        "Rewards of an episode and what is still to come",
        plots.sentence(info),
    )
    tail = info.returns_to_go[-1]
    whole = number(float(rewards.sum()))
    about = (
        ", the episode's whole return," if discount == 1 else f" (the whole return is {whole}; what is far counts less)"
    )
    notice = (
        f"The return-to-go starts at **{number(float(info.returns_to_go[0]))}**{about} and ends at its "
        f"last reward, {number(float(tail))}. Nobody knows it while acting; in a recording it is only a sum."
    )
    if discount < 1:
        low, high = (number(float(value)) for value in (info.returns_to_go.min(), info.returns_to_go.max()))
        notice += f" With γ = {discount:g} it stays between {low} and {high} here."
    links = (
        Link(
            "See it for all episodes",
            "pages/datasets.py",
            {"do": "", "dataset": name, "view": "Return-to-go"},
        ),
        Link("Watch it fall in an episode", "pages/rtg_sweep.py", {}, ":material/target:"),
    )
    return Told(notice, links)


def three_requests(store: Store) -> Told:
    """Three episodes that were asked for different returns, side by side."""
    recipe, box = "asking", controls()
    if any(row.name == "demo/compare" and row.state == "succeeded" for row in store.sweeps()):
        model = box.segmented_control(
            "Model",
            ["Decision Transformer", "Trajectory Transformer"],
            default="Decision Transformer",
            required=True,
            key="three.model",
            bind="query-params",
        )
        recipe = "asking" if model == "Decision Transformer" else "compare"
    sweep, data = figures(store, recipe, "three")
    videos = filmed(sweep, data)
    if not videos:
        raise Missing("a rendered episode")
    targets = sorted(videos)
    chosen = targets
    if len(targets) > 3:
        chosen = box.multiselect(
            "Requests",
            targets,
            [targets[0], targets[len(targets) // 2], targets[-1]],
            format_func=number,
            max_selections=3,
            key="three.of",
            bind="query-params",
        )
    rows = [data.episodes[data.episodes["episode_id"] == videos[target]].iloc[0] for target in sorted(chosen)]
    if not rows:
        st.info("Choose at least one request.", icon=":material/ads_click:")
        return Told("Nothing is chosen.")
    play([clip(sweep, row, title=asked_for(row), strips=False) for row in rows], key=f"three.{sweep.name}")
    told = enumerate_words(
        [f"asked for {number(row['target'])} it collected **{number(row['achieved_return'])}**" for row in rows]
    )
    run = str(rows[0]["run"])
    means = data.points[(data.points["run"] == run) & (data.points["decoding"] == rows[0]["decoding"])]
    reached = {float(row.target): float(row.mean) for row in means.itertuples()}
    average = enumerate_words(
        [number(reached[float(row["target"])]) for row in rows if float(row["target"]) in reached]
    )
    point = point_name(run, str(rows[-1]["decoding"]), float(rows[-1]["target"]))
    return Told(
        f"The same weights, three requests: {told}. One episode proves little; the means of all episodes with these "
        f"requests are {average}.",
        (Link("See all episodes behind them", "pages/rtg_sweep.py", {"sweep": sweep.name, "point": point}),),
        command(sweep),
    )


@st.cache_data(max_entries=32, show_spinner=False)
def _first_answers(
    home: str, sweep: str, size: int, run: str, episode: int, asked: tuple[int, ...]
) -> list[list[float] | None]:
    """Probabilities of the first action in these episodes; None where they were not kept."""
    answers: list[list[float] | None] = []
    for identifier in asked:
        chances = open_store().episode_steps(sweep, identifier).get("action_probabilities")
        kept = chances is not None and chances.ndim == 2
        answers.append([float(p) for p in chances[0]] if kept and chances is not None else None)
    return answers


def _tokens(sweep: SweepRow, data: Measured, episode_id: int, step: int, with_return: bool) -> None:
    """The last steps of an episode as the sequence that the model reads, newest last."""
    store = open_store()
    steps = store.episode_steps(sweep.name, episode_id)
    row = data.episodes[data.episodes["episode_id"] == episode_id].iloc[0]
    labels = store.run(str(row["run"])).facts.action.labels
    badges = []
    for t in range(max(0, step - _MOST_TOKENS + 1), step + 1):
        if with_return:
            badges.append(f":blue-badge[return-to-go {number(float(steps['returns_to_go'][t]))}]")
        badges.append(f":gray-badge[what it sees at step {t}]")
        if t < step:
            action = steps["actions"][t]
            named = labels[int(action)] if labels and np.ndim(action) == 0 else np.array2string(action, precision=2)
            badges.append(f":green-badge[{named}]")
    badges.append(":orange-badge[next action?]")
    st.markdown(" ".join(badges))


def prompt(store: Store) -> Told:
    """The sequence that a Decision Transformer reads, and how its first answer depends on the prompt."""
    sweep, data = figures(store, "asking", "prompt")
    listening = next((run for run, kind in data.kinds.items() if kind == "dt"), None)
    if listening is None:
        raise Missing("a Decision Transformer that was asked for returns")
    sampled = data.episodes[(data.episodes["decoding"] == "sampled") & (data.episodes["run"] == listening)]
    asked = sampled[sampled["target"].notna()]
    starts = sorted(asked["episode"].unique())[:4]
    with controls().container(horizontal=True, vertical_alignment="bottom"):
        start = st.segmented_control(
            "Start state",
            [f"number {i + 1}" for i in range(len(starts))],
            default="number 1",
            required=True,
            key="prompt.start",
            bind="query-params",
        )
        with_return = st.toggle("Return tokens", True, key="prompt.returns", bind="query-params")
        step = int(st.slider("Step of the episode", 1, 20, 3, key="prompt.steps", bind="query-params", width=200)) - 1
    episode = starts[int(str(start).rpartition(" ")[2]) - 1]
    these = asked[asked["episode"] == episode].sort_values("target")
    shown = these.iloc[len(these) // 2]
    left, right = two_columns(340)
    with left:
        st.markdown(
            "The last steps of what the network reads before it answers, in an episode that was asked for "
            f"{number(shown['target'])}:"
        )
        _tokens(sweep, data, int(shown["episode_id"]), min(step, int(shown["length"]) - 1), with_return)
    home = os.environ.get("SEQRL_HOME", "")
    size = len(data.episodes)
    answers = _first_answers(home, sweep.name, size, listening, int(episode), tuple(map(int, these["episode_id"])))
    kept = [(float(t), a) for t, a in zip(these["target"], answers, strict=True) if a is not None]
    deaf = next((run for run, kind in data.kinds.items() if kind == "bc"), None)
    facts = store.run(listening).facts
    if not kept:
        raise Missing("the probabilities of the first actions")
    targets, chances = np.array([t for t, _ in kept]), np.array([a for _, a in kept])
    kind = "dt"
    if not with_return and deaf is not None:
        of_deaf = data.episodes[(data.episodes["run"] == deaf) & (data.episodes["episode"] == episode)]
        flat = _first_answers(home, sweep.name, size, deaf, int(episode), (int(of_deaf.iloc[0]["episode_id"]),))[0]
        if flat is not None:
            kind, chances = "bc", np.tile(flat, (len(targets), 1))
    labels = list(facts.action.labels) or [f"action {i}" for i in range(chances.shape[1])]
    returns = (facts.returns.minimum, facts.returns.maximum)
    info = plots.response_curve_info(targets, chances, labels, kind=kind, data=returns)
    told = plots.sentence(info) if kind == "dt" else "Without return tokens the answer is the same whatever is wanted."
    with right:
        st.markdown("And what it answers at the very first step, to each request:")
        chart(
            plots.response_curve(info, *style()),
            "lesson-prompt",
            "Probability of the first action against the return that was asked for",
            told,
        )
    change = float(info.change.max())
    error = {row.run: row.mae for row in data.calibration.itertuples() if row.decoding == "sampled"}
    compared = ""
    if deaf is not None and deaf in error and listening in error:
        compared = (
            f" Over whole episodes, with return tokens the mean return is {number(error[listening])} from the request, "
            f"averaged over the requests; the same network without them, {number(error[deaf])}."
        )
    notice = (
        f"The same start state, the same weights: changing only the prompt changes the first answer by up to "
        f"**{number(100 * change, 2)} percentage points**."
        if kind == "dt"
        else "Take the return tokens away, and what is left is behaviour cloning: it cannot be asked."
    )
    links = (
        Link(
            "See what every step answers",
            "pages/episode_lab.py",
            {"sweep": sweep.name, "episode": str(shown["episode_id"])},
        ),
        Link("Compare over all requests", "pages/rtg_sweep.py", {"sweep": sweep.name}, ":material/target:"),
    )
    return Told(notice + compared, links, command(sweep))
