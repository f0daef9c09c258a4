"""Measure variants by turns, print a table, keep the figures as JSON.

Variants alternate, so that a change of the machine's mood meets all of them; medians are compared. A benchmark is a
module of this package with a function ``measure() -> list[Comparison]``.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Comparison:
    """One line of the table.

    Attributes:
        what: the workload.
        unit: of the figures; more is better, unless there is ``at_most``.
        ours: median of seqrl.
        peers: name → median of what people would use instead.
        at_least: ratio to the best peer that is asked for, None where nothing is asked.
        at_most: largest figure of seqrl that is asked for, None where nothing is asked.
        runs: name → every measurement, in order.
        notes: what a reader has to know.
    """

    what: str
    unit: str
    ours: float
    peers: Mapping[str, float] = field(default_factory=dict)
    at_least: float | None = None
    runs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: str = ""
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        """To the best peer."""
        return self.ours / max(self.peers.values()) if self.peers else None


def by_turns(variants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every variant once a round; each returns its figure."""
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, variant in variants.items():
            figures[name].append(variant())
    return figures


def compare(
    what: str,
    unit: str,
    ours: str,
    variants: Mapping[str, Callable[[], float]],
    *,
    rounds: int = 3,
    at_least: float | None = None,
    notes: str = "",
) -> Comparison:
    """A line of the table from variants measured by turns; ``ours`` names seqrl's, the others are peers."""
    figures = by_turns(variants, rounds)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    peers = {name: value for name, value in medians.items() if name != ours}
    return Comparison(what, unit, medians[ours], peers, at_least, figures, notes)


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Wall-clock duration of so many calls; what one gives is let go before the next, as in use."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - start


def growth(what: str, variants: Mapping[int, Callable[[], float]], rounds: int = 3) -> Comparison:
    """A line with the exponent by which seconds grow with a size: size → how long it takes, the best of the rounds."""
    figures = by_turns({str(size): variant for size, variant in variants.items()}, rounds)
    times = [math.log(min(values)) for values in figures.values()]
    slope, _ = statistics.linear_regression([math.log(size) for size in variants], times)
    return Comparison(what, "exponent", slope, runs=figures, notes="seconds", at_most=1.05)


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as text."""
    lines = [f"{'what':64} {'unit':>12} {'seqrl':>10} {'best peer':>10} {'ratio':>7} {'asked':>6}"]
    for row in comparisons:
        best = max(row.peers.values(), default=None)
        ratio = f"{row.ratio:.1f}" if row.ratio is not None else ""
        asked = f"{row.at_least:.3g}" if row.at_least is not None else ""
        asked = f"≤ {row.at_most:g}" if row.at_most is not None else asked
        shown = f"{best:,.4g}" if best is not None else ""
        lines.append(f"{row.what:64} {row.unit:>12} {row.ours:>10,.5g} {shown:>10} {ratio:>7} {asked:>6}")
    return "\n".join(lines)


def processor() -> str:
    """What computes here, and the units that decide how fast it multiplies matrices."""
    import torch

    facts = torch.cpu.get_capabilities()
    units = [unit for unit in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if facts.get(unit)]
    return f"{facts.get('cpu_name', platform.machine())} ({', '.join(units)})"


def save(name: str, comparisons: Sequence[Comparison]) -> Path:
    """Write the figures of a benchmark with what they were measured on."""
    import torch

    RESULTS.mkdir(exist_ok=True)
    about = {"processor": processor(), "cores": os.cpu_count(), "torch": torch.__version__}
    rows = [asdict(row) | {"ratio": row.ratio} for row in comparisons]
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"about": about, "comparisons": rows}, indent=1))
    return path
