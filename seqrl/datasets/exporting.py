"""Datasets out: Parquet with one row a step, or a Minari dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from gymnasium import spaces

from seqrl.config import BehaviourSpec, DatasetFacts, SpaceFacts
from seqrl.datasets.building import BuildStopped, OnProgress, ShouldStop
from seqrl.datasets.collection import CollectedEpisode
from seqrl.datasets.importers.parquet import METADATA_KEY
from seqrl.datasets.minari_files import MinariWriter
from seqrl.environments import make_environment
from seqrl.files import atomic_folder, new_file, refuse_existing
from seqrl.store.columns import Columns

_GROUP_BYTES = 64 * 2**20


def export_parquet(
    columns: Columns,
    path: Path,
    *,
    on_progress: OnProgress = lambda fraction, message: None,
    should_stop: ShouldStop = lambda: False,
) -> Path:
    """Write one row a step; importing the file again gives equal columns.

    Columns: episode, step, observations, actions, rewards, final_observations (null but at an episode's last step),
    terminated, truncated, tier, policy, epsilon, noise_std, seed. The metadata key ``seqrl`` holds the spaces and the
    environment with its settings as JSON.

    Args:
        columns: the dataset.
        path: the file; it appears when it is whole. An existing one is not replaced.
        on_progress: called with the share that is done and what is being done.
        should_stop: asked at every piece.

    Raises:
        FileExistsError: if the file exists.
        BuildStopped: if it was asked to stop.
    """
    schema = _schema(columns)
    with new_file(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        row_bytes = columns.observations[0].nbytes + columns.actions[0].nbytes + 64
        table = columns.episodes
        first = 0
        while first < len(table):
            if should_stop():
                raise BuildStopped
            last = first + 1
            while last < len(table) and (table["end"].iat[last] - table["start"].iat[first]) * row_bytes < _GROUP_BYTES:
                last += 1
            writer.write_batch(_batch(columns, first, last, schema))
            first = last
            on_progress(first / len(table), f"{first:,} of {len(table):,} episodes written")
    return path


def export_minari(
    columns: Columns,
    folder: Path,
    dataset_id: str,
    *,
    on_progress: OnProgress = lambda fraction, message: None,
    should_stop: ShouldStop = lambda: False,
) -> Path:
    """Write a Minari dataset that plain ``minari.load_dataset`` reads.

    Observations get the environment's own types where there is an environment; without one they are flat boxes.

    Args:
        columns: the dataset.
        folder: of the dataset; it appears when it is whole. An existing one is not replaced.
        dataset_id: the Minari id that it says it has.
        on_progress: called with the share that is done and what is being done.
        should_stop: asked now and then.

    Raises:
        FileExistsError: if the folder exists.
        BuildStopped: if it was asked to stop.
    """
    folder = folder.absolute()  # Minari joins relative paths twice
    refuse_existing(folder)
    env = _environment(columns.facts)
    try:
        with atomic_folder(folder) as partial:
            with MinariWriter(partial, dataset_id, env, {"description": "exported by seqrl"}) as writer:
                for index in range(len(columns.episodes)):
                    if index % 32 == 0:
                        if should_stop():
                            raise BuildStopped
                        on_progress(index / len(columns.episodes), f"{index:,} of {len(columns.episodes):,} episodes")
                    writer.write([_collected(columns, index)])
    finally:
        env.close()
    return folder


class _Recorded(gymnasium.Env):
    """The spaces of a dataset without an environment. It cannot be played."""

    def __init__(self, facts: DatasetFacts) -> None:
        self.observation_space = _space(facts.observation)
        self.action_space = _space(facts.action)


@dataclass(frozen=True, eq=False)
class _Episode(CollectedEpisode):
    """An episode about which only some things are known."""

    known: Mapping[str, Any] = field(default_factory=dict)

    def about(self) -> dict[str, Any]:
        """What is known."""
        return dict(self.known)


def _environment(facts: DatasetFacts) -> gymnasium.Env:
    if facts.environment is None:
        return _Recorded(facts)
    return make_environment(facts.environment, facts.environment_kwargs, max_episode_steps=facts.max_episode_steps)


def _space(facts: SpaceFacts) -> gymnasium.Space:
    """A space that flat rows with these facts belong to."""
    if facts.kind == "image":
        return spaces.Box(0, 255, facts.shape, np.uint8)
    if facts.shape == ():
        return spaces.Discrete(facts.categories[0])
    if facts.kind == "multi_discrete" and len(facts.categories) == facts.size:
        return spaces.MultiDiscrete(list(facts.categories))
    bounds = []
    for values, missing in ((facts.low, -np.inf), (facts.high, np.inf)):
        given = [missing if value is None else value for value in values] or [missing] * facts.size
        bounds.append(np.array(given, dtype=np.float32))
    return spaces.Box(bounds[0], bounds[1], facts.shape, np.float32)


def _collected(columns: Columns, index: int) -> CollectedEpisode:
    row = columns.episodes.iloc[index]
    steps = columns.episode(index)
    about = {key: row[key] for key in ("terminated", "truncated", "tier", "policy")}
    about |= {key: float(row[key]) for key in ("epsilon", "noise_std") if np.isfinite(row[key])}
    return _Episode(
        observations=steps.observations,
        actions=np.asarray(steps.actions),
        rewards=np.asarray(steps.rewards),
        terminated=bool(row["terminated"]),
        truncated=bool(row["truncated"]),
        seed=int(row["seed"]),
        behaviour=BehaviourSpec(),
        known=about | ({"seed": int(row["seed"])} if row["seed"] >= 0 else {}),
    )


def _schema(columns: Columns) -> pa.Schema:
    facts = columns.facts
    observation = pa.from_numpy_dtype(columns.observations.dtype)
    action = pa.from_numpy_dtype(columns.actions.dtype)
    width = int(np.prod(columns.observations.shape[1:]))
    notes = {
        "environment": facts.environment,
        "environment_kwargs": facts.environment_kwargs,
        "observation": facts.observation.model_dump(mode="json"),
        "action": facts.action.model_dump(mode="json"),
    }
    plain = [(key, pa.float64()) for key in ("epsilon", "noise_std")]
    return pa.schema(
        [
            ("episode", pa.int64()),
            ("step", pa.int64()),
            ("observations", pa.list_(observation, width)),
            ("actions", action if columns.actions.ndim == 1 else pa.list_(action, columns.actions.shape[1])),
            ("rewards", pa.float64()),
            ("final_observations", pa.list_(observation)),
            ("terminated", pa.bool_()),
            ("truncated", pa.bool_()),
            ("tier", pa.string()),
            ("policy", pa.string()),
            *plain,
            ("seed", pa.int64()),
        ],
        metadata={METADATA_KEY: json.dumps(notes).encode()},
    )


def _batch(columns: Columns, first: int, last: int, schema: pa.Schema) -> pa.RecordBatch:
    table = columns.episodes.iloc[first:last]
    start, end = int(table["start"].iat[0]), int(table["end"].iat[-1])
    columns.resident.touch(end - start)
    lengths = table["length"].to_numpy()
    ends = table["end"].to_numpy() - start
    last_step = np.zeros(end - start, dtype=bool)
    last_step[ends - 1] = True
    finals = columns.final_observations[first:last].reshape(last - first, -1)
    offsets = np.concatenate([[0], np.cumsum(last_step)]).astype(np.int32) * finals.shape[1]
    actions = np.asarray(columns.actions[start:end])
    values: dict[str, Any] = {
        "episode": np.repeat(table["episode"].to_numpy(), lengths),
        "step": np.arange(end - start) - np.repeat(ends - lengths, lengths),
        "observations": _lists(np.asarray(columns.observations[start:end]), schema.field("observations").type),
        "actions": actions if actions.ndim == 1 else _lists(actions, schema.field("actions").type),
        "rewards": np.asarray(columns.rewards[start:end]),
        "final_observations": pa.ListArray.from_arrays(offsets, finals.ravel(), mask=pa.array(~last_step)),
        "terminated": last_step & np.repeat(table["terminated"].to_numpy(dtype=bool), lengths),
        "truncated": last_step & np.repeat(table["truncated"].to_numpy(dtype=bool), lengths),
    }
    for key in ("tier", "policy", "epsilon", "noise_std", "seed"):
        values[key] = np.repeat(table[key].to_numpy(), lengths)
    return pa.RecordBatch.from_arrays(
        [pa.array(values[name], schema.field(name).type) for name in schema.names], schema=schema
    )


def _lists(values: np.ndarray, data_type: pa.DataType) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=data_type)
