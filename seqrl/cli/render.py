"""``render``: a recorded episode as a video."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqrl.cli.session import AsJson, Detach, Session, session, show
from seqrl.config import RenderJob, RenderSpec
from seqrl.config.sweeps import dataset_reference
from seqrl.store import JobRow

if TYPE_CHECKING:
    import pandas as pd

_MOST_TOLD = 12


def render(
    context: typer.Context,
    sweep: Annotated[str | None, typer.Option(help="The sweep that measured it.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Or the dataset that it is part of.")] = None,
    run: Annotated[str | None, typer.Option(help="The run that acted.")] = None,
    target: Annotated[float | None, typer.Option(help="The return that it was asked for.")] = None,
    decoding: Annotated[str | None, typer.Option(help="sampled or greedy.")] = None,
    episode: Annotated[int, typer.Option(help="Number of the episode at that point, or in the dataset.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Where to copy it: .mp4 or .gif.")] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Replay a recorded episode into a video; the first that fits is taken."""
    here = session(context)
    format = out.suffix.lstrip(".").lower() if out else "mp4"
    if format not in ("mp4", "gif"):
        raise ValueError(f"--out is {out}; choose a name that ends with .mp4 or .gif")
    if detach and out:
        raise ValueError("--out needs the finished video; leave out --detach")
    if (sweep is None) == (dataset is None):
        raise ValueError("give either --sweep or --dataset, whose episode is wanted")
    wanted = {
        key: value for key, value in (("run", run), ("target", target), ("decoding", decoding)) if value is not None
    }
    if dataset is not None and wanted:
        raise ValueError(f"--{next(iter(wanted))} is for episodes of a sweep; leave it out with --dataset")
    if sweep is not None:
        source, identifier = sweep, int(find_episode(here, sweep, wanted | {"episode": episode})["episode_id"])
    else:
        source, identifier = dataset_reference(str(dataset)), episode
    spec = RenderSpec.model_validate({"sweep": source, "episode_id": identifier, "format": format})

    def done(job: JobRow) -> None:
        video, record = here.store.media_path(source, identifier, format), here.store.episode_record(source, identifier)
        if out:
            shutil.copyfile(video, out)
        values = {
            "path": str(out or video),
            "episode_id": identifier,
            "run": record.run,
            "decoding": record.decoding,
            "achieved_return": float(record.rewards.sum()),
            "length": record.length,
        }
        show(
            values, as_json, f"{out or video}: {record.run} ({record.decoding}) achieved {values['achieved_return']:g}"
        )

    here.run(RenderJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


def find_episode(here: Session, sweep: str, wanted: dict[str, str | float | int]) -> pd.Series:
    """The first episode of a sweep that has these values.

    Raises:
        ValueError: naming the first value that no remaining episode has, and what there is.
    """
    episodes = here.store.sweep_episodes(sweep)
    for column, value in wanted.items():
        fitting = episodes[episodes[column] == value]
        if not len(fitting):
            there = ", ".join(_values(episodes[column])) or "nothing yet"
            told = f"{value:g}" if isinstance(value, float) else value
            raise ValueError(f"{column} is {told} but the sweep {sweep} has {there}; choose one of them")
        episodes = fitting
    if not len(episodes):
        raise ValueError(f"the sweep {sweep} has no episodes yet; wait for its first point")
    first: pd.Series = episodes.iloc[0]
    return first


def _values(column: pd.Series) -> list[str]:
    values = sorted(column.dropna().unique())
    told = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return told if len(told) <= _MOST_TOLD else [*told[: _MOST_TOLD - 1], f"… {told[-1]}"]
