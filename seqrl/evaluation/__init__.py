"""Episodes that models play in their environment: return sweeps, and schedules of targets."""

from seqrl.evaluation.schedules import schedule_sweep
from seqrl.evaluation.sweeps import (
    LARGEST_CHUNK,
    LARGEST_CHUNK_OF_SINGLES,
    Actor,
    Cell,
    Plan,
    SweepProgress,
    acting_precision,
    largest_chunk,
    measure_plans,
    play,
    precision_on,
    return_sweep,
    sweep_cells,
)

__all__ = [
    "LARGEST_CHUNK",
    "LARGEST_CHUNK_OF_SINGLES",
    "Actor",
    "Cell",
    "Plan",
    "SweepProgress",
    "acting_precision",
    "largest_chunk",
    "measure_plans",
    "play",
    "precision_on",
    "return_sweep",
    "schedule_sweep",
    "sweep_cells",
]
