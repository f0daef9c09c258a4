"""The one sentence under every chart: what to look for, computed from the figures it shows."""

from __future__ import annotations

from functools import singledispatch
from typing import Any


@singledispatch
def sentence(info: Any) -> str:
    """What to look for in the chart of an info tuple, in words.

    Each chart's module registers its own; the import of `seqrl.plots` brings all of them.

    Args:
        info: what one of the ``*_info`` functions returned.

    Raises:
        TypeError: if it is nothing that a chart shows.
    """
    raise TypeError(f"{type(info).__name__} is no chart's info; pass what an *_info function returned")
