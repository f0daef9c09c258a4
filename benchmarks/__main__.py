"""``python -m benchmarks [NAME ...]``: all benchmarks of this folder, or those named; one table and one JSON file.

Everything, peers included, runs with the settings of the C library that training jobs run with: freed memory is kept.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.harness import Comparison, save, table
from seqrl.jobs.environment import KEEP_FREED_MEMORY

if __name__ == "__main__":
    if not KEEP_FREED_MEMORY.items() <= os.environ.items():  # read when a process starts
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], os.environ | KEEP_FREED_MEMORY)
    known = [name for _, name, _ in pkgutil.iter_modules([str(Path(__file__).parent)])]
    measured: list[Comparison] = []
    for name in sys.argv[1:] or known:
        module = import_module(f"benchmarks.{name}")
        if not hasattr(module, "measure"):
            continue
        started = time.perf_counter()
        comparisons = module.measure()
        save(name, comparisons)
        measured += comparisons
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    print(f"\n{table(measured)}\n\nin {save('all', measured)}")
