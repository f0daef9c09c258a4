"""HDF5 files as D4RL has them: flat arrays of steps, with terminals and timeouts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seqrl.datasets.importers.flat import Column, FlatSteps, find_names
from seqrl.datasets.importers.hdf5 import Hdf5Column, dataset_of, members, open_hdf5
from seqrl.datasets.importers.sources import Expected, Source, reading


@contextmanager
def open_d4rl(path: Path, expected: Expected) -> Iterator[Source]:
    """Open a file with observations, actions, rewards, terminals, and perhaps timeouts and next_observations.

    Without timeouts, an episode also ends at the time limit of the environment, as in D4RL's own loader. Without
    next_observations, the observation after the last step was not recorded: the last one is repeated.

    Raises:
        ImportRefused: naming the field.
    """
    with open_hdf5(path) as file:

        @contextmanager
        def open_column(name: str) -> Iterator[Column]:
            yield Hdf5Column(dataset_of(file, name), name)

        with reading(path):
            available = members(file, "the file")
            flat = FlatSteps(find_names(available), open_column, expected.max_episode_steps, available=available)
        yield Source("d4rl", flat.episodes, flat.steps, expected.observation, expected.action, flat.read)
