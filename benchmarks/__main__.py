"""``python -m benchmarks [NAME ...]``: all benchmarks of this folder, or those named."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.harness import save, table

if __name__ == "__main__":
    known = [name for _, name, _ in pkgutil.iter_modules([str(Path(__file__).parent)])]
    for name in sys.argv[1:] or known:
        module = import_module(f"benchmarks.{name}")
        if hasattr(module, "measure"):
            comparisons = module.measure()
            print(f"\n{name}\n{table(comparisons)}", flush=True)
            save(name, comparisons)
