"""From a specification to a Minari dataset and its columns, from a Minari dataset to columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari.dataset.minari_storage import MinariStorage

from seqrl.config import DatasetFacts, DatasetSpec, SpaceFacts
from seqrl.datasets.collection import Collected, collect
from seqrl.datasets.importers.spaces import space_from_json
from seqrl.datasets.minari_files import MinariWriter, read_episodes
from seqrl.datasets.statistics import measure
from seqrl.environments import EnvironmentFacts, facts_of, make_environment
from seqrl.environments.behaviours import MakeController
from seqrl.environments.spaces import (
    action_facts,
    encode_actions,
    encode_observations,
    observation_dtype,
    observation_facts,
)
from seqrl.files import atomic_folder
from seqrl.registry import environment_row
from seqrl.store import Store
from seqrl.store.base import minari_id
from seqrl.store.columns import Columns, ColumnsMissing, ColumnsWriter, write_facts

OnProgress = Callable[[float, str], None]
ShouldStop = Callable[[], bool]


class Play(Protocol):
    """Plays the episodes of a specification, as `seqrl.datasets.collection.collect` does."""

    def __call__(
        self, spec: DatasetSpec, *, facts: EnvironmentFacts, policies: Mapping[str, MakeController] | None
    ) -> Iterator[Collected]:
        """The episodes, in their order."""


class BuildStopped(Exception):
    """``should_stop`` was true; nothing of the unfinished dataset is left."""


def build(
    spec: DatasetSpec,
    columns_folder: Path,
    minari_root: Path | None = None,
    *,
    on_progress: OnProgress = lambda fraction, message: None,
    should_stop: ShouldStop = lambda: False,
    policies: Mapping[str, MakeController] | None = None,
    play: Play = collect,
) -> DatasetFacts:
    """Collect a dataset and write it as columns and as Minari dataset, both whole or not at all.

    Args:
        spec: what to collect.
        columns_folder: where the columns go; replaced if there are some.
        minari_root: the folder of all Minari datasets, or None to write columns only.
        on_progress: called with the share that is done, 0 to 1, and what is being done.
        should_stop: asked at every piece of the collection.
        policies: see `seqrl.datasets.collection.collect`.
        play: what plays the episodes and gives them in their order; several processes, for example.

    Returns:
        What was measured of it; also stored with the columns.

    Raises:
        ValueError: if the environment or a behaviour does not fit, in one sentence.
        BuildStopped: if it was asked to stop.
    """
    env = make_environment(spec.environment, spec.environment_kwargs, max_episode_steps=spec.max_episode_steps)
    facts = facts_of(env, spec.environment, spec.environment_kwargs)
    with ExitStack() as stack:
        stack.callback(env.close)
        partial = stack.enter_context(atomic_folder(columns_folder))
        columns = stack.enter_context(_writer(partial, env.observation_space, facts.action))
        minari = None
        if minari_root is not None:
            folder = stack.enter_context(atomic_folder(minari_root / minari_id(spec.name)))
            about = {"seqrl": spec.to_json(), "description": f"collected by seqrl in {spec.environment}"}
            minari = stack.enter_context(MinariWriter(folder, minari_id(spec.name), env, about))
        for piece in play(spec, facts=facts, policies=policies):
            if should_stop():
                raise BuildStopped
            for episode in piece.episodes:
                columns.append(episode.observations, episode.actions, episode.rewards, episode.about())
            if minari:
                minari.write(piece.episodes)
            on_progress(0.98 * piece.progress, f"{piece.steps:,} steps collected")
        columns.close()
        on_progress(0.98, "measuring")
        measured = measure(
            partial,
            environment=spec.environment,
            environment_kwargs=spec.environment_kwargs,
            observation=facts.observation,
            action=facts.action,
            max_episode_steps=facts.max_episode_steps,
            content_hash=columns.content_hash(),
        )
        write_facts(partial, measured)
    on_progress(1.0, "done")
    return measured


def compile_columns(
    minari_folder: Path,
    columns_folder: Path,
    *,
    on_progress: OnProgress = lambda fraction, message: None,
    should_stop: ShouldStop = lambda: False,
) -> DatasetFacts:
    """Write the columns of a Minari dataset, episode by episode: memory does not grow with the dataset.

    No environment is made: the dataset's own spaces are enough.

    Args:
        minari_folder: of the dataset, ``.../NAME-v0``.
        columns_folder: where the columns go; replaced if there are some.
        on_progress: called with the share that is done, 0 to 1, and what is being done.
        should_stop: asked now and then.

    Raises:
        ValueError: if a space has no fixed number of dimensions.
        BuildStopped: if it was asked to stop.
    """
    storage = MinariStorage.read(Path(minari_folder) / "data")
    environment, kwargs, limit = _played_in(storage)
    row = environment_row(environment or "")
    # Minari's own parser sorts dictionaries; the environment's flattened rows keep the order that it wrote down
    written = MinariStorage.read_raw_metadata(Path(minari_folder) / "data")
    spaces = tuple(space_from_json(written[f"{what}_space"], f"{what}_space") for what in ("observation", "action"))
    observation = observation_facts(spaces[0], row.observation_names)
    action = action_facts(spaces[1], row.action_names)
    total = max(storage.total_episodes, 1)
    with atomic_folder(columns_folder) as partial, _writer(partial, spaces[0], action) as columns:
        for number, (data, metadata) in enumerate(read_episodes(minari_folder)):
            if number % 32 == 0:
                if should_stop():
                    raise BuildStopped
                on_progress(0.95 * number / total, f"{number:,} of {total:,} episodes compiled")
            columns.append(
                encode_observations(spaces[0], data["observations"]),
                encode_actions(spaces[1], data["actions"]),
                np.asarray(data["rewards"], dtype=np.float64),
                _about(data, metadata),
            )
        columns.close()
        facts = measure(
            partial,
            environment=environment,
            environment_kwargs=kwargs,
            observation=observation,
            action=action,
            max_episode_steps=limit,
            content_hash=columns.content_hash(),
        )
        write_facts(partial, facts)
    on_progress(1.0, "done")
    return facts


def ensure_columns(
    store: Store,
    name: str,
    *,
    on_progress: OnProgress = lambda fraction, message: None,
    should_stop: ShouldStop = lambda: False,
) -> Columns:
    """The columns of a dataset of the store; compiled from Minari, else collected again, where they are missing.

    Raises:
        NotFound: if there is no such dataset.
        ValueError: if there is nothing that they could be made from.
        BuildStopped: if it was asked to stop.
    """
    row = store.dataset(name)
    folder = store.columns_folder(name)
    try:
        return Columns.open(folder)
    except ColumnsMissing:
        minari_folder = store.minari_folder() / minari_id(name)
        if (minari_folder / "data").is_dir():
            compile_columns(minari_folder, folder, on_progress=on_progress, should_stop=should_stop)
        elif "environment" in row.source:
            spec = DatasetSpec.model_validate(row.source)
            build(spec, folder, on_progress=on_progress, should_stop=should_stop)
        else:
            raise ValueError(f"the files of the dataset {name} are gone; import it again") from None
    return Columns.open(folder)


def _writer(folder: Path, observation_space: gymnasium.Space, action: SpaceFacts) -> ColumnsWriter:
    facts = observation_facts(observation_space)
    return ColumnsWriter(
        folder,
        observation_shape=facts.shape,
        observation_dtype=observation_dtype(observation_space),
        action_shape=action.shape,
        action_dtype=np.float32 if action.kind == "box" else np.int64,
    )


def _played_in(storage: MinariStorage) -> tuple[str | None, dict[str, Any], int | None]:
    """Id, settings and time limit of the environment that a Minari dataset names, without making it."""
    text = storage.metadata.get("env_spec")
    if not text:
        return None, {}, None
    spec = EnvSpec.from_json(text)
    registered = gymnasium.registry.get(spec.id)
    usual = registered.kwargs if registered else {}
    kwargs = {
        key: value
        for key, value in spec.kwargs.items()
        if isinstance(value, bool | int | float | str) and (key not in usual or usual[key] != value)
    }
    return spec.id, kwargs, spec.max_episode_steps


def _about(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "terminated": bool(data["terminations"][-1]),
        "truncated": bool(data["truncations"][-1]),
        "tier": str(metadata.get("tier", "data")),
        "policy": str(metadata.get("policy", "unknown")),
        "epsilon": float(metadata.get("epsilon", np.nan)),
        "noise_std": float(metadata.get("noise_std", np.nan)),
        "seed": int(metadata["seed"]) if metadata.get("seed") is not None else -1,
    }
