"""Names that are still free."""

from __future__ import annotations

import itertools
import re

from seqrl.store import Store


def free_name(store: Store, wish: str) -> str:
    """The wish, with the first number behind it that no dataset, run or sweep has yet."""
    wish = re.sub(r"[^A-Za-z0-9._-]+", "-", wish).strip("-.")[:56] or "new"
    taken = {row.name for archived in (False, True) for row in store.datasets(archived)}
    taken |= {row.name for archived in (False, True) for row in store.runs(archived)}
    taken |= {row.name for archived in (False, True) for row in store.sweeps(archived)}
    if wish not in taken:
        return wish
    return next(name for number in itertools.count(2) if (name := f"{wish}-{number}") not in taken)
