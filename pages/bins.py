"""Bins: how numbers become tokens, with the very edges that a model uses."""

import numpy as np
import pandas as pd
import streamlit as st

from pages.shared.charts import chart
from pages.shared.dataset_export import collect_steps
from pages.shared.frame import (
    choose,
    controls,
    empty_state,
    finite,
    heading,
    open_store,
    start_among,
    start_with,
    style,
)
from pages.shared.token_tables import (
    ERROR_BINS,
    MOST_TOKENS,
    EpisodeTokens,
    edges_of,
    episode_tokens,
    errors,
    fitted,
    source,
    table,
    tokenizer_of,
)
from seqrl import plots
from seqrl.config import TrajectoryTransformerSpec
from seqrl.plots.format import count, number, percent
from seqrl.store.columns import Columns, ColumnsMissing
from seqrl.tokens import Discretizer, Strategy, inspect_tokens, transition_layout

VIEWS = ["One dimension", "All dimensions", "Rounding error", "An episode"]

heading("Bins", "A Trajectory Transformer reads and writes words, not numbers: what is lost when numbers become bins?")
store = open_store()
with_numbers = [row for row in store.datasets() if row.facts is not None and row.facts.observation.kind != "image"]
datasets = {row.name: row for row in with_numbers}
runs = {
    row.name: row
    for row in store.runs()
    if isinstance(row.spec.model, TrajectoryTransformerSpec) and store.has_checkpoint(row.name)
}
if not datasets:
    empty_state(
        "There are no numbers to cut yet",
        "Collect a dataset first; the default one takes a few seconds.",
        "Build a dataset",
        "pages/datasets.py",
        {"do": "Build"},
    )
    st.stop()

sources = [*(f"run {name}" for name in runs), *(f"dataset {name}" for name in datasets)]
with controls().container(horizontal=True, vertical_alignment="bottom"):
    start_with("bins.of", sources[0], sources)
    origin = st.selectbox(
        "Bins of",
        sources,
        index=None,
        key="bins.of",
        bind="query-params",
        width=300,
        help="A trained Trajectory Transformer has the bins that it learned with; for a dataset they are fitted here.",
    )
    what, _, name = (origin or sources[0]).partition(" ")
    run = runs[name] if what == "run" else None
    model = run.spec.model if run else TrajectoryTransformerSpec()
    assert isinstance(model, TrajectoryTransformerSpec)  # noqa: S101 - filtered above
    amount, strategy = model.bins, model.strategy
    if run is None:
        amount = st.slider("Bins", 3, 300, 100, key="bins", bind="query-params", width=220)
        picked = st.segmented_control(
            "Binning", ["quantile", "uniform"], default="quantile", required=True, key="strategy", bind="query-params"
        )
        strategy = "uniform" if picked == "uniform" else "quantile"
dataset = run.spec.dataset if run else name


def chosen_dimensions(columns: Columns) -> list[str] | None:
    """Which dimensions are looked at where a transition has very many; None for all."""
    dimensions = transition_layout(columns.facts).dimensions[:-2]
    if len(dimensions) + 2 <= MOST_TOKENS:
        return None
    names = [dimension.name for dimension in dimensions]
    first = [dimension.name for dimension in dimensions if dimension.kind == "observation"][:12]
    first += [dimension.name for dimension in dimensions if dimension.kind == "action"][:4]
    if not set(names) & set(st.session_state.get("dims", st.query_params.get_all("dims"))):
        choose("dims", first[: MOST_TOKENS - 2])  # also where other data left its names
    picked: list[str] = st.multiselect(
        f"Dimensions (of {count(len(names), 'dimension')})",
        names,
        key="dims",
        bind="query-params",
        max_selections=MOST_TOKENS - 2,
        help="Only these are read and cut into bins; reward and value always are.",
    )
    return picked or first


try:
    columns = Columns.open(store.columns_folder(dataset))
except ColumnsMissing:
    collect_steps(store, store.dataset(dataset))
    st.stop()

chosen = chosen_dimensions(columns)
data = source(columns, model.discount, chosen)
numbers = table(data)
other: Strategy = "uniform" if strategy == "quantile" else "quantile"
used = tokenizer_of(run, chosen) if run else fitted(data, amount, strategy)
compared = fitted(data, amount, other)
bins: dict[str, Discretizer] = {strategy: used.bins, other: compared.bins}
if run:
    st.caption(
        f"{name} was trained with {count(amount, 'bin')}, {strategy}; these are its own edges, from its checkpoint."
    )


if columns.large:
    st.caption(f"Read from {count(len(numbers.values), 'step')}, evenly spaced over the data.")


def choose_dimension(cell: object) -> None:
    """A click on a row of the occupancy chooses its dimension."""
    if isinstance(cell, list):
        st.session_state["dimension"] = numbers.names[int(cell[0])]
        st.session_state["bins.view"] = VIEWS[0]


def dimension_chooser() -> int:
    """The dimension that the next chart shows."""
    start_among("dimension", numbers.names, numbers.names[min(2, len(numbers.names) - 1)])
    name = st.selectbox("Dimension", numbers.names, index=None, key="dimension", bind="query-params", width=300)
    return numbers.names.index(name) if name in numbers.names else 0


def one_dimension() -> None:
    """Histogram and edges of one dimension, both ways of cutting it."""
    at = dimension_chooser()
    edges = {kind: edges_of(cut, at) for kind, cut in bins.items()}
    info = plots.bin_edges_info(numbers.values[:, at], edges, numbers.names[at])
    chart(
        plots.bin_edges(info, *style()),
        f"{dataset}-bins-{numbers.names[at]}",
        f"Distribution of {numbers.names[at]} and the edges of its bins",
        plots.sentence(info),
        table=lambda: pd.DataFrame({kind: pd.Series(cut) for kind, cut in edges.items()}),
    )


def all_dimensions() -> None:
    """How full the bins are, and figures of every dimension."""
    figures = inspect_tokens(used.bins, numbers.values)
    edges = [edges_of(used.bins, at) for at in range(len(figures))]
    info = plots.occupancy_info([figure.occupancy for figure in figures], edges, numbers.names)
    shown = pd.DataFrame(
        {
            "dimension": [figure.name for figure in figures],
            "bins": [figure.bins for figure in figures],
            "unused": [len(figure.unused) for figure in figures],
            "over-wide": [len(figure.over_wide) for figure in figures],
            "error (rms)": [number(figure.error_rms) for figure in figures],
            "of the spread": [percent(figure.error_relative) for figure in figures],
            "largest error": [number(figure.error_max) for figure in figures],
        }
    )
    chart(
        plots.occupancy(info, *style()),
        f"{dataset}-occupancy",
        "How full the bins of every dimension are",
        plots.sentence(info),
        table=shown,
        on_click=choose_dimension,
    )
    st.dataframe(shown, hide_index=True, alt="Bins in use, unused and over-wide ones, and rounding error by dimension")


def rounding_error() -> None:
    """What rounding costs against the number of bins."""
    at = dimension_chooser()
    tried = tuple(sorted({*ERROR_BINS, amount}))
    column = numbers.values[:, at]
    info = plots.reconstruction_error_info(
        tried,
        errors(data.fingerprint, numbers.names[at], tried, column),
        amount,
        numbers.names[at],
        spread=float(np.std(column)),
    )
    chart(
        plots.reconstruction_error(info, *style()),
        f"{dataset}-rounding-{numbers.names[at]}",
        f"Rounding error of {numbers.names[at]} against the number of bins",
        plots.sentence(info),
        table=lambda: pd.DataFrame({"bins": tried, **info.errors}),
    )


def choose_token(cell: object) -> None:
    """A click on a token chooses it."""
    if isinstance(cell, list):
        st.session_state["token"] = f"{cell[0]}, {cell[1]}"


def chosen_token(length: int) -> tuple[int, int] | None:
    """Step and dimension that the address names, if the episode has them."""
    step, _, at = str(st.session_state.get("token") or "").partition(",")
    if step.strip().isdecimal() and at.strip().isdecimal():
        found = int(step), int(at)
        if found[0] < length and found[1] < len(numbers.names):
            return found
    return None


def one_episode() -> None:
    """An episode as the tokens that it becomes; a click explains one."""
    last = len(columns.episodes) - 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        episode = st.number_input(
            f"Episode (0 to {last})", 0, last, 0, key=finite("bins.episode"), bind="query-params", width=200
        )
        st.text_input(
            "Token",
            "",
            key="token",
            bind="query-params",
            width=160,
            help="Step and dimension, such as 12, 3; a click on a token fills it in.",
            placeholder="click one",
        )
    shown = episode_tokens(columns, used, int(episode), data.discount)
    token = chosen_token(len(shown.tokens))
    info = plots.episode_tokens_info(
        shown.tokens, numbers.names, numbers.kinds, used.vocabulary.tolist(), values=shown.values, centres=shown.centres
    )
    chart(
        plots.episode_tokens(info, *style(), chosen=token),
        f"{dataset}-tokens-{episode}",
        f"Episode {episode} as tokens",
        plots.sentence(info),
        table=lambda: pd.DataFrame(shown.tokens, columns=list(numbers.names)),
        on_click=choose_token,
    )
    if token is not None:
        explain_token(shown, *token)


def explain_token(shown: EpisodeTokens, step: int, at: int) -> None:
    """One token in words and figures: dimension, bin, what it stands for, and the error."""
    edges, token = edges_of(used.bins, at), int(shown.tokens[step, at])
    value, centre = float(shown.values[step, at]), float(shown.centres[step, at])
    cells = st.grid("auto", min_column_width=150)
    cells.metric(f"Step {step}", numbers.names[at])
    cells.metric("Bin", f"{token} of {int(used.vocabulary[at])}")
    if np.isnan(centre):
        cells.metric("Stands for", "terminated here")
        return
    cells.metric("Number", number(value, 4))
    cells.metric(
        "Stands for", number(centre, 4), help=f"From {number(edges[token], 4)} to {number(edges[token + 1], 4)}."
    )
    cells.metric("Error", number(centre - value))


view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], required=True, key="bins.view", bind="query-params", label_visibility="collapsed"
)
{VIEWS[0]: one_dimension, VIEWS[1]: all_dimensions, VIEWS[2]: rounding_error, VIEWS[3]: one_episode}[view]()
