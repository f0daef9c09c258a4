"""Planning with a Trajectory Transformer: drawing tokens and beam search."""

from seqrl.planning.beam_search import Beams, History, Planner
from seqrl.planning.policy import PlannedDecision, PlanningPolicy
from seqrl.planning.sampling import PlanNoise, draw, draw_distinct, sampling_log_probabilities

__all__ = [
    "Beams",
    "History",
    "PlanNoise",
    "PlannedDecision",
    "Planner",
    "PlanningPolicy",
    "draw",
    "draw_distinct",
    "sampling_log_probabilities",
]
