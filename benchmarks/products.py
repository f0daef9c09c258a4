"""How fast this processor multiplies matrices, and how much of an update that takes at least.

Nearly all arithmetic of training is products of matrices, and the fastest way to them is PyTorch's own. Their share of
an update says how much faster any code could be on this machine: processors with units for matrices of bfloat16 (AMX)
multiply them several times as fast as those without.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import Comparison, seconds

LARGE = (2048, 2048, 2048)
REPEATS = 20


def rate(dtype: torch.dtype, shape: tuple[int, int, int]) -> float:
    """Floating point operations a second of (rows, inner) @ (inner, columns), the best of several.

    Args:
        dtype: of all numbers.
        shape: rows, inner, columns.
    """
    rows, inner, columns = shape
    left, right = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
    product = torch.empty(rows, columns, dtype=dtype)
    best = min(seconds(lambda: torch.mm(left, right, out=product)) for _ in range(REPEATS))
    return 2 * rows * inner * columns / best


def share(
    what: str, update: Callable[[], object], updates_per_second: float, dtype: torch.dtype, rows: int
) -> Comparison:
    """How much of an update its products take at the rate of its own largest ones, in percent.

    Args:
        what: the update in words.
        update: carries one out.
        updates_per_second: as measured.
        dtype: of the products.
        rows: of its largest product, which is with 128 × 512 numbers.
    """
    with FlopCounterMode(display=False) as counted:
        update()
    own = rate(dtype, (rows, 128, 512))
    percent = 100 * counted.get_total_flops() * updates_per_second / own
    notes = f"{counted.get_total_flops() / 1e9:.1f} GFLOP at {own / 1e9:.0f} GFLOP/s"
    return Comparison(f"products of matrices, of an update: {what}", "%", percent, notes=notes)


def measure() -> list[Comparison]:
    """The rates themselves."""
    return [
        Comparison(f"products of 2048 × 2048, {name}", "GFLOP/s", rate(dtype, LARGE) / 1e9)
        for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32))
    ]
