"""A dataset from elsewhere becomes columns: checked episode by episode, whole or not at all."""

from __future__ import annotations

import resource
import signal
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium
import numpy as np
from gymnasium import Space

from seqrl.config import DatasetFacts, ImportSpec, SpaceFacts
from seqrl.datasets.building import BuildStopped
from seqrl.datasets.importers import Encoder, Expected, ImportRefused, RawEpisode, Source, open_source
from seqrl.datasets.importers.archives import unpack
from seqrl.datasets.importers.checks import shown_name
from seqrl.datasets.importers.sources import reading
from seqrl.datasets.statistics import measure
from seqrl.environments import make_environment
from seqrl.environments.spaces import action_facts
from seqrl.files import atomic_folder, free_bytes
from seqrl.registry import ENVIRONMENTS, environment_row
from seqrl.store.columns import TAIL_ROWS, ColumnsWriter, write_facts

OnProgress = Callable[[float, str], None]
ShouldStop = Callable[[], bool]

_MOST_DATA_BYTES = 2 * 2**30
_CPU_SECONDS = 120
_BYTES_A_SECOND = 4 * 2**20
_KEEP_FREE_BYTES = 512 * 2**20
_LARGEST_SETTING = 1e30
_NEVER_PACKED = ("npz", "parquet", "d4rl")


def import_dataset(
    spec: ImportSpec,
    columns_folder: Path,
    scratch: Path,
    *,
    on_progress: OnProgress = lambda fraction, message: None,
    should_stop: ShouldStop = lambda: False,
    say: Callable[[str], None] = lambda sentence: None,
) -> DatasetFacts:
    """Read a file or folder into columns.

    Args:
        spec: what to read.
        columns_folder: where the columns go; they appear when everything was read and found right.
        scratch: an existing folder to unpack archives in.
        on_progress: called with the share that is done, 0 to 1, and what is being done.
        should_stop: asked at every episode.
        say: called with what somebody should know of a file that was read nevertheless.

    Raises:
        ImportRefused: in one sentence that names the episode and the field.
        ValueError: if the environment is unknown or lacks a package.
        BuildStopped: if it was asked to stop.
    """
    path = Path(spec.path).expanduser()
    with _unpacked(path, spec.format, scratch) as folder:
        settings = {**environment_row(spec.environment).kwargs, **spec.environment_kwargs}
        expected = expectations(spec.environment, settings)
        with open_source(folder, spec.format, expected) as source:
            named_alike = spec.environment == source.environment and not spec.environment_kwargs
            if (spec.environment == "auto" or named_alike) and (named := _known(source, say)) is not None:
                expected = named
            return _write(source, folder, spec, expected, columns_folder, on_progress, should_stop)


def expectations(environment: str, kwargs: Mapping[str, bool | int | float | str]) -> Expected:
    """Spaces and names of an environment; nothing for "none" and "auto".

    Args:
        environment: registered id.
        kwargs: its settings.

    Raises:
        ValueError: if it is unknown, lacks a package, or refuses its settings.
    """
    if environment in ("none", "auto"):
        return Expected()
    env = make_environment(environment, kwargs)
    try:
        return _expected(env, environment, kwargs)
    finally:
        env.close()


@contextmanager
def limited(size_bytes: int, more_memory_bytes: int = 0) -> Iterator[None]:
    """Bound the memory and processor time of this process while it parses ``size_bytes`` of a foreign file.

    The memory is 2 GiB and ``more_memory_bytes``, of data (``RLIMIT_DATA``): a mapped file does not count. Call it in a
    process of its own; the limits are lifted afterwards, except that a process which is out of time ends.

    Raises:
        ImportRefused: when the processor time is over.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + _CPU_SECONDS + size_bytes // _BYTES_A_SECOND
    kinds = (resource.RLIMIT_DATA, resource.RLIMIT_CPU)
    before = [resource.getrlimit(kind) for kind in kinds]
    wanted = (_MOST_DATA_BYTES + more_memory_bytes, seconds)
    previous = signal.signal(signal.SIGXCPU, _out_of_time)
    try:
        for kind, (soft, hard), limit in zip(kinds, before, wanted, strict=True):
            smaller = [value for value in (soft, hard, limit) if value != resource.RLIM_INFINITY]
            resource.setrlimit(kind, (min(smaller), hard))
        yield
    finally:
        for kind, values in zip(kinds, before, strict=True):
            resource.setrlimit(kind, values)
        signal.signal(signal.SIGXCPU, previous)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(item.stat().st_size for item in path.rglob("*") if item.is_file() and not item.is_symlink())
    return path.stat().st_size if path.is_file() else 0


def _write(
    source: Source,
    path: Path,
    spec: ImportSpec,
    expected: Expected,
    columns_folder: Path,
    on_progress: OnProgress,
    should_stop: ShouldStop,
) -> DatasetFacts:
    encoder = Encoder(
        expected.observation or source.observation,
        _actions(source, expected),
        expected.observation_names,
        expected.action_names,
    )
    episodes = source.checked(path)
    first = next(episodes, None)
    if first is None:
        raise ImportRefused("the file has no episodes; give one with at least one")
    encoded = encoder.encode(0, first)
    _check_room(source, encoded, columns_folder)
    with atomic_folder(columns_folder) as partial:
        with _writer(partial, encoder) as columns:
            columns.append(*encoded, about_episode(first))
            for index, episode in enumerate(episodes, start=1):
                if should_stop():
                    raise BuildStopped
                columns.append(*encoder.encode(index, episode), about_episode(episode))
                if index % 16 == 0:
                    on_progress(0.95 * index / source.episodes, f"{index:,} of {source.episodes:,} episodes read")
            columns.close()
        on_progress(0.95, "measuring")
        facts = measure(
            partial,
            environment=expected.environment,
            environment_kwargs=expected.environment_kwargs,
            observation=encoder.observation_facts(),
            action=encoder.action_facts(),
            max_episode_steps=expected.max_episode_steps,
            content_hash=columns.content_hash(),
        )
        write_facts(partial, facts)
    on_progress(1.0, "done")
    return facts


def about_episode(episode: RawEpisode) -> dict[str, Any]:
    """What is kept of an episode beside its steps, with a value where the file has none."""
    about = episode.about
    return {
        "terminated": episode.terminated,
        "truncated": episode.truncated,
        "tier": shown_name(about.get("tier"), 40) or "data",
        "policy": shown_name(about.get("policy"), 80) or "unknown",
        "epsilon": _number(about.get("epsilon")),
        "noise_std": _number(about.get("noise_std")),
        "seed": int(_number(about["seed"])) if np.isfinite(_number(about.get("seed"))) else -1,
    }


def _writer(folder: Path, encoder: Encoder) -> ColumnsWriter:
    observation, action = encoder.observation_facts(), encoder.action_facts()
    return ColumnsWriter(
        folder,
        observation_shape=observation.shape,
        observation_dtype=np.uint8 if observation.kind == "image" else np.float32,
        action_shape=action.shape,
        action_dtype=np.float32 if action.kind == "box" else np.int64,
    )


def _known(source: Source, say: Callable[[str], None]) -> Expected | None:
    """What the environment that a file names expects, if seqrl's own table has it and settings and spaces agree."""
    if source.environment not in ENVIRONMENTS:
        return None
    row = ENVIRONMENTS[source.environment]
    try:
        expected = expectations(row.id, row.kwargs)
        if source.environment_kwargs is not None:
            expected = expectations(row.id, _changed_settings(row.id, source.environment_kwargs))
    except ImportRefused:
        raise  # out of processor time
    except Exception as error:  # a package is missing, or a constructor stumbles; the data can still be learned from
        say(f"what the file says of {row.id} is not believed: {str(error)[:300]}")
        return None
    ours = Encoder(expected.observation, expected.action, expected.observation_names, expected.action_names)
    theirs = Encoder(source.observation, source.action, expected.observation_names, expected.action_names)
    agree = source.observation is not None and source.action is not None
    if not agree or ours.observation_facts().size != theirs.observation_facts().size:
        return None
    return expected if _alike(ours.action_facts(), theirs.action_facts()) else None


def _actions(source: Source, expected: Expected) -> Space | SpaceFacts | None:
    """What actions are read by: facts where an export counted them from 0, else the space."""
    if expected.action is None or not isinstance(source.action, SpaceFacts):
        return expected.action or source.action
    facts = action_facts(expected.action, expected.action_names)
    return facts if _alike(facts, source.action) else expected.action


def _alike(ours: SpaceFacts, theirs: SpaceFacts) -> bool:
    return (ours.kind, ours.shape, ours.categories) == (theirs.kind, theirs.shape, theirs.categories)


def _changed_settings(environment: str, told: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """What a file says of an environment's settings, without what they are anyway.

    Raises:
        ValueError: if one is neither true, false nor a number: a text may be the path of a file to load.
    """
    usual = {**gymnasium.spec(environment).kwargs, "render_mode": told.get("render_mode")}
    changed = {key: value for key, value in told.items() if usual.get(key) != value}
    for key, value in changed.items():
        if not isinstance(value, bool | int | float) or not abs(value) <= _LARGEST_SETTING:
            shown = f"{shown_name(key, 40)} {shown_name(value, 40)}"
            raise ValueError(f"it was played with {shown}; only true, false and numbers are taken from a file")
    return changed


def _expected(env: gymnasium.Env, environment: str, kwargs: Mapping[str, bool | int | float | str]) -> Expected:
    row = environment_row(environment)
    return Expected(
        environment=environment,
        environment_kwargs=kwargs,
        observation=env.observation_space,
        action=env.action_space,
        observation_names=row.observation_names,
        action_names=row.action_names,
        max_episode_steps=env.spec.max_episode_steps if env.spec else None,
    )


@contextmanager
def _unpacked(path: Path, format: str, scratch: Path) -> Iterator[Path]:
    """The path itself, or what a ZIP archive of a folder holds, unpacked for as long as needed."""
    with reading(path):
        as_it_is = not path.is_file() or not zipfile.is_zipfile(path) or format in _NEVER_PACKED or _is_npz(path)
    if as_it_is:
        yield path
        return
    with TemporaryDirectory(dir=scratch) as folder:
        named = Path(folder) / path.name  # for the sentence of a refusal
        named.mkdir()
        inner = unpack(path, named)
        files = [item for item in inner.iterdir() if item.is_file()]
        single = len(files) == 1 and not any(item.is_dir() for item in inner.iterdir())
        yield files[0] if single else inner


def _is_npz(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _check_room(source: Source, encoded: tuple[np.ndarray, ...], folder: Path) -> None:
    """Refuse what would not fit on the disk, judged by the first episode where the file does not say its size."""
    observations, actions, rewards = encoded
    row = observations[0].nbytes + (actions.nbytes + rewards.nbytes) // len(rewards)
    steps = source.steps or source.episodes * len(rewards)
    needed, free = row * (steps + TAIL_ROWS), free_bytes(folder)
    if needed > free - _KEEP_FREE_BYTES:
        raise ImportRefused(
            f"the columns need about {needed:,} bytes but {free:,} are free; free some disk space first"
        )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _out_of_time(number: int, frame: object) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    more = soft + 10  # to clean up in
    resource.setrlimit(resource.RLIMIT_CPU, (more if hard == resource.RLIM_INFINITY else min(more, hard), hard))
    raise ImportRefused("the file takes too much processor time to read; give a smaller or simpler one")
