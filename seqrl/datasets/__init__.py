"""Datasets: collect, store as Minari, compile to columns, measure."""

from seqrl.datasets.building import BuildStopped, build, compile_columns, ensure_columns
from seqrl.datasets.collection import Collected, CollectedEpisode, collect
from seqrl.store.base import minari_id

__all__ = [
    "BuildStopped",
    "Collected",
    "CollectedEpisode",
    "build",
    "collect",
    "compile_columns",
    "ensure_columns",
    "minari_id",
]
