"""What training runs on: device, number format, threads."""

from __future__ import annotations

import os
import time

import psutil
import torch

from seqrl.processors import idle_processors, processors


def choose_device(local_rank: int = 0) -> torch.device:
    """The GPU if there is one; of several, the one of this process among those of its machine."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank % torch.cuda.device_count())


def choose_precision(precision: str, device: torch.device) -> str:
    """The number format, "fp32" or "bf16"; "auto" takes bf16 where the device multiplies it faster than fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


class IdleCores:
    """The processor threads of a computation: all cores that nothing else keeps busy, looked at again as it goes on.

    Two threads that wait for a core of their own are slower than one: a neighbour slows a step by 3.0 with two
    threads, by 1.5 with one. What is computed has the same bits with any number.

    Args:
        requested: a fixed number, cut to the cores that there are; None to look at what else runs.
        most: more are of no use; None for no such limit.

    Attributes:
        threads: chosen at the last look.
    """

    LOOK_S = 2.0
    """Between looks."""

    def __init__(self, requested: int | None = None, most: int | None = None) -> None:
        there = processors()
        self._most, self._fixed = min(requested or most or there, there), requested is not None
        self._machine = os.cpu_count() or 1
        self.threads = self._most if self._fixed else min(self._most, idle_processors())
        self._seen = self._look()

    def take(self) -> None:
        """Have torch use them from now on. Cheap: it looks every `LOOK_S` seconds."""
        if not self._fixed and time.perf_counter() - self._seen[0] > self.LOOK_S:
            (before, all_before, own_before), self._seen = self._seen, self._look()
            now, all_now, own_now = self._seen
            self.threads = self._room((all_now - all_before - (own_now - own_before)) / (now - before))
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)

    def _room(self, busy: float) -> int:
        return max(1, min(self._most, round(self._machine - busy)))

    @staticmethod
    def _look() -> tuple[float, float, float]:
        """Now, and the processor seconds of the whole machine and of this process."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        return time.perf_counter(), sum(times[:8]) - idle, time.process_time()  # guests are among user time
