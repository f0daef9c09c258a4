"""What training runs on: device, number format, threads."""

from __future__ import annotations

import os

import psutil
import torch


def choose_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_precision(precision: str, device: torch.device) -> str:
    """The number format, "fp32" or "bf16"; "auto" takes bf16 where the device multiplies it faster than fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def choose_threads(requested: int | None) -> int:
    """Processor threads; None takes the cores that nothing else keeps busy.

    Two threads that wait for a core of their own are slower than one: a neighbour slows a step by 3.0 with two
    threads, by 1.5 with one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if requested is not None:
        return min(requested, cores)
    busy = psutil.cpu_percent(interval=0.2) / 100 * (os.cpu_count() or 1)
    return max(1, min(cores, round(cores - busy)))
