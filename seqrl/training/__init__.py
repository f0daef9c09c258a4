"""Training: a generator of step records that knows no store, no job and no page."""

from seqrl.training.group import ALONE, Group, PeersGone
from seqrl.training.loop import train
from seqrl.training.optimizer import FlatAdamW, learning_rate
from seqrl.training.records import Histogram, NonFiniteLoss, StepRecord

__all__ = [
    "ALONE",
    "FlatAdamW",
    "Group",
    "Histogram",
    "NonFiniteLoss",
    "PeersGone",
    "StepRecord",
    "learning_rate",
    "train",
]
