"""A dataset made of episodes of others: combined, filtered, one side of a split, or with goals in hindsight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqrl.config import DatasetFacts, DeriveSpec, SpaceFacts
from seqrl.datasets.building import BuildStopped, OnProgress, ShouldStop
from seqrl.datasets.hindsight import stretches
from seqrl.datasets.statistics import measure
from seqrl.files import atomic_folder
from seqrl.store.columns import Columns, ColumnsWriter, Episode, write_facts


def derive(
    spec: DeriveSpec,
    sources: Sequence[Columns],
    columns_folder: Path,
    *,
    on_progress: OnProgress = lambda fraction, message: None,
    should_stop: ShouldStop = lambda: False,
) -> DatasetFacts:
    """Write the columns of a derived dataset, episode by episode.

    Args:
        spec: which episodes to take.
        sources: the columns of ``spec.sources``, in their order.
        columns_folder: where the columns go; they appear when they are whole.
        on_progress: called with the share that is done and what is being done.
        should_stop: asked now and then.

    Raises:
        ValueError: if the sources do not fit together, or no episode is left.
        BuildStopped: if it was asked to stop.
    """
    check_compatible(spec.sources, [columns.facts for columns in sources])
    chosen = choose(spec, [columns.episodes for columns in sources])
    first = sources[0]
    if spec.hindsight is not None and first.facts.observation.goal is None:
        raise ValueError(f"hindsight needs observations that name their goal, but those of {spec.sources[0]} do not")
    observation = select(first.facts.observation, spec.observation_dimensions, "observation")
    action = select(_joined_action([columns.facts for columns in sources]), spec.action_dimensions, "action")
    whole = not spec.observation_dimensions and not spec.action_dimensions
    total, done = sum(map(len, chosen)), 0
    with atomic_folder(columns_folder) as partial:
        writer = ColumnsWriter(
            partial,
            observation_shape=observation.shape,
            observation_dtype=first.observations.dtype,
            action_shape=action.shape,
            action_dtype=first.actions.dtype,
        )
        with writer:
            for columns, episodes in zip(sources, chosen, strict=True):
                about = columns.episodes[_ABOUT].to_dict("records")
                for episode in episodes:
                    if done % 32 == 0:
                        if should_stop():
                            raise BuildStopped
                        on_progress(0.95 * done / total, f"{done:,} of {total:,} episodes copied")
                    for piece, facts_of_it in _pieces(spec, columns, int(episode), done, about[episode]):
                        writer.append(*piece, facts_of_it)
                    done += 1
            writer.close()
        facts = measure(
            partial,
            environment=first.facts.environment if whole else None,
            environment_kwargs=first.facts.environment_kwargs if whole else {},
            observation=observation,
            action=action,
            max_episode_steps=_longest_limit([columns.facts for columns in sources]),
            content_hash=writer.content_hash(),
        )
        write_facts(partial, facts)
    on_progress(1.0, "done")
    return facts


def _pieces(
    spec: DeriveSpec, columns: Columns, episode: int, number: int, about: Mapping[str, Any]
) -> Iterator[tuple[Episode, Mapping[str, Any]]]:
    """What is taken of an episode, with what is stored about it: the whole of it, or stretches with their own goals."""
    observations, actions, rewards = columns.episode(episode)
    if spec.action_dimensions:
        actions = actions[:, spec.action_dimensions]
    goal = columns.facts.observation.goal
    if spec.hindsight is not None and goal is not None:
        changed = {**about, "terminated": True, "truncated": False, "seed": -1}  # no reset begins there
        for stretch in stretches(Episode(observations, actions, rewards), goal, spec.hindsight, number):
            yield stretch, changed
        return
    if spec.observation_dimensions:
        observations = observations[:, spec.observation_dimensions]
    yield Episode(observations, actions, rewards), about


_ABOUT = ["terminated", "truncated", "tier", "policy", "epsilon", "noise_std", "seed"]


def _longest_limit(facts: Sequence[DatasetFacts]) -> int | None:
    """The time limit under which every episode could have been played, in steps; None if one source has no limit."""
    limits = [each.max_episode_steps for each in facts]
    return None if None in limits else max(limit for limit in limits if limit is not None)


def check_compatible(names: Sequence[str], facts: Sequence[DatasetFacts]) -> None:
    """Refuse datasets whose rows mean different things.

    Raises:
        ValueError: naming the two that differ and in what.
    """
    first = facts[0]
    for name, other in zip(names[1:], facts[1:], strict=True):
        for what in ("environment", "environment_kwargs"):
            ours, theirs = getattr(first, what), getattr(other, what)
            if ours != theirs:
                raise ValueError(f"{names[0]} has the {what} {ours} but {name} has {theirs}; combine equal ones only")
        for what in ("observation", "action"):
            ours, theirs = getattr(first, what), getattr(other, what)
            if (ours.kind, ours.shape) != (theirs.kind, theirs.shape):
                shown = [f"{space.kind} {what}s of shape {space.shape}" for space in (ours, theirs)]
                raise ValueError(f"{names[0]} has {shown[0]} but {name} has {shown[1]}; combine equal ones only")
            if first.environment is not None and ours.categories != theirs.categories:
                raise ValueError(f"{names[0]} and {name} count their {what}s differently; combine equal ones only")


def choose(spec: DeriveSpec, tables: Sequence[pd.DataFrame]) -> list[np.ndarray]:
    """Indices of the episodes that are taken from each source.

    A split draws over the episodes of all sources that pass the filter, so both of its sides together hold each once.

    Raises:
        ValueError: if a tier does not exist or nothing is left.
    """
    kept = [np.flatnonzero(_passes(spec, table)) for table in tables]
    known = {str(tier) for table in tables for tier in table["tier"]}
    for tier in spec.tiers:
        if tier not in known:
            raise ValueError(f"tiers names {tier!r}, which no episode has; choose from {', '.join(sorted(known))}")
    if spec.part is not None:
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence((spec.part.seed, 0x5B117))))
        count = sum(map(len, kept))
        sides = np.zeros(count, dtype=bool)
        sides[generator.permutation(count)[: _first_side(count, spec.part.fraction)]] = True
        if spec.part.side == "second":
            sides = ~sides
        parts = np.split(sides, np.cumsum([len(episodes) for episodes in kept])[:-1])
        kept = [episodes[side] for episodes, side in zip(kept, parts, strict=True)]
    if not any(map(len, kept)):
        total = sum(map(len, tables))
        raise ValueError(f"none of the {total:,} episodes is left; widen the filter")
    return kept


def select(space: SpaceFacts, dimensions: Sequence[int], what: str) -> SpaceFacts:
    """Facts about some dimensions of a space; about all if none is named.

    Raises:
        ValueError: if there is no such dimension, or the space has none to choose from.
    """
    if not dimensions:
        return space
    if space.kind in ("image", "discrete"):
        raise ValueError(f"{what}_dimensions are given but the {what}s are of kind {space.kind}; leave them empty")
    if max(dimensions) >= space.size:
        raise ValueError(
            f"{what}_dimensions holds {max(dimensions)} but {what}s have the dimensions 0 to {space.size - 1}"
        )
    multi = what == "action" and space.kind == "multi_discrete"
    return SpaceFacts(
        kind="multi_discrete" if multi else "box",
        size=len(dimensions),
        shape=(len(dimensions),),
        names=tuple(space.names[i] for i in dimensions),
        low=tuple(space.low[i] for i in dimensions) if space.low else (),
        high=tuple(space.high[i] for i in dimensions) if space.high else (),
        categories=tuple(space.categories[i] for i in dimensions) if multi else (),
    )


def _first_side(count: int, fraction: float) -> int:
    """Episodes of the first side; at least one on each side where there are two."""
    return min(max(round(count * fraction), 1), max(count - 1, 1))


def _passes(spec: DeriveSpec, table: pd.DataFrame) -> np.ndarray:
    passes = np.ones(len(table), dtype=bool)
    for column, low, high in (
        ("achieved_return", spec.minimum_return, spec.maximum_return),
        ("length", spec.minimum_length, spec.maximum_length),
    ):
        values = table[column].to_numpy()
        passes &= values >= low if low is not None else True
        passes &= values <= high if high is not None else True
    return passes & table["tier"].isin(spec.tiers).to_numpy() if spec.tiers else passes


def _joined_action(facts: Sequence[DatasetFacts]) -> SpaceFacts:
    """Facts about the actions of all sources: the most categories that one counts, bounds only where all agree."""
    action = max((item.action for item in facts), key=lambda action: action.categories)
    if action.kind != "box":
        counts = [max(values) for values in zip(*(item.action.categories for item in facts), strict=True)]
        labels = max((item.action.labels for item in facts), key=len)
        return action.model_copy(update={"categories": tuple(counts), "labels": labels})
    same = all((item.action.low, item.action.high) == (action.low, action.high) for item in facts)
    open_bounds = (None,) * action.size
    return action if same else action.model_copy(update={"low": open_bounds, "high": open_bounds})
