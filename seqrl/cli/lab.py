"""``attention``, ``response`` and ``sweep schedule``: look into one step of an episode, and play it out otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqrl import calibration
from seqrl.cli.render import find_episode
from seqrl.cli.session import AsJson, Detach, Seed, Session, session, show, show_table
from seqrl.config import (
    AttentionSpec,
    Origin,
    ResponseSpec,
    ScheduleSweepJob,
    ScheduleSweepSpec,
    apply_overrides,
    parse_numbers,
    parse_schedule,
)
from seqrl.store import JobRow

if TYPE_CHECKING:
    from seqrl.probe import Attention, ResponseCurve

Sweep = Annotated[str, typer.Option(help="The sweep that measured the episode.")]
Run = Annotated[str | None, typer.Option(help="The run that acted.")]
Target = Annotated[float | None, typer.Option(help="The return that it was asked for.")]
Decoding = Annotated[str | None, typer.Option(help="sampled or greedy.")]
Episode = Annotated[int, typer.Option(help="Number of the episode at that point.")]
Step = Annotated[int, typer.Option(help="The moment of the decision; the first step is 0.")]

_VALUES = 61
_LARGEST_SHARES = 5


def attention(
    context: typer.Context,
    sweep: Sweep,
    step: Step,
    run: Run = None,
    target: Target = None,
    decoding: Decoding = None,
    episode: Episode = 0,
    as_json: AsJson = False,
) -> None:
    """Where every layer and head looks at a step of a recorded episode."""
    here = session(context)
    spec = AttentionSpec(sweep=sweep, episode_id=_episode_id(here, sweep, run, target, decoding, episode), step=step)
    from seqrl.probe import ask

    seen: Any = ask(here.store, spec)
    rows = _attention_rows(seen)
    if as_json:
        show({"spec": spec.model_dump(mode="json"), "tokens": _tokens(seen), "heads": rows}, True, "")
        return
    table = [
        {"layer": row["layer"], "head": row["head"], "looks at": _largest(row["weights"], _tokens(seen))}
        for row in rows
    ]
    show_table(table, False, ("layer", "head", "looks at"), empty="the model has no heads")


def response(
    context: typer.Context,
    sweep: Sweep,
    step: Step,
    run: Run = None,
    target: Target = None,
    decoding: Decoding = None,
    episode: Episode = 0,
    targets: Annotated[
        str | None, typer.Option(help="Returns-to-go to ask for at this step: 0:500:10 or 25,50.")
    ] = None,
    dimension: Annotated[
        str | None, typer.Option(help='Of the observation, to be varied instead: "pole angle" for example.')
    ] = None,
    values: Annotated[
        str | None, typer.Option(help="Of that dimension: -0.2:0.2:0.01; what the data suggests if missing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What the run would do at a step if it were asked for something else, or saw something else."""
    here = session(context)
    if (targets is None) == (dimension is None):
        raise ValueError("give either --targets, such as 0:500:10, or --dimension")
    if values is not None and dimension is None:
        raise ValueError("--values are those of a dimension; name it with --dimension")
    episode_id = _episode_id(here, sweep, run, target, decoding, episode)
    from seqrl.probe import EpisodeProbe, suggested_values

    probe = EpisodeProbe.open(here.store, sweep, episode_id)
    if targets is not None:
        tried = parse_numbers(targets)
    elif values is not None:
        tried = parse_numbers(values, "values")
    else:
        seen = probe.history.observations[min(step, probe.length - 1)]
        tried = tuple(float(f"{value:.6g}") for value in suggested_values(probe.facts, seen, dimension or "", _VALUES))
    spec = ResponseSpec(sweep=sweep, episode_id=episode_id, step=step, dimension=dimension or "", values=tried)
    curve = probe.to_observation(step, dimension, tried) if dimension else probe.to_targets(step, tried)
    rows = response_rows(curve)
    if as_json:
        show({"spec": spec.model_dump(mode="json"), "varied": curve.varied, "points": rows}, True, "")
        return
    show_table(rows, False, tuple(rows[0]), empty="nothing was tried")


def schedule(
    context: typer.Context,
    run: Annotated[str, typer.Option(help="The run that plays.")],
    changes: Annotated[
        list[str], typer.Option("--change", help="step:target, step:target, ...; may be repeated for more schedules.")
    ],
    target: Annotated[float | None, typer.Option(help="Asked for at the start.")] = None,
    origin: Annotated[
        str | None, typer.Option("--from", help="SWEEP:EPISODE_ID of a recorded episode to continue.")
    ] = None,
    step: Annotated[int, typer.Option(help="With --from: the first step that is played anew.")] = 0,
    remembered: Annotated[
        str | None, typer.Option(help="Earlier requests: kept, or rewritten (the default with --from).")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Episodes for each schedule.")] = 10,
    decoding: Annotated[str | None, typer.Option(help="sampled or greedy; as recorded with --from.")] = None,
    seed: Seed = 0,
    name: Annotated[str | None, typer.Option("--name", help="What to call it; made from the run if missing.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Any further setting.")] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Change the target on the way, and compare with the constant one; or continue a recorded episode otherwise."""
    here = session(context)
    values: dict[str, Any] = {
        "name": name or here.store.free_name("sweeps", f"{run.rpartition('/')[2]}-schedule"),
        "runs": [run],
        "target": target,
        "schedules": [[change.model_dump() for change in parse_schedule(text)] for text in changes],
        "remembered": remembered or ("kept" if origin is None else "rewritten"),
        "episodes": episodes,
        "decoding": decoding or "sampled",
        "seed": seed,
    }
    if origin is not None:
        values |= _continued(here, origin, step, {"target": target, "decoding": decoding})
    spec = ScheduleSweepSpec.model_validate(apply_overrides(values, overrides or []))

    def done(job: JobRow) -> None:
        rows = calibration.to_json(
            calibration.points(here.store.sweep_episodes(spec.name), by=("schedule",), seed=spec.seed),
            here.store.sweep_episodes(spec.name)[:0],
        )["points"]
        if as_json:
            show({"name": spec.name, "points": rows}, True, "")
            return
        show_table(rows, False, ("schedule", "n", "mean", "std", "low", "high"), empty="nothing was played")

    here.run(ScheduleSweepJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


def _continued(here: Session, origin: str, step: int, said: dict[str, Any]) -> dict[str, Any]:
    """The settings of a recorded episode, where nothing else was said."""
    sweep, _, number = origin.rpartition(":")
    if not sweep or not number.isdigit():
        raise ValueError(f"--from is {origin!r}; write SWEEP:EPISODE_ID, such as demo/rtg:128")
    record = here.store.episode_record(sweep, int(number))
    measured = here.store.sweep(sweep).spec
    shared = ("temperature", "optimism", "acting", "precision", "planning", "seed")
    values = {field: getattr(measured, field) for field in shared if hasattr(measured, field)}
    values = {key: value.model_dump() if hasattr(value, "model_dump") else value for key, value in values.items()}
    return values | {
        "origin": Origin(sweep=sweep, episode_id=int(number), step=step).model_dump(),
        "target": record.target if said["target"] is None else said["target"],
        "decoding": said["decoding"] or ("sampled" if record.decoding == "planned" else record.decoding),
    }


def response_rows(curve: ResponseCurve) -> list[dict[str, float]]:
    """One mapping a value that was tried: the value, and what the run would do."""
    rows = []
    for index, value in enumerate(curve.values):
        row = {curve.varied.replace("-", "_"): float(value)}
        for place, action in enumerate(curve.names):
            if curve.probabilities is not None:
                row[action] = float(curve.probabilities[index, place])
            elif curve.mean is not None and curve.std is not None:
                row[action] = float(curve.mean[index, place])
                row[f"{action} std"] = float(curve.std[index, place])
        rows.append(row)
    return rows


def _episode_id(
    here: Session, sweep: str, run: str | None, target: float | None, decoding: str | None, episode: int
) -> int:
    wanted: dict[str, str | float | int | None] = {
        "run": run, "target": target, "decoding": decoding, "episode": episode
    }  # fmt: skip
    row = find_episode(here, sweep, {key: value for key, value in wanted.items() if value is not None})
    return int(row["episode_id"])


def _tokens(seen: Attention) -> list[str]:
    return [f"{name} {int(step)}" for name, step in zip(seen.names, seen.timesteps, strict=True)]


def _attention_rows(seen: Attention) -> list[dict[str, Any]]:
    """The row of the decision, of every head."""
    layers, heads = seen.weights.shape[:2]
    return [
        {
            "layer": layer + 1,
            "head": head + 1,
            "weights": [round(float(weight), 6) for weight in seen.weights[layer, head, -1]],
        }
        for layer in range(layers)
        for head in range(heads)
    ]


def _largest(weights: list[float], tokens: list[str]) -> str:
    order = sorted(range(len(weights)), key=lambda place: -weights[place])[:_LARGEST_SHARES]
    return ", ".join(f"{tokens[place]} ({weights[place]:.0%})" for place in order)
