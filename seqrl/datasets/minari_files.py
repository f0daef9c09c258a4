"""Datasets as Minari stores them (HDF5), readable with plain ``minari.load_dataset``.

The file has the groups, arrays and attributes of ``minari.dataset._storages.hdf5_storage`` but is not written by
Minari, which takes 3 s for 2,000 episodes (see `seqrl.datasets.hdf5_writer`). Reading goes through Minari.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from minari.dataset.minari_storage import MinariStorage

from seqrl.datasets.collection import CollectedEpisode
from seqrl.datasets.hdf5_writer import Hdf5Writer
from seqrl.environments.spaces import decode_actions, decode_observations


class MinariWriter(contextlib.AbstractContextManager["MinariWriter"]):
    """Writes a Minari dataset, a chunk of episodes at a time.

    Args:
        folder: of the dataset, ``.../seqrl/NAME-v0``; must not exist.
        dataset_id: see `seqrl.store.base.minari_id`.
        env: an environment of the kind that was played, for its spaces and its specification.
        about: further plain entries of the dataset's metadata.
    """

    def __init__(self, folder: Path, dataset_id: str, env: gymnasium.Env, about: Mapping[str, Any]) -> None:
        data = Path(folder) / "data"
        data.mkdir(parents=True)
        self._env = env
        self._storage = MinariStorage.new(
            data,
            observation_space=env.observation_space,
            action_space=env.action_space,
            env_spec=None if env.spec is None or callable(env.spec.entry_point) else env.spec,
            jpeg_encoding=False,  # JPEG would change the pixels that the behaviour saw
        )
        self._about = {"dataset_id": dataset_id, "minari_version": version("minari"), **about}
        (data / "main_data.hdf5").unlink()  # empty so far
        self._file = Hdf5Writer(data / "main_data.hdf5")
        self._episodes = self._steps = 0

    def write(self, episodes: Iterable[CollectedEpisode]) -> None:
        """Append episodes."""
        for episode in episodes:
            length = len(episode.rewards)
            ends = np.zeros((2, length), dtype=bool)
            ends[:, -1] = episode.terminated, episode.truncated
            attributes = {"id": self._episodes, "total_steps": length, **episode.about()}
            for key in ("terminated", "truncated"):
                del attributes[key]  # the last entries of the arrays below
            parts = {
                "observations": _parts(decode_observations(self._env.observation_space, episode.observations)),
                "actions": decode_actions(self._env.action_space, episode.actions),
                "rewards": episode.rewards,
                "terminations": ends[0],
                "truncations": ends[1],
                "infos": {},  # Minari cannot print an episode without them
            }
            self._file.add_group(f"episode_{self._episodes}", parts, attributes)
            self._episodes += 1
            self._steps += length

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            self._file.abandon()
            return
        self._file.close()
        totals = {"total_episodes": self._episodes, "total_steps": self._steps}
        self._storage.update_metadata(self._about | totals)
        self._storage.update_metadata({"dataset_size": float(self._storage.get_size())})


def _parts(tree: Any) -> Any:
    """Tuples become mappings with Minari's names."""
    if isinstance(tree, tuple):
        return {f"_index_{i}": _parts(part) for i, part in enumerate(tree)}
    return {key: _parts(part) for key, part in tree.items()} if isinstance(tree, Mapping) else tree


def read_episodes(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The episodes of a Minari dataset one after the other, as Minari gives them: (data, metadata)."""
    storage = MinariStorage.read(Path(folder) / "data")
    indices = range(storage.total_episodes)
    yield from zip(storage.get_episodes(indices), storage.get_episode_metadata(indices), strict=True)
