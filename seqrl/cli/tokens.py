"""``tokens``: what rounding a dataset to bins keeps and loses."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from seqrl.cli.session import AsJson, session, show, show_table
from seqrl.config import TrajectoryTransformerSpec
from seqrl.store.columns import Columns
from seqrl.tokens import (
    DimensionFigures,
    TokenDimension,
    TransitionTokenizer,
    error_by_bins,
    fit_tokenizer,
    inspect_tokens,
    transition_layout,
    value_targets,
)

app = typer.Typer(help="Tokens: how numbers become bins.", no_args_is_help=True)

_MOST_ROWS = 200_000
_ERROR_ROWS = 20_000
_ERROR_BINS = (5, 10, 20, 50, 100, 200, 500)
_COLUMNS = ("name", "kind", "bins", "unused", "over_wide", "error_rms", "error_max", "error_relative")


@app.callback()
def _group() -> None:
    """Keep ``inspect`` a subcommand while it is the only one."""


@app.command("inspect")
def inspect(
    context: typer.Context,
    dataset: Annotated[str, typer.Option(help="The data to look at.")],
    bins: Annotated[int, typer.Option(help="Most bins of one dimension.")] = 100,
    strategy: Annotated[str, typer.Option(help="quantile or uniform.")] = "quantile",
    discount: Annotated[float, typer.Option(help="Of the value tokens.")] = 0.99,
    as_json: AsJson = False,
) -> None:
    """Fit bins to a dataset as training would: how full and how wide they are, and what rounding to them costs."""
    from seqrl.datasets import ensure_columns

    spec = TrajectoryTransformerSpec.model_validate({"bins": bins, "strategy": strategy, "discount": discount})
    columns = ensure_columns(session(context).store, dataset)
    tokenizer = _fit(columns, spec)
    values = _values(columns, tokenizer, spec.discount)
    figures = inspect_tokens(tokenizer.bins, values)
    rows = [
        _row(dimension, found, values[:, d])
        for d, (dimension, found) in enumerate(zip(tokenizer.layout.dimensions, figures, strict=True))
    ]
    if as_json:
        about = {"dataset": dataset, "bins": bins, "strategy": strategy, "discount": discount, "rows": len(values)}
        show(about | {"dimensions": rows}, True, "")
        return
    counted = [row | {"unused": len(row["unused"]), "over_wide": len(row["over_wide"])} for row in rows]
    show_table(counted, False, _COLUMNS, empty="no dimensions")


def _fit(columns: Columns, spec: TrajectoryTransformerSpec) -> TransitionTokenizer:
    return fit_tokenizer(
        transition_layout(columns.facts),
        columns.observations,
        columns.actions,
        columns.rewards,
        columns.episodes["end"].to_numpy(),
        columns.episodes["terminated"].to_numpy(),
        bins=spec.bins,
        strategy=spec.strategy,
        discount=spec.discount,
    )


def _values(columns: Columns, tokenizer: TransitionTokenizer, discount: float) -> np.ndarray:
    """The numbers behind the tokens of evenly spaced steps: (n, D)."""
    ends, terminated = (columns.episodes[name].to_numpy() for name in ("end", "terminated"))
    future = value_targets(np.asarray(columns.rewards[: columns.steps]), ends, terminated, discount)
    rows = np.arange(0, columns.steps, max(1, -(-columns.steps // _MOST_ROWS)))
    parts = [
        tokenizer.layout.observation_columns(columns.observations[rows]),
        tokenizer.layout.action_columns(columns.actions[rows]),
        columns.rewards[rows, None],
        future[rows, None],
    ]
    return np.concatenate(parts, axis=1)


def _row(dimension: TokenDimension, found: DimensionFigures, values: np.ndarray) -> dict[str, Any]:
    """Figures of one dimension, and its rounding error against the number of bins (categories have none)."""
    thinned = values[:: max(1, -(-len(values) // _ERROR_ROWS))]
    errors = {} if dimension.categories else error_by_bins(thinned, _ERROR_BINS)
    return {
        "name": found.name,
        "kind": dimension.kind,
        "bins": found.bins,
        "occupancy": found.occupancy.tolist(),
        "unused": list(found.unused),
        "over_wide": list(found.over_wide),
        "error_rms": found.error_rms,
        "error_max": found.error_max,
        "error_relative": found.error_relative,
        "error_by_bins": [
            {"bins": count, **{strategy: float(curve[i]) for strategy, curve in errors.items()}}
            for i, count in enumerate(_ERROR_BINS)
            if errors
        ],
    }
