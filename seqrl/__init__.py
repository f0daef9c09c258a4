"""seqrl: see offline reinforcement learning as sequence modelling."""

__version__ = "0.1.0"
