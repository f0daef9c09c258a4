"""``dataset``: build, look at, put away and bring back."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Annotated, Any

import typer

from seqrl.cli.archive import Archived, add_archive
from seqrl.cli.session import AsJson, Detach, Seed, session, show, show_table
from seqrl.config import BehaviourSpec, DatasetJob, DatasetSpec, apply_overrides, parse_mix, policy_reference
from seqrl.registry import EnvironmentRow, environment_row
from seqrl.store import DatasetRow, JobRow, PolicyRow, Store

app = typer.Typer(help="Datasets.", no_args_is_help=True)


@app.command("build")
def build(
    context: typer.Context,
    environment: Annotated[str, typer.Option("--env", help="Registered Gymnasium id.")] = "CartPole-v1",
    episodes: Annotated[int, typer.Option(help="How many episodes.")] = 2000,
    mix: Annotated[
        str | None, typer.Option(help="Shares of the tiers, such as poor=0.3,medium=0.4,expert=0.3.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="A policy from policy train; its snapshots become further tiers of --mix.")
    ] = None,
    max_episode_steps: Annotated[int | None, typer.Option(help="Cut episodes off after so many steps.")] = None,
    seed: Seed = 0,
    name: Annotated[str | None, typer.Option(help="What to call it; made from the environment if missing.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Any further setting, such as environment_kwargs.gravity=1.")
    ] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Collect a dataset."""
    here = session(context)
    row = environment_row(environment)
    if policy:
        row = with_policy(row, here.store.policy(policy))
    shares = parse_mix(mix) if mix else dict(row.default_mix)
    values: dict[str, Any] = {
        "name": name or here.store.free_name("datasets", _short(environment)),
        "environment": environment,
        "environment_kwargs": dict(row.kwargs),
        "episodes": episodes,
        "behaviours": [behaviour.model_dump() for behaviour in row.behaviours(shares)],
        "max_episode_steps": max_episode_steps,
        "seed": seed,
    }
    spec = DatasetSpec.model_validate(apply_overrides(values, overrides or []))

    def done(job: JobRow) -> None:
        dataset = here.store.dataset(spec.name)
        show(dataset_values(dataset), as_json, dataset_summary(dataset))

    here.run(DatasetJob(spec=spec), as_json=as_json, detach=detach, on_success=done)


def with_policy(row: EnvironmentRow, policy: PolicyRow) -> EnvironmentRow:
    """An environment's row with the tiers of a trained policy, which replace tiers of the same name.

    Raises:
        ValueError: if the policy was trained elsewhere or has no snapshot yet.
    """
    if policy.spec.environment != row.id:
        raise ValueError(f"the policy {policy.name} was trained in {policy.spec.environment}, not in {row.id}")
    if not policy.tiers:
        raise ValueError(f"the policy {policy.name} has no snapshot yet; wait for its first one")
    tiers = {tier: BehaviourSpec(tier=tier, policy=policy_reference(policy.name, tier)) for tier in policy.tiers}
    return replace(row, tiers={**row.tiers, **tiers})


@app.command("list")
def list_(
    context: typer.Context,
    archived: Archived = False,
    as_json: AsJson = False,
) -> None:
    """List the datasets."""
    rows = [dataset_values(row) for row in session(context).store.datasets(archived)]
    empty = "the archive is empty" if archived else "no datasets yet; start with: python -m seqrl dataset build"
    columns = ("name", "state", "environment", "episodes", "steps", "mean_return", "std_return", "created")
    show_table(rows if as_json else [_shown(row) for row in rows], as_json, columns, empty=empty)


@app.command("info")
def info(context: typer.Context, name: str, as_json: AsJson = False) -> None:
    """Show what is known of a dataset."""
    row = session(context).store.dataset(name)
    values = dataset_values(row) | {"facts": row.facts.model_dump(mode="json") if row.facts else None}
    show(values | {"source": dict(row.source)}, as_json, dataset_summary(row))


add_archive(
    app,
    "dataset",
    Store.archive_dataset,
    Store.restore_dataset,
    lambda store, name: dataset_values(store.dataset(name)),
)


def _short(environment: str) -> str:
    """``CartPole-v1`` → ``cartpole``."""
    plain = re.sub(r"-v\d+$", "", environment.rpartition("/")[2]).lower()
    return re.sub(r"[^a-z0-9._-]", "-", plain).lstrip("._-") or "dataset"


def dataset_values(row: DatasetRow) -> dict[str, Any]:
    """A dataset as plain values."""
    result: dict[str, Any] = {
        "name": row.name,
        "state": row.state,
        "archived": row.archived,
        "created": row.created,
        "size_bytes": row.size_bytes,
    }
    if row.facts is not None:
        result |= {
            "environment": row.facts.environment,
            "episodes": row.facts.episodes,
            "steps": row.facts.steps,
            "mean_return": row.facts.returns.mean,
            "std_return": row.facts.returns.std,
            "min_return": row.facts.returns.minimum,
            "max_return": row.facts.returns.maximum,
            "mean_return_by_tier": {tier: part.mean for tier, part in row.facts.returns_by_tier.items()},
            "content_hash": row.facts.content_hash,
        }
    return result


def _shown(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"created": time.strftime("%Y-%m-%d %H:%M", time.localtime(values["created"]))}


def dataset_summary(row: DatasetRow) -> str:
    """A dataset in a few lines for people."""
    facts = row.facts
    if facts is None:
        return f"{row.name} is {row.state}"
    lines = [
        f"{row.name}: {facts.episodes:,} episodes and {facts.steps:,} steps of {facts.environment or 'no environment'}",
        f"return {facts.returns.mean:.1f} ± {facts.returns.std:.1f}, "
        f"from {facts.returns.minimum:g} to {facts.returns.maximum:g}",
        *(f"  {tier}: {part.mean:.1f} ± {part.std:.1f}" for tier, part in facts.returns_by_tier.items()),
        f"{facts.terminated_episodes:,} terminated, {facts.truncated_episodes:,} truncated; "
        f"longest {facts.max_length:,} steps",
        f"{(row.size_bytes or 0) / 1e6:.1f} MB, content {facts.content_hash[:16]}",
    ]
    return "\n".join(lines)
