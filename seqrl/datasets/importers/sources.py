"""What an importer hands on, and how faults of a foreign file become sentences."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gymnasium import Space

from seqrl.config import SpaceFacts
from seqrl.datasets.importers.checks import ImportRefused, RawEpisode

_FAULTS = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SystemError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Expected:
    """What is known of the data before it is read: the spaces of the environment that it is said to come from.

    Attributes:
        environment: registered id, or None.
        environment_kwargs: its settings.
        observation: its observation space, None to find out from the file.
        action: its action space.
        observation_names: a name for each dimension of flattened observations.
        action_names: names of discrete actions or of dimensions.
        max_episode_steps: its time limit.
    """

    environment: str | None = None
    environment_kwargs: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    observation: Space | None = None
    action: Space | None = None
    observation_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    max_episode_steps: int | None = None


@dataclass(frozen=True)
class Source:
    """A file that was opened and looked at.

    Attributes:
        format: minari, d4rl, npz, parquet or hf.
        episodes: how many it has.
        steps: how many it claims, None if it does not say.
        observation: space of its observations, facts about flat rows, or None to look at the numbers.
        action: the same for actions.
        read: yields the episodes, unchecked.
        environment: the environment that the file names, not to be trusted.
        environment_kwargs: the settings that the file says it had, no more to be trusted; None if it does not say.
    """

    format: str
    episodes: int
    steps: int | None
    observation: Space | SpaceFacts | None
    action: Space | SpaceFacts | None
    read: Callable[[], Iterator[RawEpisode]]
    environment: str | None = None
    environment_kwargs: Mapping[str, Any] | None = None

    def checked(self, path: Path) -> Iterator[RawEpisode]:
        """The episodes; whatever goes wrong while reading becomes an `ImportRefused`."""
        episodes = self.read()
        count = 0
        while True:
            with reading(path, f"after episode {count - 1}" if count else "at its first episode"):
                episode = next(episodes, None)
            if episode is None:
                return
            count += 1
            yield episode


@contextmanager
def reading(path: Path, where: str = "") -> Iterator[None]:
    """Turn what a parser throws at a damaged file into one sentence.

    Raises:
        ImportRefused: for any fault that a file can cause.
    """
    try:
        yield
    except ImportRefused:
        raise
    except MemoryError as error:
        raise ImportRefused(f"{path.name} needs more memory than an import may take; give smaller pieces") from error
    except _FAULTS as error:
        at = f" {where}" if where else ""
        raise ImportRefused(f"{path.name} is damaged, cut short or of another format{at}: {_short(error)}") from error


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
