"""Move the target, and the episode for it plays at once: played beforehand on a grid, computed on demand elsewhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from pages.shared.episode_choice import to_the_lab
from pages.shared.episode_view import outcome, recorded
from pages.shared.frame import open_store, presenting, problems, theme
from pages.shared.jobs import drawing, progress, submit
from pages.shared.names import free_name
from pages.shared.sweep_view import drawn_among, film, kind_of, measured, most_typical, returns_in_data, typical_of
from pages.shared.videos import collected, video_url
from seqrl.calibration import by_typicality
from seqrl.config import (
    RenderJob,
    RenderSpec,
    ReturnSweepSpec,
    ScheduleSweepJob,
    ScheduleSweepSpec,
    check_schedule_sweep,
    takes_target,
)
from seqrl.plots import family_colour
from seqrl.plots.format import count, number
from seqrl.plots.layout import round_step
from seqrl.store import ACTIVE_STATES, NotFound, SweepRow

MOST_BYTES = 12_000_000
"""Videos that are sent to the browser at most; of more, every second is left out."""

EPISODES = 8

ASKED = "asked"
"""Where the address has the target that the slider was let go at."""


class Played(NamedTuple):
    """A typical episode of a target, and whether its video is there."""

    target: float
    sweep: SweepRow
    row: pd.Series
    drawn: bool

    @property
    def episode_id(self) -> int:
        """Row of the sweep's episode table."""
        return int(self.row["episode_id"])


_HERE = Path(__file__).parent
_mount = st.components.v2.component(
    "seqrl_playground",
    html='<div class="playground">\n</div>',
    css=(_HERE / "playground.css").read_text(),
    js="".join((_HERE / part).read_text() for part in ("elements.js", "playground.js")),
)


def grounds() -> list[SweepRow]:
    """The return sweeps that can be played with; the demo's own first, then those with most targets."""
    store = open_store()
    fitting = [
        row
        for row in store.sweeps()
        if row.kind == "sweep_rtg" and row.state == "succeeded" and row.spec.targets and listening_run(row) is not None
    ]
    return sorted(fitting, key=lambda row: (row.name != "demo/playground", -len(row.spec.targets)))


def listening_run(sweep: SweepRow) -> str | None:
    """The first run of a sweep that listens to a target."""
    for name in sweep.spec.runs:
        try:
            if takes_target(open_store().run(name).spec.model):
                return str(name)
        except NotFound:
            continue
    return None


def played(sweep: SweepRow, run: str) -> list[Played]:
    """A typical episode of every target that was played, in the sweep or on demand; those with a video first of all."""
    data = measured(sweep)
    tables = [(sweep, data.episodes, data.typical)]
    for other in open_store().sweeps():
        if other.kind == "sweep_schedule" and other.state == "succeeded" and other.name.startswith("playground-"):
            if other.spec.runs == (run,) and not other.spec.schedules:
                episodes = open_store().sweep_episodes(other.name)
                tables.append((other, episodes, most_typical(episodes)))
    found: dict[float, Played] = {}
    for source, table, typical in tables:
        identifiers = table["episode_id"].to_numpy()
        for target, candidates in typical_of(typical, run).items():
            drawn = drawn_among(source, candidates)
            row = table.iloc[int((identifiers == (candidates[0] if drawn is None else drawn)).argmax())]
            if target not in found or (drawn is not None and not found[target].drawn):
                found[target] = Played(target, source, row, drawn is not None)
    return [found[target] for target in sorted(found)]


def playground(sweep: SweepRow, key: str) -> None:
    """The slider and its episode; below, how to have any other target computed.

    Args:
        sweep: a finished return sweep with a run that listens.
        key: prefix of the widgets.
    """
    run = listening_run(sweep)
    if run is None:
        return
    entries = played(sweep, run)
    shown = _few_enough([entry for entry in entries if entry.drawn])
    missing = [entry for entry in entries if not entry.drawn]
    if missing and (len(shown) < 2 or not sweep.name.startswith("demo/")):
        _draw_missing(missing, key)
    if not shown:
        return
    with st.container(gap="xsmall"):
        _slider(sweep, run, entries, shown, key)


def _few_enough(entries: list[Played]) -> list[Played]:
    """As many as may be sent, evenly over the targets."""

    def size(some: list[Played]) -> int:
        paths = (film(entry.sweep, entry.episode_id) for entry in some)
        return sum(path.stat().st_size for path in paths)

    while len(entries) > 2 and size(entries) > MOST_BYTES:
        entries = [*entries[:-1:2], entries[-1]]
    return entries


def _draw_missing(missing: list[Played], key: str) -> None:
    """The button that draws a typical episode of every target that has no video yet, and how far that is."""
    jobs = {job.name: job for job in open_store().jobs() if job.kind == "render"}
    names = {f"{entry.sweep.name}/{entry.episode_id}": entry for entry in missing}
    active = [jobs[name] for name in names if name in jobs and jobs[name].state in ACTIVE_STATES]
    if active:
        progress(active[-1].id, f"{key}.drawing")
        return
    told = f"{count(len(missing), 'target')} of this sweep {'has' if len(missing) == 1 else 'have'} no video yet."
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Draw them", icon=":material/movie:", key=f"{key}.draw"):
            for entry in missing:
                submit(RenderJob(spec=RenderSpec(sweep=entry.sweep.name, episode_id=entry.episode_id)))
            st.rerun()
        st.caption(told)


@st.fragment
@problems()
def _slider(sweep: SweepRow, run: str, entries: list[Played], shown: list[Played], key: str) -> None:
    store = open_store()
    targets = [entry.target for entry in shown]
    returns = returns_in_data(store.run(run))
    low, high, step = _range(min(*targets, float(returns.min())), max(*targets, float(returns.max())))
    start = _linked(low, high, targets[len(targets) // 2])
    asked = float((st.session_state.get(key) or {}).get("asked", start))
    data = {
        "episodes": [_episode(entry, run) for entry in shown],
        "low": low,
        "high": high,
        "step": step,
        "start": start,
        "fingerprint": "|".join(f"{entry.sweep.name} {entry.episode_id}" for entry in shown) + theme(),
    }

    def released() -> None:
        """Let the address say what is asked for."""
        if "asked" in (st.session_state.get(key) or {}):
            st.query_params[ASKED] = f"{float(st.session_state[key]['asked']):.12g}"

    _mount(key=key, data=data, on_asked_change=released)
    nearest = min(shown, key=lambda entry: abs(entry.target - asked))
    if presenting():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        to_the_lab(nearest.sweep.name, nearest.episode_id)
        if nearest.target != asked:
            _compute(sweep, run, asked, key)
    st.caption(_made(sweep, shown))


def _linked(low: float, high: float, otherwise: float) -> float:
    """The target that the address names, if the slider has it."""
    try:
        asked = float(st.query_params.get(ASKED, ""))
    except ValueError:
        return otherwise
    return asked if low <= asked <= high else otherwise


def _made(sweep: SweepRow, shown: list[Played]) -> str:
    """Where the episodes come from, in words."""
    own = sum(entry.sweep.name == sweep.name for entry in shown)
    made = "with `python -m seqrl demo build`" if sweep.name.startswith("demo/") else f"by the sweep {sweep.name}"
    later = f", {count(len(shown) - own, 'more target')} since" if own < len(shown) else ""
    return (
        f"{count(own, 'target')} played beforehand {made}{later}: for each a typical one of its episodes, drawn as it "
        "was measured. Any other target is played when you ask for it."
    )


def _range(low: float, high: float) -> tuple[float, float, float]:
    """Round ends of the slider, and its step: about 500 positions of which the twentieths are round."""
    coarse = round_step(max(high - low, 1e-9), 20)
    return math.floor(low / coarse) * coarse, math.ceil(high / coarse) * coarse, coarse / 25


def _episode(entry: Played, run: str) -> dict[str, Any]:
    steps = recorded(entry.sweep, entry.episode_id)
    return {
        "target": entry.target,
        "video": video_url(film(entry.sweep, entry.episode_id)),
        "outcome": outcome(entry.row),
        "color": family_colour(kind_of(open_store().run(run)), theme()),
        "length": int(entry.row["length"]),
        "collected": collected(steps["rewards"]),
    }


def _compute(sweep: SweepRow, run: str, asked: float, key: str) -> None:
    """Play and draw exactly this target, as jobs."""
    store = open_store()
    job_key = f"{key}.job"
    name = st.session_state.get(job_key)
    job = next((row for row in store.sweeps() if row.name == name), None)
    if job is not None and job.spec.target == asked and job.job_id is not None:
        if job.state != "succeeded":
            progress(job.job_id, f"{key}.playing")
            return
        row = store.sweep_episodes(job.name)
        identifier = by_typicality(row)[0]
        wanted = RenderJob(spec=RenderSpec(sweep=job.name, episode_id=identifier))
        last = next((one for one in store.jobs() if one.is_for(wanted)), None)
        last = last or submit(wanted)
        if last is not None and last.state != "succeeded":
            drawing(last, f"{key}.rendering")
        return
    if not store.has_checkpoint(run):
        return
    if st.button(f"Play exactly {number(asked)}", icon=":material/play_arrow:", key=f"{key}.compute"):
        spec = _constant(sweep.spec, run, asked)
        row = store.run(run)
        check_schedule_sweep(spec, {run: (row.spec, row.facts)})
        if submit(ScheduleSweepJob(spec=spec)) is not None:
            st.session_state[job_key] = spec.name
            st.rerun()


def _constant(measured_as: ReturnSweepSpec, run: str, asked: float) -> ScheduleSweepSpec:
    """Episodes of one target, played as the sweep was."""
    return ScheduleSweepSpec(
        name=free_name(open_store(), f"playground-{run.removeprefix('demo/')}-{asked:g}"),
        runs=(run,),
        target=asked,
        schedules=(),
        episodes=EPISODES,
        decoding="sampled" if "sampled" in measured_as.decodings else "greedy",
        temperature=measured_as.temperature,
        acting=measured_as.acting,
        precision=measured_as.precision,
        planning=measured_as.planning,
        seed=measured_as.seed,
    )
