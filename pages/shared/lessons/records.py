"""The records behind the lessons: the bundled ones, one's own, and how to make one's own."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import streamlit as st

from pages.shared.estimates import training_seconds
from pages.shared.frame import open_store, problems, start_with
from pages.shared.jobs import STATES, log, stop_job, submit
from pages.shared.lessons.lesson import Missing
from pages.shared.sweep_view import Measured, measured
from seqrl.config import BeamSweepJob, BeamSweepSpec, DatasetFacts, DatasetJob, ReturnSweepJob, TrainJob
from seqrl.plots.format import count, duration
from seqrl.registry import RECIPES, Recipe
from seqrl.store import JobRow, NotFound, Store, SweepRow
from seqrl.store.samples import Sample

Job = DatasetJob | TrainJob | ReturnSweepJob | BeamSweepJob
COMMAND = "python -m seqrl demo build"
_DATASET_SECONDS = 3.0


def own_names(store: Store, key: str, attempt: str) -> dict[str, str]:
    """Name in the recipe → name of one's own attempt; a dataset that is there is learned from as it is."""
    recipe = RECIPES[key]
    names = [run.name for run in recipe.runs] + [recipe.sweep.name]
    there = any(row.name == recipe.dataset.name and row.facts is not None for row in store.datasets())
    names += [] if there else [recipe.dataset.name]
    return {name: f"my-{name.removeprefix('demo/')}{attempt}" for name in names}


def own_recipe(store: Store, key: str) -> Recipe | None:
    """The experiment under the names of the visitor's last attempt; None before the first one."""
    attempt = store.setting(f"lesson.{key}")
    return None if attempt is None else RECIPES[key].under(own_names(store, key, attempt))


def records(store: Store, key: str, slug: str) -> SweepRow:
    """The sweep that a lesson shows: the bundled one, or one's own where both are there.

    Raises:
        Missing: if there is neither.
    """
    there = {row.name: row for row in store.sweeps() if row.state == "succeeded"}
    own = own_recipe(store, key)
    wanted = [RECIPES[key].sweep.name, *([own.sweep.name] if own else [])]
    found = [name for name in wanted if name in there]
    if not found:
        raise Missing("what was measured for it")
    if len(found) == 1:
        return there[found[0]]
    start_with(f"{slug}.records", found[0], found)
    chosen = st.segmented_control("Records", found, required=True, key=f"{slug}.records", bind="query-params")
    return there[chosen if chosen in there else found[0]]


def figures(store: Store, key: str, slug: str) -> tuple[SweepRow, Measured]:
    """The sweep that a lesson shows, and what was measured."""
    sweep = records(store, key, slug)
    return sweep, measured(sweep)


def command(sweep: SweepRow) -> str:
    """What made a bundled sweep; nothing for one's own."""
    return COMMAND if sweep.name.startswith("demo/") else ""


@st.cache_resource(max_entries=6, show_spinner=False)
def _sample(home: str, name: str, created: float, size: int | None) -> Sample | None:
    try:
        return open_store().dataset_sample(name)
    except NotFound:
        return None


def sample(store: Store, name: str) -> Sample | None:
    """The steps of some episodes of a dataset, read once; None where no step is on this machine."""
    row = store.dataset(name)
    return _sample(os.environ.get("SEQRL_HOME", ""), name, row.created, row.size_bytes)


def samples(store: Store, fits: Callable[[DatasetFacts], object] = bool) -> dict[str, Sample]:
    """Datasets that fit and of which steps of vectors are on this machine, bundled ones first, at most eight.

    Raises:
        Missing: if there is none.
    """
    found: dict[str, Sample] = {}
    for row in store.datasets():
        if row.facts is None or row.facts.observation.kind == "image" or not fits(row.facts) or len(found) == 8:
            continue
        some = sample(store, row.name)
        if some is not None:
            found[row.name] = some
    if not found:
        raise Missing("a dataset whose steps can be read")
    return found


def choose_sample(
    store: Store, slug: str, first: str, fits: Callable[[DatasetFacts], object] = bool
) -> tuple[str, Sample]:
    """A dataset to look into, of those that fit; ``first`` where it is there."""
    known = samples(store, fits)
    start_with(f"{slug}.data", first if first in known else next(iter(known)), list(known))
    name = st.selectbox("Dataset", list(known), index=None, key=f"{slug}.data", bind="query-params", width=200) or next(
        iter(known)
    )
    return name, known[name if name in known else next(iter(known))]


def seconds(store: Store, recipe: Recipe) -> float:
    """How long an experiment takes, trainings one after the other."""
    trainings = sum(training_seconds(store, run)[0] for run in recipe.runs)
    return _DATASET_SECONDS + trainings + recipe.sweep_seconds


def last_job(store: Store, job: Job) -> JobRow | None:
    """The newest job that carries out this spec."""
    return store.last_job(job.kind, job.spec.name)


def due(store: Store, recipe: Recipe) -> list[Job]:
    """The jobs of an experiment that can be queued now: data first, then all trainings, then the measuring."""
    there = any(row.name == recipe.dataset.name and row.facts is not None for row in store.datasets())
    if not there:
        dataset = DatasetJob(spec=recipe.dataset)
        return [] if last_job(store, dataset) else [dataset]
    trainings = [TrainJob(spec=run) for run in recipe.runs]
    new: list[Job] = [job for job in trainings if last_job(store, job) is None]
    if new:
        return new
    done = all(row is not None and row.state == "succeeded" for row in map(lambda job: last_job(store, job), trainings))
    measuring = recipe.measuring()
    return [measuring] if done and last_job(store, measuring) is None else []


def run_it_yourself(store: Store, key: str, *, primary: bool = False) -> None:
    """Queue the very jobs that made the bundled records, under names of one's own; and follow them."""
    recipe = RECIPES[key]
    own = own_recipe(store, key)
    rows = [] if own is None else [row for job in _jobs_of(store, own) if (row := last_job(store, job)) is not None]
    going = own is not None and (not rows or any(not row.ended for row in rows) or bool(due(store, own)))
    failed = [row for row in rows if row.ended and row.state != "succeeded"]
    if going and not failed and own is not None:
        _follow(own)
        return
    what = f"{count(len(recipe.runs), 'training')}, then {count(_episodes(recipe), 'episode')}"
    st.markdown(f"{what}; about **{duration(_rounded(seconds(store, recipe)))}** on this machine, one after the other.")
    for row in failed[:1]:
        icon, verb = STATES[row.state]
        st.warning(f"{row.name} {verb}. {row.error or row.message}", icon=icon)
        log(row.id)
    label = "Run it again" if rows else "Run it yourself"
    kind = "primary" if primary else "secondary"
    if st.button(label, icon=":material/play_circle:", type=kind, key=f"lesson.run.{key}"):  # type: ignore[arg-type]
        store.set_setting(f"lesson.{key}", _free_attempt(store, key))
        begun = own_recipe(store, key)
        if begun is not None:
            advance(store, begun)
        st.rerun()


def advance(store: Store, recipe: Recipe) -> None:
    """Queue what can be queued now."""
    for job in due(store, recipe):
        if submit(job) is None:
            break


def _follow(recipe: Recipe) -> None:
    """What is done and what comes, queueing the next jobs as soon as those before them have succeeded."""

    @st.fragment(run_every=2)
    @problems()
    def live() -> None:
        store = open_store()
        advance(store, recipe)
        known = [(job, last_job(store, job)) for job in _jobs_of(store, recipe)]
        rows = [row for _, row in known if row is not None]
        done = sum(row.state == "succeeded" for row in rows)
        now = next((row for row in rows if row.state == "running"), None)
        share = (done + sum(row.progress for row in rows if row.state == "running")) / len(known)
        text = f"{done} of {count(len(known), 'job')} done" + (f" · {now.name}: {now.message}" if now else "")
        bar, stop = st.columns([6, 1], vertical_alignment="center")
        bar.progress(min(1.0, share), text=text)
        if stop.button("Stop", icon=":material/stop:", key=f"lesson.stop.{recipe.sweep.name}"):
            for row in rows:
                if not row.ended:
                    stop_job(row.id)
        if done == len(known) or any(row.ended and row.state != "succeeded" for row in rows):
            st.rerun()

    live()


def _jobs_of(store: Store, recipe: Recipe) -> list[Job]:
    """The jobs of an experiment; collecting data only where it is not there already."""
    jobs = recipe.jobs()
    ready = any(row.name == recipe.dataset.name and row.facts is not None for row in store.datasets())
    return jobs[1:] if ready and last_job(store, jobs[0]) is None else jobs


def _free_attempt(store: Store, key: str) -> str:
    """The first of "", "-2", "-3", ... under which no name of the experiment is taken."""
    taken = {row.name for archived in (False, True) for row in store.runs(archived)}
    taken |= {row.name for archived in (False, True) for row in store.sweeps(archived)}
    taken |= {row.name for archived in (False, True) for row in store.datasets(archived)}
    attempts = ["", *(f"-{number}" for number in range(2, 1000))]
    return next(a for a in attempts if not taken & set(own_names(store, key, a).values()))


def _episodes(recipe: Recipe) -> int:
    spec = recipe.sweep
    if isinstance(spec, BeamSweepSpec):
        return spec.episodes * len(spec.cells()) * len(spec.runs)
    listening = sum(run.model.kind != "bc" for run in recipe.runs)
    deaf = len(recipe.runs) - listening
    return int(spec.episodes * len(spec.decodings) * (listening * len(spec.targets) + deaf))


def _rounded(time_s: float) -> float:
    """To whole ten seconds, since it is an estimate."""
    return float(max(10, 10 * np.round(time_s / 10)))
