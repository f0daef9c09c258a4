"""The processes that train one model together, each on its share of every batch.

They are started by ``torchrun`` or by Ray's ``TorchTrainer``, which tell each process who it is in the same variables
of its environment. On processors they talk through gloo; where each has a GPU of its own, through NCCL.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class PeersGone(RuntimeError):
    """Another process of the training has ended, so that this one cannot go on."""


@dataclass(frozen=True)
class Group:
    """A process's place among those that train together.

    Attributes:
        rank: its number, from 0 on.
        size: how many they are.
        local_rank: its number among those of its machine.
        local_size: how many are on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def of_environment(cls) -> Group:
        """Who this process is, as ``torchrun`` and Ray's ``TorchTrainer`` say it.

        Raises:
            KeyError: if neither has started this process.
        """
        return cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))

    @property
    def leads(self) -> bool:
        """Whether this process speaks for all; what is logged and saved comes from it alone."""
        return self.rank == 0

    def share(self, parts: int) -> range:
        """The parts of a batch that this process computes, of ``size * parts`` in all.

        >>> [list(Group(rank, 2).share(3)) for rank in (0, 1)]
        [[0, 1, 2], [3, 4, 5]]
        """
        return range(self.rank * parts, (self.rank + 1) * parts)

    def sum(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all processes, which has the same bits in each.

        Raises:
            PeersGone: if one of the others has ended.
        """
        self._together(dist.all_reduce, tensor)

    def follow(self, tensor: Tensor) -> None:
        """Replace a tensor by that of the first process.

        Raises:
            PeersGone: if one of the others has ended.
        """
        self._together(dist.broadcast, tensor, 0)

    def _together(self, operation: Callable[..., Any], *arguments: Any) -> None:
        if self.size == 1:
            return
        try:
            operation(*arguments)
        except RuntimeError as error:
            raise PeersGone("another process of the training has ended") from error


ALONE = Group()


def communication(local_size: int) -> str:
    """Through what processes talk: NCCL if each of a machine's has a GPU of its own, else gloo."""
    return "nccl" if torch.cuda.is_available() and torch.cuda.device_count() >= local_size else "gloo"


@contextmanager
def joined(meeting_file: str) -> Iterator[Group]:
    """Meet the other processes of this machine in a file: nothing listens to the network for it.

    Raises:
        KeyError: if this process was not started as one of several.
    """
    group = Group.of_environment()
    dist.init_process_group(
        communication(group.local_size), init_method=f"file://{meeting_file}", rank=group.rank, world_size=group.size
    )
    try:
        yield group
    finally:
        dist.destroy_process_group()
