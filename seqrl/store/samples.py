"""Some whole episodes of a dataset, in memory: what a page can show at once, also of the bundled datasets.

The bundle keeps no columns, since they are rebuilt from the specs; but it keeps the steps of a few episodes, so that
a fresh machine has something to show before anything is collected.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqrl.config import DatasetFacts
from seqrl.store.columns import Columns, Episode

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_NAME = "sample.npz"
MOST_STEPS = 40_000
_DTYPES = "dtypes"


@dataclass(frozen=True, eq=False)
class Sample:
    """Some episodes of a dataset.

    Attributes:
        facts: of the whole dataset.
        observations: (N, *observation), the one that the action of a step was taken in.
        actions: (N,) or (N, A).
        rewards: (N,) float64, reward units.
        final_observations: (E, *observation), after the last step of each episode.
        episodes: (E rows) as in the dataset's episode table, but ``start`` and ``end`` count within this sample.
    """

    facts: DatasetFacts
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    final_observations: np.ndarray
    episodes: pd.DataFrame

    def episode(self, index: int) -> Episode:
        """The steps of episode ``index`` of the sample, its last observation included.

        Raises:
            IndexError: if there is no such episode.
        """
        if not 0 <= index < len(self.episodes):
            raise IndexError(f"episode is {index} but there are {len(self.episodes)}; choose 0 to less than that")
        start, end = (int(self.episodes[column].iat[index]) for column in ("start", "end"))
        observations = np.concatenate([self.observations[start:end], self.final_observations[index : index + 1]])
        return Episode(observations, self.actions[start:end], self.rewards[start:end])

    def following(self) -> np.ndarray:
        """(N, *observation) the observation after every step."""
        after = np.roll(self.observations, -1, axis=0)
        after[self.episodes["end"].to_numpy() - 1] = self.final_observations
        return after


def sample_of(columns: Columns, indices: Sequence[int]) -> Sample:
    """These episodes of a dataset's columns."""
    table = columns.episodes.iloc[list(indices)]
    spans = list(zip(table["start"], table["end"], strict=True))
    arrays = (
        np.concatenate([np.asarray(column[start:end]) for start, end in spans])
        for column in (columns.observations, columns.actions, columns.rewards)
    )
    ends = np.cumsum([end - start for start, end in spans])
    table = table.assign(start=np.concatenate([[0], ends[:-1]]), end=ends).reset_index(drop=True)
    observations, actions, rewards = arrays
    final = np.asarray(columns.final_observations[list(indices)])
    return Sample(columns.facts, observations, actions, rewards, final, table)


def evenly(episodes: pd.DataFrame, most: int | None = None, most_steps: int = MOST_STEPS) -> list[int]:
    """Episodes evenly spaced over a dataset: at most so many, and at most so many steps (but at least one episode)."""
    count = len(episodes) if most is None else min(most, len(episodes))
    while True:
        chosen = np.unique(np.linspace(0, len(episodes) - 1, count).round().astype(int))
        if count <= 1 or episodes["length"].to_numpy()[chosen].sum() <= most_steps:
            return [int(index) for index in chosen]
        count = max(1, int(count * 0.8))


def write_sample(path: Path, sample: Sample, smallest: dict[str, np.ndarray]) -> None:
    """Keep a sample as one file.

    Args:
        path: of the file.
        sample: what is kept.
        smallest: field → the same values in a smaller type.
    """
    dtypes = {name: getattr(sample, name).dtype.name for name in smallest}
    table = io.BytesIO()
    sample.episodes.to_parquet(table, index=False, compression="zstd")
    about = {_DTYPES: np.frombuffer(json.dumps(dtypes).encode(), np.uint8)}
    about["episodes"] = np.frombuffer(table.getvalue(), np.uint8)
    np.savez_compressed(path, allow_pickle=False, **about, **smallest)


def read_sample(path: Path, facts: DatasetFacts) -> Sample:
    """A sample that was kept.

    Raises:
        ValueError: if the file is not one.
    """
    import pandas as pd

    try:
        with np.load(path, allow_pickle=False) as kept:
            dtypes = json.loads(kept[_DTYPES].tobytes())
            arrays = {name: kept[name].astype(dtype) for name, dtype in dtypes.items()}
            table = pd.read_parquet(io.BytesIO(kept["episodes"].tobytes()))
    except (KeyError, OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); build the bundle again") from error
    return Sample(facts=facts, episodes=table, **arrays)
