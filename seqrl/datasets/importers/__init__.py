"""Readers of datasets that somebody else wrote, one file a format; everything is checked before it is believed."""

from seqrl.datasets.importers.checks import ImportRefused, RawEpisode
from seqrl.datasets.importers.detection import detect, open_source
from seqrl.datasets.importers.sources import Expected, Source
from seqrl.datasets.importers.spaces import Encoder

__all__ = ["Encoder", "Expected", "ImportRefused", "RawEpisode", "Source", "detect", "open_source"]
