"""Minari datasets: the folder, its ``data`` folder, or the HDF5 file alone.

Spaces are parsed here, and the file is read with h5py alone: Minari's own loader makes an environment from an entry
point that the file names when it lacks spaces, and follows every link.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from gymnasium import Space, spaces

from seqrl.datasets.importers.checks import (
    MOST_EPISODE_BYTES,
    MOST_EPISODE_STEPS,
    MOST_JSON_BYTES,
    ImportRefused,
    RawEpisode,
    check_rewards,
    refuse,
)
from seqrl.datasets.importers.hdf5 import (
    dataset_of,
    group_of,
    members,
    number_attribute,
    open_hdf5,
    text_attribute,
)
from seqrl.datasets.importers.images import decode_frames
from seqrl.datasets.importers.minari_arrow import described, open_minari_arrow
from seqrl.datasets.importers.sources import Expected, Source, reading
from seqrl.datasets.importers.spaces import space_from_json
from seqrl.environments.spaces import is_image
from seqrl.files import read_capped

_MAIN_FILE = "main_data.hdf5"
_PREFIX = "episode_"
_DEEPEST = 8


def is_minari(file: h5py.File) -> bool:
    """Whether an HDF5 file has one group an episode, as Minari writes them."""
    return f"{_PREFIX}0" in file


def is_minari_folder(path: Path) -> bool:
    """Whether a folder is a Minari dataset of any of its formats."""
    return main_file(path) is not None or described(path) is not None


def main_file(path: Path) -> Path | None:
    """The HDF5 file of a Minari folder, or None if it is none."""
    candidates = [path / "data" / _MAIN_FILE, path / _MAIN_FILE] if path.is_dir() else [path]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@contextmanager
def open_minari(path: Path, expected: Expected) -> Iterator[Source]:
    """Open a Minari dataset: HDF5, or the Arrow and Parquet of `seqrl.datasets.importers.minari_arrow`.

    Raises:
        ImportRefused: naming what is missing or malformed.
    """
    if path.is_dir() and (data := described(path)) is not None:
        with reading(data):
            metadata = json.loads(read_capped(data / "metadata.json", MOST_JSON_BYTES))
        with open_minari_arrow(data, expected, _played_in(metadata)) as source:
            yield source
        return
    main = main_file(path)
    if main is None:
        raise ImportRefused(f"{path.name} has no {_MAIN_FILE}; give a dataset that Minari wrote")
    with open_hdf5(main) as file:
        with reading(main):
            metadata = _metadata(main, file)
            count = _count(members(file, "the file"))
            space = {
                what: getattr(expected, what) or _space(metadata, file, what) for what in ("observation", "action")
            }
            jpeg = bool(metadata.get("jpeg_encoding", True))

        def read() -> Iterator[RawEpisode]:
            for index in range(count):
                yield _episode(group_of(file, f"{_PREFIX}{index}"), index, space["observation"], jpeg)

        yield Source("minari", count, None, space["observation"], space["action"], read, **_played_in(metadata))


def _metadata(main: Path, file: h5py.File) -> dict[str, Any]:
    """What the dataset says of itself: metadata.json, or attributes of the file in Minari before 0.5."""
    described = main.parent / "metadata.json"
    if described.is_file():
        values = json.loads(read_capped(described, MOST_JSON_BYTES))
        if not isinstance(values, dict):
            raise ImportRefused("metadata.json is no JSON object; download the dataset again")
        return values
    keys = ("observation_space", "action_space", "env_spec", "flatten_observation")
    return {key: text for key in keys if (text := text_attribute(file, key, MOST_JSON_BYTES)) is not None}


def _count(names: list[str]) -> int:
    """Number of episodes, which must be numbered from 0 without gaps."""
    numbers = {name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)}
    for index in range(len(numbers)):
        if str(index) not in numbers:
            raise ImportRefused(f"{_PREFIX}{index} is missing though there are {len(numbers)}; number them from 0")
    if not numbers:
        raise ImportRefused(f"the file has no group {_PREFIX}0, as every file of Minari has; choose another format")
    return len(numbers)


def _space(metadata: dict[str, Any], file: h5py.File, what: str) -> Space | None:
    text = metadata.get(f"{what}_space")
    if isinstance(text, str):
        return space_from_json(text, f"{what}_space")
    if text is not None:
        raise ImportRefused(f"{what}_space is no text; give a Minari dataset")
    group = group_of(file, f"{_PREFIX}0")
    return _guess(group, "observations", 0) if what == "observation" else None


def _guess(group: h5py.Group, name: str, depth: int) -> Space | None:
    """A space of boxes from how the arrays are grouped; None for a plain array, which is looked at later."""
    if depth > _DEEPEST or name not in group:
        return None
    if group.get(name, getclass=True) is h5py.Dataset:
        shape = dataset_of(group, name, 0).shape[1:]
        return spaces.Box(-np.inf, np.inf, shape, np.float32) if depth else None
    inner = group_of(group, name, 0)
    names = members(inner, f"episode 0: {name}")
    parts = {key: _guess(inner, key, depth + 1) or spaces.Box(-np.inf, np.inf, ()) for key in names}
    if names and all(key == f"_index_{i}" for i, key in enumerate(sorted(names))):
        return spaces.Tuple([parts[f"_index_{i}"] for i in range(len(names))])
    return spaces.Dict(parts)


def _played_in(metadata: dict[str, Any]) -> dict[str, Any]:
    """Id and settings in the environment specification; the rest of it, entry points above all, is not looked at."""
    try:
        values = json.loads(metadata.get("env_spec") or "null")
    except (TypeError, ValueError):
        return {}
    name, kwargs = (values.get("id"), values.get("kwargs")) if isinstance(values, dict) else (None, None)
    if not isinstance(name, str) or len(name) > 200 or not isinstance(kwargs, dict | None):
        return {}
    return {"environment": name, "environment_kwargs": kwargs}


def _episode(group: h5py.Group, index: int, space: Space | None, jpeg: bool) -> RawEpisode:
    rewards = check_rewards(index, _array(group, "rewards", index))
    flags = {name: _array(group, name, index) for name in ("terminations", "truncations")}
    for name, values in flags.items():
        if values.shape != rewards.shape or not np.isin(values, (0, 1)).all():
            raise refuse(index, name, f"has shape {values.shape} or other values than 0 and 1; rewards {rewards.shape}")
        if values[:-1].any():
            raise refuse(index, name, f"is set at step {int(np.flatnonzero(values)[0])}, before the last step")
    terminated, truncated = (bool(len(values) and values[-1]) for values in flags.values())
    about: dict[str, Any] = {
        "tier": text_attribute(group, "tier", 40),
        "policy": text_attribute(group, "policy", 80),
        "epsilon": number_attribute(group, "epsilon"),
        "noise_std": number_attribute(group, "noise_std"),
        "seed": number_attribute(group, "seed"),
    }
    return RawEpisode(
        observations=_tree(group, "observations", index, space, jpeg),
        actions=_tree(group, "actions", index, None, jpeg),
        rewards=rewards,
        terminated=terminated,
        truncated=truncated or not terminated,
        about={key: value for key, value in about.items() if value is not None},
    )


def _tree(group: h5py.Group, name: str, index: int, space: Space | None, jpeg: bool, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise refuse(index, name, "is nested too deeply; give plain groups")
    if group.get(name, getclass=True) is not h5py.Group:
        if jpeg and space is not None and is_image(space):
            return _images(group, name, index, space)
        return _array(group, name, index)
    inner = group_of(group, name, index)
    names = members(inner, f"episode {index}: {name}")
    parts = {key: _tree(inner, key, index, _part(space, key), jpeg, depth + 1) for key in names}
    if names and set(names) == {f"_index_{i}" for i in range(len(names))}:
        return tuple(parts[f"_index_{i}"] for i in range(len(names)))
    return parts


def _part(space: Space | None, key: str) -> Space | None:
    if isinstance(space, spaces.Dict):
        return space.spaces.get(key)
    number = key.removeprefix("_index_")
    if isinstance(space, spaces.Tuple) and number.isdecimal() and int(number) < len(space.spaces):
        return space.spaces[int(number)]
    return None


def _array(group: h5py.Group, name: str, index: int) -> np.ndarray:
    dataset = dataset_of(group, name, index)
    length = dataset.shape[0] if dataset.shape else 0
    if length > MOST_EPISODE_STEPS + 1 or dataset.size * dataset.dtype.itemsize > MOST_EPISODE_BYTES:
        raise refuse(index, name, f"claims {length:,} steps, {dataset.size:,} numbers; more than is read at once")
    if dataset.dtype.kind == "O":
        raise refuse(index, name, f"has values of type {dataset.dtype}; give numbers")
    return np.asarray(dataset[()])


def _images(group: h5py.Group, name: str, index: int, space: Space) -> np.ndarray:
    """(T + 1, H, W, C) uint8 of JPEG frames; frames of other sizes than the space are refused before decoding."""
    dataset = dataset_of(group, name, index)
    shape = tuple(space.shape or ())
    if dataset.dtype == np.uint8 and dataset.shape[1:] == shape:
        return _array(group, name, index)
    if len(dataset.shape) not in (1, 2):
        raise refuse(index, name, f"has shape {dataset.shape}; give one JPEG a step")
    if h5py.check_vlen_dtype(dataset.dtype) is None and dataset.dtype != np.uint8:
        raise refuse(index, name, f"has frames of type {dataset.dtype}; give JPEG")
    frames = (np.asarray(dataset[step], dtype=np.uint8).tobytes() for step in range(len(dataset)))
    return decode_frames(frames, len(dataset), shape, index, name)
