"""Open-loop evaluations: those that are stored, the form that starts one, and why a dataset has no sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from pages.shared import forms
from pages.shared.jobs import submit
from seqrl.config import OpenLoopJob, OpenLoopSpec, evaluation_name
from seqrl.config.imports import SPLITS
from seqrl.store import DatasetRow, JobRow, NotFound, RunRow, Store

_PARTS = {"spec", "episodes", "steps", "measure", "overall", "baseline", "by_context", "by_timestep"}


def evaluations(store: Store) -> dict[str, dict[str, dict[str, Any]]]:
    """Stored evaluations, newest first: dataset → run → result. Damaged ones are named and left out."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in store.evaluations():
        try:
            result = store.evaluation(name)
            if not isinstance(result, dict) or not _PARTS <= set(result):
                raise ValueError("parts of it are missing")
            spec = OpenLoopSpec.model_validate(result["spec"])
            result["split"] = _split(store, spec, result)
        except (ValueError, OSError):
            st.warning(f"The evaluation {name} cannot be read; measure it again.", icon=":material/error:")
            continue
        found.setdefault(spec.dataset, {}).setdefault(spec.run, result)
    return found


def _split(store: Store, spec: OpenLoopSpec, result: dict[str, Any]) -> str:
    """What the episodes were to the run. Earlier versions kept ``held_out``, and said it of other data as well."""
    if "held_out" in result:
        return "training" if not result["held_out"] else "validation" if _own(store, spec) else "other"
    if result.get("split") not in list(SPLITS):
        raise ValueError("it does not say what the episodes were to the run")
    return str(result["split"])


def _own(store: Store, spec: OpenLoopSpec) -> bool:
    """Whether the episodes are of the dataset that the run learned from."""
    try:
        return store.run(spec.run).spec.dataset == spec.dataset
    except (NotFound, ValueError):
        return False


def no_sweep(dataset: DatasetRow | None) -> None:
    """Say why a dataset has no sweep, or that it has one."""
    if dataset is None or dataset.facts is None:
        return
    if dataset.facts.environment is None:
        st.info(
            f"**There is no sweep for {dataset.name}.** Its episodes come without an environment, so no model can be "
            "played in it, and what it would collect cannot be measured. What can be measured is how far its actions "
            "are from the recorded ones, and whether it listens to what it is asked for.",
            icon=":material/videogame_asset_off:",
        )
    else:
        st.caption(
            f"{dataset.facts.environment} can be played: the RTG sweep shows what a model really collects. A small "
            "error here does not promise a good policy, since the model sees recorded consequences, not its own."
        )


def new_evaluation(store: Store, runs: Sequence[RunRow], datasets: Sequence[DatasetRow]) -> list[JobRow]:
    """Draw the form; the jobs that were just started, one a run."""
    with st.container(border=True):
        left, right = st.columns([3, 2])
        names = [row.name for row in runs]
        chosen = left.multiselect(
            "Runs", names, default=names[:1], key="evaluate", bind="query-params", help="The trained models to compare."
        )
        asked = [row for row in runs if row.name in chosen]
        fitting = [row.name for row in datasets if all(fits(run, row) for run in asked)]
        own = asked[0].spec.dataset if asked and asked[0].spec.dataset in fitting else None
        dataset = right.selectbox(
            "Recorded episodes of",
            fitting,
            index=fitting.index(own) if own else 0 if fitting else None,
            key=f"evaluate.on.{'.'.join(chosen)}",
            help="On the data that a run learned from, those that were kept out of training are taken.",
        )
        first, second, third = st.columns(3)
        with first:
            episodes = forms.field(OpenLoopSpec, "episodes", "evaluate.episodes")
        with second:
            targets = forms.field(OpenLoopSpec, "targets", "evaluate.targets")
        with third:
            seed = forms.field(OpenLoopSpec, "seed", "evaluate.seed")

        def make() -> list[OpenLoopSpec]:
            """The specs that the form describes."""
            if not chosen or dataset is None:
                raise ValueError("choose at least one run, and a dataset of its kind")
            wanted = forms.numbers(targets, "targets") if targets.strip() else ()
            return [
                OpenLoopSpec(
                    name=evaluation_name(run, dataset),
                    run=run,
                    dataset=dataset,
                    episodes=episodes,
                    targets=wanted,
                    seed=seed,
                )
                for run in chosen
            ]

        specs, problem = forms.validated(make)
        forms.complain(problem)
        pressed = st.button(
            "Measure", type="primary", icon=":material/play_arrow:", disabled=specs is None, key="evaluate.submit"
        )
    started = [submit(OpenLoopJob(spec=spec)) for spec in specs or ()] if pressed else []
    return [job for job in started if job is not None]


def fits(run: RunRow, dataset: DatasetRow) -> bool:
    """Whether the numbers of a dataset are of the kind that a run knows."""
    if dataset.facts is None:
        return False
    return all(
        (getattr(run.facts, what).kind, getattr(run.facts, what).size)
        == (getattr(dataset.facts, what).kind, getattr(dataset.facts, what).size)
        for what in ("observation", "action")
    )
