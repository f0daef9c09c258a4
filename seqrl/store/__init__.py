"""SQLite and folders: datasets, runs and their grids, jobs, metrics, sweeps and episode records.

Everything that the product remembers is below one home folder. Opening a `Store` is cheap, and any number of
processes and threads may use the same home at once. Names that start with ``demo/`` come from the read-only bundle in
the package.
"""

from seqrl.store.base import default_home
from seqrl.store.datasets import DatasetTable
from seqrl.store.exchange import ExchangeTable
from seqrl.store.grids import GridTable
from seqrl.store.jobs import JobTable
from seqrl.store.policies import PolicyRow, PolicyTable
from seqrl.store.records import EpisodeRecord
from seqrl.store.rows import (
    ACTIVE_STATES,
    ENDED_STATES,
    DatasetRow,
    GridRow,
    Histogram,
    JobRow,
    JobState,
    MetricRow,
    NotFound,
    RunRow,
    SweepRow,
)
from seqrl.store.sweeps import SweepTable

__all__ = [
    "ACTIVE_STATES",
    "ENDED_STATES",
    "DatasetRow",
    "EpisodeRecord",
    "GridRow",
    "Histogram",
    "JobRow",
    "JobState",
    "MetricRow",
    "NotFound",
    "PolicyRow",
    "RunRow",
    "Store",
    "SweepRow",
    "default_home",
]


class Store(DatasetTable, SweepTable, GridTable, ExchangeTable, PolicyTable, JobTable):
    """All that is kept in a home folder, see `seqrl.store.base.StoreBase` for how it is opened."""
