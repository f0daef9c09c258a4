"""A sweep as one HTML file that opens anywhere and needs no network: charts, tables, videos, specs.

plotly.js is embedded once, videos are data URLs, and nothing is loaded from outside.
"""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from seqrl import __version__, calibration, plots
from seqrl.config import BeamSweepSpec, ScheduleSweepSpec, schedule_text, sweep_discount
from seqrl.plots.format import count, number, with_interval
from seqrl.registry import MODELS, environment_row
from seqrl.store import NotFound, RunRow, Store, SweepRow
from seqrl.units import as_targets

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MOST_VIDEOS = 3
"""Episodes of a low, a middle and a high request, or the first, the middle and the last point of a beam sweep."""

_BEAM_CELL = ("run", "width", "horizon")
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 "Source Sans 3", "Source Sans Pro", "Helvetica Neue", Arial, sans-serif; color: #1B1F24;
  background: #fff; max-width: 1080px; margin: 2rem auto; padding: 0 1.25rem; }}
h1 {{ font-size: 1.9rem; margin-bottom: .25rem; }} h2 {{ font-size: 1.3rem; margin-top: 2.25rem; }}
.muted {{ color: #5B6470; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid #E9ECEF; }}
.films {{ display: flex; flex-wrap: wrap; gap: 1.25rem; }} figure {{ margin: 0; flex: 1 1 280px; max-width: 480px; }}
video {{ width: 100%; border: 1px solid #E3E6EA; border-radius: 6px; }}
pre {{ background: #F5F6F8; padding: 1rem; overflow-x: auto; font-size: 13px; border-radius: 6px; }}
.wide {{ overflow-x: auto; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def report(store: Store, name: str) -> str:
    """The report of a sweep, finished or not.

    Args:
        store: that holds it.
        name: of the sweep.

    Returns:
        The text of an HTML file of some 5 MB, most of which is plotly.js.

    Raises:
        NotFound: if there is no such sweep.
        ValueError: if nothing of it is measured yet.
    """
    sweep = store.sweep(name)
    episodes = store.sweep_episodes(name)
    if not len(episodes):
        raise ValueError(f"the sweep {name} has no episodes yet; wait for its first point")
    runs = _runs(store, sweep)
    draw = {"sweep_beam": _beams, "sweep_schedule": _schedules}.get(sweep.kind, _returns)
    parts = [
        f"<h1>{_text(name)}</h1>",
        f'<p class="muted">{_about(sweep, episodes)}</p>',
        *draw(store, sweep, episodes, runs),
        *_films(store, sweep, episodes),
        *_origins(store, sweep, runs),
    ]
    return _PAGE.format(title=_text(f"{name}: report of seqrl"), body="\n".join(parts))


def report_episodes(store: Store, name: str) -> list[int]:
    """The episodes that a report shows as videos: typical ones of a low, a middle and a high request.

    Of a beam sweep, of the first, the middle and the last point; of schedules, the unchanged target and two others.

    Raises:
        NotFound: if there is no such sweep.
    """
    sweep, episodes = store.sweep(name), store.sweep_episodes(name)
    if not len(episodes):
        return []
    if isinstance(sweep.spec, BeamSweepSpec):
        groups = [group for _, group in episodes.groupby(list(_BEAM_CELL))]
    elif isinstance(sweep.spec, ScheduleSweepSpec):
        groups = [group for _, group in episodes.groupby("schedule", sort=False)]
    else:
        asked = episodes[episodes["target"].notna()]
        asked = asked if len(asked) else episodes
        first = asked[asked["run"] == asked["run"].iloc[0]]
        sampled = first[first["decoding"] == "sampled"]
        groups = [group for _, group in (sampled if len(sampled) else first).groupby("target", dropna=False)]
    places = dict.fromkeys((0, len(groups) // 2, len(groups) - 1))
    return [_typical(store, name, groups[place]) for place in places][:MOST_VIDEOS]


def _typical(store: Store, name: str, group: pd.DataFrame) -> int:
    """A typical episode whose video is there already, else the most typical one."""
    nearest = calibration.by_typicality(group)[: calibration.MOST_TYPICAL]
    return next((episode for episode in nearest if _video(store, name, episode) is not None), nearest[0])


def _video(store: Store, name: str, episode: int) -> Path | None:
    """The rendered video of an episode, or None."""
    try:
        path = store.media_path(name, episode)
    except NotFound:
        return None
    return path if path.is_file() else None


def _runs(store: Store, sweep: SweepRow) -> dict[str, RunRow]:
    """The runs of a sweep that are still there."""
    found = {}
    for name in sweep.spec.runs:
        try:
            found[name] = store.run(name)
        except NotFound:
            continue
    return found


def _kinds(runs: dict[str, RunRow]) -> dict[str, str]:
    def kind(run: RunRow) -> str:
        return "%bc" if getattr(run.spec.model, "top_fraction", 1.0) < 1 else run.spec.model.kind

    return {name: kind(run) for name, run in runs.items()}


def _labels(kinds: dict[str, str]) -> dict[str, str]:
    short = {"%bc": "%BC"} | {kind: row.label for kind, row in MODELS.items()}
    families = list(kinds.values())
    return {
        run: short[kind] if kind in short and families.count(kind) == 1 else run.removeprefix("demo/")
        for run, kind in kinds.items()
    }


def _data_returns(store: Store, runs: dict[str, RunRow]) -> np.ndarray | None:
    """Of the first run whose data is here, in the unit of the targets."""
    discount = sweep_discount(run.spec.model for run in runs.values())
    for run in runs.values():
        try:
            return store.dataset_returns(run.spec.dataset, discount)
        except NotFound:
            continue
    return None


def _about(sweep: SweepRow, episodes: pd.DataFrame) -> str:
    made = time.strftime("%Y-%m-%d", time.localtime(sweep.created))
    state = "" if sweep.state == "succeeded" else f", {sweep.state}"
    return _text(f"{count(len(episodes), 'episode')}, {made}{state}. seqrl {__version__}.")


def _returns(store: Store, sweep: SweepRow, episodes: pd.DataFrame, runs: dict[str, RunRow]) -> list[str]:
    """Achieved against target: the chart, its sentence, points and calibration."""
    kinds = _kinds(runs)
    names = _labels(kinds)
    points, figures = calibration.summarise(episodes, targets=sweep.spec.targets)
    info = plots.rtg_sweep_info(
        points, kinds=kinds, labels=names, episodes=episodes, dataset_returns=_data_returns(store, runs)
    )
    rows = [
        [
            names.get(row["run"], row["run"]),
            row["decoding"],
            number(row["mae"]),
            number(row["bias"]),
            number(row["rank_correlation"]),
            number(row["best"]),
        ]
        for row in figures.to_dict("records")
    ]
    cells = [
        [
            names.get(row["run"], row["run"]),
            row["decoding"],
            number(row["target"]),
            with_interval(row["mean"], row["low"], row["high"]),
            str(int(row["n"])),
        ]
        for row in as_targets(points).to_dict("records")
    ]
    goals = _goals(episodes, kinds, names, runs)
    return [
        *goals,
        "<h2>Achieved against target return</h2>",
        _chart(plots.rtg_sweep(info), first=not goals),
        f"<p>{_text(plots.sentence(info))}</p>",
        "<h2>Calibration</h2>",
        _table(["model", "decoding", "off by (mean)", "bias", "rank correlation", "best reached"], rows),
        "<h2>Points</h2>",
        _table(["model", "decoding", "asked for", "achieved, 95% interval", "episodes"], cells),
    ]


def _goals(episodes: pd.DataFrame, kinds: dict[str, str], names: dict[str, str], runs: dict[str, RunRow]) -> list[str]:
    """How often goals were reached by distance; nothing where observations name none."""
    table = calibration.success(episodes)
    if table.empty:
        return []
    environment = next(iter(runs.values())).facts.environment if runs else None
    unit = environment_row(environment or "").goal_unit
    info = plots.goal_sweep_info(table, kinds=kinds, labels=names, unit=unit)
    return [
        "<h2>Goals reached against their distance</h2>",
        _chart(plots.goal_sweep(info), first=True),
        f"<p>{_text(plots.sentence(info))}</p>",
    ]


def _beams(store: Store, sweep: SweepRow, episodes: pd.DataFrame, runs: dict[str, RunRow]) -> list[str]:
    """Return and time against beam width: the chart, its sentence and the points."""
    cell = list(_BEAM_CELL)
    seconds = episodes.groupby(cell, as_index=False)["seconds_per_decision"].mean()
    points = calibration.points(episodes, by=cell).merge(seconds, on=cell)
    kinds = dict.fromkeys(sweep.spec.runs, "tt")
    returns = _data_returns(store, runs)
    references = {} if returns is None or not len(returns) else {"the data's mean": float(returns.mean())}
    info = plots.beam_sweep_info(points, kinds=kinds, labels=_labels(kinds), episodes=episodes, references=references)
    rows = [
        [
            row["run"],
            str(int(row["width"])) if row["width"] else "without planning",
            str(int(row["horizon"])),
            with_interval(row["mean"], row["low"], row["high"]),
            f"{number(1000 * row['seconds_per_decision'])} ms",
            str(int(row["n"])),
        ]
        for row in points.to_dict("records")
    ]
    return [
        "<h2>Return and time per decision against beam width</h2>",
        _chart(plots.beam_sweep(info), first=True),
        f"<p>{_text(plots.sentence(info))}</p>",
        "<h2>Points</h2>",
        _table(["model", "beam width", "horizon", "achieved, 95% interval", "per decision", "episodes"], rows),
    ]


def _schedules(store: Store, sweep: SweepRow, episodes: pd.DataFrame, runs: dict[str, RunRow]) -> list[str]:
    """What another target on the way did: the first episode of every schedule on one time axis, and the returns."""
    spec: ScheduleSweepSpec = sweep.spec
    points = calibration.points(episodes, by=("schedule",)).set_index("schedule")
    order = [schedule_text(spec.target, schedule) for schedule in spec.all_schedules()]
    rows = [
        [text, with_interval(*points.loc[text, ["mean", "low", "high"]]), str(int(points.loc[text, "n"]))]
        for text in order
        if text in points.index
    ]
    run = runs.get(spec.runs[0])
    action = run.facts.action if run else None
    names = () if action is None else action.labels if action.kind == "discrete" else action.names
    traces = [
        _trace(store, sweep, row, _kinds(runs).get(spec.runs[0], ""))
        for _, row in episodes[episodes["episode"] == 0].head(4).iterrows()
    ]
    info = plots.episode_strips_info(traces, action_names=names)
    start = spec.origin.step if spec.origin else None
    heading = "<h2>Another target on the way</h2>"
    if spec.origin is not None:
        told = f"Episode {spec.origin.episode_id} of {spec.origin.sweep}, played anew from step {spec.origin.step} on."
        heading += f'<p class="muted">{_text(told)}</p>'
    return [
        heading,
        _chart(plots.episode_strips(info, step=start), first=True),
        f"<p>{_text(plots.sentence(info))}</p>",
        _table(["asked for", "return, 95% interval", "episodes"], rows),
    ]


def _trace(store: Store, sweep: SweepRow, row: pd.Series, kind: str) -> plots.EpisodeTrace:
    steps = store.episode_steps(sweep.name, int(row["episode_id"]))
    return plots.EpisodeTrace(
        label=f"asked for {row['schedule']}",
        kind=kind,
        rewards=steps["rewards"],
        returns_to_go=steps["returns_to_go"],
        actions=steps["actions"],
        action_probabilities=steps.get("action_probabilities"),
        episode_id=int(row["episode_id"]),
    )


def _films(store: Store, sweep: SweepRow, episodes: pd.DataFrame) -> list[str]:
    """The chosen episodes that are rendered, as videos inside the file."""
    films = []
    for episode in report_episodes(store, sweep.name):
        path = _video(store, sweep.name, episode)
        if path is None:
            continue
        row = episodes[episodes["episode_id"] == episode].iloc[0]
        asked = "" if row["target"] != row["target"] else f"asked for {number(row['target'])}, "
        end = "reached the time limit" if row["truncated"] else "ended"
        caption = _text(
            f"Episode {episode}: {asked}collected {number(row['achieved_return'])}, {end} after "
            f"{count(int(row['length']), 'step')}"
        )
        data = base64.b64encode(path.read_bytes()).decode()
        films.append(
            f'<figure><video controls loop muted playsinline src="data:video/mp4;base64,{data}" aria-label="{caption}">'
            f"</video><figcaption>{caption}</figcaption></figure>"
        )
    if not films:
        return []
    return ["<h2>Episodes</h2>", f'<div class="films">{"".join(films)}</div>']


def _origins(store: Store, sweep: SweepRow, runs: dict[str, RunRow]) -> list[str]:
    """The specs that make all of this again."""
    specs: dict[str, Any] = {"sweep": sweep.spec.model_dump(mode="json")}
    specs["runs"] = [run.spec.model_dump(mode="json") for run in runs.values()]
    datasets = {}
    for run in runs.values():
        try:
            datasets[run.spec.dataset] = dict(store.dataset(run.spec.dataset).source)
        except NotFound:
            datasets[run.spec.dataset] = {"gone": "the dataset is no longer here"}
    specs["datasets"] = datasets
    text = json.dumps(specs, indent=2, sort_keys=True)
    return [
        "<h2>Specs</h2>",
        f'<p class="muted">Made with seqrl {_text(__version__)}; equal specs make equal results on one machine.</p>',
        f"<pre>{_text(text)}</pre>",
    ]


def _chart(figure: go.Figure, *, first: bool) -> str:
    return figure.to_html(full_html=False, include_plotlyjs=first, config={"displaylogo": False, "responsive": True})


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(value: object) -> str:
    return html.escape(str(value))
