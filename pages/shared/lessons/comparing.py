"""Lessons that compare: decodings, context lengths, imitation and asking."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from pages.shared.charts import chart
from pages.shared.frame import controls, style, two_columns
from pages.shared.lessons.lesson import Link, Missing, Told
from pages.shared.lessons.records import command, figures
from pages.shared.sweep_view import Measured, dataset_returns, labels
from seqrl import plots
from seqrl.plots.format import number, percent
from seqrl.plots.layout import mark
from seqrl.store import NotFound, Store, SweepRow


def sweep_chart(
    store: Store,
    sweep: SweepRow,
    data: Measured,
    key: str,
    *,
    runs: list[str] | None = None,
    decoding: str = "Both",
    names: Mapping[str, str] | None = None,
    density: bool = True,
    target: float | None = None,
) -> None:
    """Achieved against target return of some runs and decodings of a sweep.

    Args:
        store: holds the data that the runs learned from.
        sweep: that is shown.
        data: what was measured.
        key: of the chart.
        runs: to show; all if not given.
        decoding: Both, Sampled or Greedy.
        names: instead of the runs' own.
        density: show all returns of the data, and so draw the axes as wide.
        target: that is marked.
    """
    points, episodes = data.points, data.episodes
    if runs is not None:
        points, episodes = points[points["run"].isin(runs)], episodes[episodes["run"].isin(runs)]
    if decoding != "Both":
        points = points[points["decoding"] == decoding.lower()]
        episodes = episodes[episodes["decoding"] == decoding.lower()]
    info = plots.rtg_sweep_info(
        points,
        kinds=data.kinds,
        labels=names or labels(data.kinds),
        episodes=episodes,
        dataset_returns=dataset_returns(store, sweep) if density else None,
    )
    figure = plots.rtg_sweep(info, *style())
    if target is not None:
        mark(figure, target, style()[0])
    chart(figure, key, "Achieved against target return", plots.sentence(info), table=points)


def _figure(data: Measured, run: str, decoding: str, column: str) -> float:
    rows = data.calibration[(data.calibration["run"] == run) & (data.calibration["decoding"] == decoding)]
    return float(rows[column].iloc[0]) if len(rows) else float("nan")


def _run_of(data: Measured, kind: str) -> str:
    """The run of a family.

    Raises:
        Missing: if the sweep has none.
    """
    run = next((name for name, of in data.kinds.items() if of == kind), None)
    if run is None:
        raise Missing("a run of the kind that it compares")
    return run


def greedy_or_sampled(store: Store) -> Told:
    """The same weights, taking the likeliest action or drawing one."""
    sweep, data = figures(store, "asking", "greedy")
    with controls().container(horizontal=True, vertical_alignment="bottom"):
        decoding = st.segmented_control(
            "Actions are", ["Both", "Sampled", "Greedy"], default="Both", required=True, key="greedy.by",
            bind="query-params",
        )  # fmt: skip
        both = st.toggle("Behaviour cloning too", False, key="greedy.bc", bind="query-params")
    dt = _run_of(data, "dt")
    sweep_chart(store, sweep, data, "lesson-greedy", runs=None if both else [dt], decoding=decoding or "Both")
    sampled, greedy = (_figure(data, dt, how, "mae") for how in ("sampled", "greedy"))
    cells = data.points[(data.points["run"] == dt) & (data.points["decoding"] == "greedy")].dropna(subset=["target"])
    low, high = float(cells["mean"].min()), float(cells["mean"].max())
    collected = number(low) if number(low) == number(high) else f"{number(low)} to {number(high)}"
    heard = "whatever it is asked for" if high - low < 0.05 * max(abs(high), 1.0) else "depending on the request"
    return Told(
        f"Greedy, it collects {collected} {heard}: the likeliest action is nearly always the good "
        f"one, so {number(greedy)} lies between request and mean return on average. Sampled, the rarer and worse "
        f"actions get their turn, as they did in the data, and the distance is **{number(sampled)}**.",
        (Link("Open this sweep", "pages/rtg_sweep.py", {"sweep": sweep.name}, ":material/target:"),),
        command(sweep),
    )


def context(store: Store) -> Told:
    """The same training with four context lengths, three seeds each."""
    sweep, data = figures(store, "context", "context")
    lengths: dict[str, int] = {}
    for run in sweep.spec.runs:
        try:
            lengths[run] = store.run(run).spec.model.context_length
        except NotFound:
            continue
    table = data.calibration[data.calibration["run"].isin(lengths)]
    if not len(table):
        raise Missing("the runs that it compares")
    measures = {
        "Distance from the request": ("mae", "mean absolute error (reward)"),
        "Best that it reached": ("best", "highest mean return (reward)"),
    }
    with controls().container(horizontal=True, vertical_alignment="bottom"):
        measure = st.segmented_control(
            "Measure", list(measures), default=next(iter(measures)), required=True, key="context.by",
            bind="query-params",
        )  # fmt: skip
        known = [str(length) for length in sorted(set(lengths.values()))]
        shown = st.segmented_control(
            "Look closer at K =", known, default=known[-1], required=True, key="context.k", bind="query-params"
        )
    column, title = measures[measure or next(iter(measures))]
    where = [float(lengths[run]) for run in table["run"]]
    info = plots.seeds_info(where, list(table[column]), setting="context length K (steps)", value=title)
    of_errors = plots.seeds_info(where, list(table["mae"]), setting="context length K (steps)", value="error")
    left, right = two_columns()
    with left:
        told = plots.sentence(of_errors) if column == "mae" else ""
        chart(plots.seeds(info, *style()), "lesson-context", f"{title} against context length", told, table=table)
    with right:
        runs = [run for run, length in lengths.items() if str(length) == shown]
        seeds = {run: f"seed {store.run(run).spec.seed}" for run in runs}
        sweep_chart(store, sweep, data, f"lesson-context-k{shown}", runs=runs, names=seeds)
    best = int(of_errors.means.argmin())
    ranges = [float(np.ptp(group)) for group in of_errors.values]
    spec = store.run(next(iter(lengths))).spec
    length, error = number(float(of_errors.settings[best])), number(float(of_errors.means[best]))
    work = f"{spec.training.steps} steps of {spec.training.batch_size} windows"
    return Told(
        f"K = {length} comes nearest: its mean return is {error} from the request on average; seeds of one and the "
        f"same K differ by up to {number(max(ranges))}. What is seen contains the speeds already, so it is not the "
        "pole that has to be remembered; a longer history shows *how this player plays*. But a window of 20 steps also "
        "holds 20 times as many examples as one of 1, so longer contexts have learned from more. Each training is "
        f"short ({work}).",
        (Link("Open this sweep", "pages/rtg_sweep.py", {"sweep": sweep.name}, ":material/target:"),),
        command(sweep),
    )


def cloning(store: Store) -> Told:
    """Imitating everything, imitating the best, and asking."""
    sweep, data = figures(store, "cloning", "cloning")
    names = {"Decision Transformer": "dt", "Behaviour cloning": "bc", "Behaviour cloning of the best": "%bc"}
    chosen = controls().pills(
        "Models", list(names), selection_mode="multi", default=list(names), key="cloning.of", bind="query-params"
    )
    runs = [run for run, kind in data.kinds.items() if kind in {names[name] for name in chosen}]
    if not runs:
        st.info("Choose at least one model.", icon=":material/ads_click:")
        return Told("Nothing is chosen.")
    sweep_chart(store, sweep, data, "lesson-cloning", runs=runs)
    dt, bc, best = (_run_of(data, kind) for kind in ("dt", "bc", "%bc"))
    share = getattr(store.run(best).spec.model, "top_fraction", 1.0)
    returns = dataset_returns(store, sweep)
    mean = f" (the data's mean is {number(float(returns.mean()))})" if len(returns) else ""
    return Told(
        f"With actions drawn, imitating everything gets {number(_figure(data, bc, 'sampled', 'best'))}{mean}; "
        f"imitating the best {percent(share)} gets **{number(_figure(data, best, 'sampled', 'best'))}** and needs no "
        f"request at all. The Decision Transformer reaches {number(_figure(data, dt, 'sampled', 'best'))} at its best; "
        f"what it adds is everything below, its mean return {number(_figure(data, dt, 'sampled', 'mae'))} from the "
        "request on average. For the highest return alone, imitation is the baseline to beat: of the best episodes, or "
        "greedy (see Greedy or sampled).",
        (
            Link("Open this sweep", "pages/rtg_sweep.py", {"sweep": sweep.name}, ":material/target:"),
            Link("Train one yourself", "pages/train.py", {}, ":material/model_training:"),
        ),
        command(sweep),
    )
