"""``policy``: behaviour policies that learn online, and their snapshots as tiers of data."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from seqrl.cli.session import AsJson, Detach, Seed, session, show, show_table
from seqrl.config import PolicyJob, PolicySpec, apply_overrides
from seqrl.registry import environment_row
from seqrl.store import JobRow, PolicyRow

app = typer.Typer(help="Behaviour policies trained online.", no_args_is_help=True)

_LARGEST_BUNDLED_BYTES = 200_000
_QUALITIES = ("medium", "expert")


@app.command("train")
def train(
    context: typer.Context,
    environment: Annotated[str, typer.Option("--env", help="Registered Gymnasium id.")],
    algorithm: Annotated[str, typer.Option(help="ppo, or sac for continuous actions.")] = "ppo",
    steps: Annotated[int, typer.Option(help="Environment steps to learn from.")] = 300_000,
    snapshots: Annotated[int, typer.Option(help="How often the policy is kept.")] = 10,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any further setting, such as trainer.learning_rate=1e-4.")
    ] = None,
    seed: Seed = 0,
    name: Annotated[str | None, typer.Option(help="What to call it; made from the environment if missing.")] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Train a policy with stable-baselines3, keeping snapshots on the way."""
    here = session(context)
    row = environment_row(environment)
    values: dict[str, Any] = {
        "name": name or f"{environment.rpartition('/')[2].lower()}-{algorithm}",
        "environment": environment,
        "environment_kwargs": dict(row.kwargs),
        "trainer": {"kind": algorithm, **row.trainers.get(algorithm, {})},
        "steps": steps,
        "snapshots": snapshots,
        "seed": seed,
    }
    spec = PolicySpec.model_validate(apply_overrides(values, overrides or []))

    def done(job: JobRow) -> None:
        row = here.store.policy(spec.name)
        show(policy_values(row), as_json, policy_summary(row))

    here.run(PolicyJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the policies that were trained."""
    rows = [policy_values(row) for row in session(context).store.policies()]
    shown = [row | {"created": time.strftime("%Y-%m-%d %H:%M", time.localtime(row["created"]))} for row in rows]
    columns = ("name", "environment", "algorithm", "step", "steps", "best_return", "tiers", "created")
    show_table(
        rows if as_json else shown, as_json, columns, empty="no policies yet; start with: python -m seqrl policy train"
    )


@app.command("info")
def info(context: typer.Context, name: str, as_json: AsJson = False) -> None:
    """Show a policy's snapshots and what they reached."""
    row = session(context).store.policy(name)
    show(policy_values(row), as_json, policy_summary(row))


@app.command("bundle")
def bundle(
    context: typer.Context,
    name: str,
    folder: Annotated[Path | None, typer.Option(help="Where to put them; the package itself if missing.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put a policy's medium and expert snapshot into the package, as ``bundled:medium`` and ``bundled:expert``."""
    from seqrl.environments.snapshots import bundled_path

    store = session(context).store
    row = store.policy(name)
    written = []
    for quality in _QUALITIES:
        source = store.policy_snapshots(f"policy:{name}@{quality}")[0]
        if source.stat().st_size > _LARGEST_BUNDLED_BYTES:
            raise ValueError(
                f"a snapshot of {name} has {source.stat().st_size:,} bytes and a bundled one may have "
                f"{_LARGEST_BUNDLED_BYTES:,}; train a narrower policy"
            )
        target = bundled_path(row.spec.environment, quality)
        target = target if folder is None else folder / target.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        written.append(str(target))
    show({"written": written}, as_json, "\n".join(written))


def policy_values(row: PolicyRow) -> dict[str, Any]:
    """A policy as plain values."""
    return {
        "name": row.name,
        "environment": row.spec.environment,
        "algorithm": row.spec.trainer.kind,
        "step": row.snapshots[-1].step if row.snapshots else 0,
        "steps": row.spec.steps,
        "best_return": max((snapshot.mean_return for snapshot in row.snapshots), default=None),
        "tiers": [tier for tier in row.tiers if not tier.startswith("step-")],
        "created": row.created,
        "snapshots": [snapshot.model_dump() for snapshot in row.snapshots],
        "spec": row.spec.model_dump(mode="json"),
    }


def policy_summary(row: PolicyRow) -> str:
    """A policy in a few lines for people."""
    names = {steps[0]: tier for tier, steps in row.tiers.items() if tier in _QUALITIES}
    lines = [f"{row.name}: {row.spec.trainer.kind} in {row.spec.environment}, {row.spec.steps:,} steps"]
    for snapshot in row.snapshots:
        mark = f"  {names[snapshot.step]}" if snapshot.step in names else ""
        lines.append(f"  step {snapshot.step:>9,}: mean return {snapshot.mean_return:,.1f}{mark}")
    return "\n".join(lines)
