"""Training: a generator of step records that knows no store, no job and no page."""

from seqrl.training.loop import train
from seqrl.training.optimizer import FlatAdamW, learning_rate
from seqrl.training.records import Histogram, NonFiniteLoss, StepRecord

__all__ = ["FlatAdamW", "Histogram", "NonFiniteLoss", "StepRecord", "learning_rate", "train"]
