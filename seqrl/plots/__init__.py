"""Every chart of the product: arrays and frames in, first a small info tuple, then a Plotly figure.

A chart ``x`` is drawn in two steps, ``info = x_info(...)`` and ``x(info, theme, present)``; the sentence under
it is ``sentence(info)``. Nothing here reads a store, a page or a clock.
"""

from seqrl.plots.attention import attention, attention_grid, attention_heads, attention_info, attention_table
from seqrl.plots.beam_sweeps import beam_sweep, beam_sweep_info
from seqrl.plots.bins import bin_edges, bin_edges_info
from seqrl.plots.contexts import seeds, seeds_info
from seqrl.plots.coverage import (
    action_distribution,
    action_distribution_info,
    action_distribution_table,
    coverage,
    coverage_info,
    coverage_table,
)
from seqrl.plots.datasets import (
    length_histogram,
    length_histogram_info,
    percentile_curve,
    percentile_curve_info,
    return_histogram,
    return_histogram_info,
    return_to_go_fan,
    return_to_go_fan_info,
    return_to_go_fan_table,
)
from seqrl.plots.ensembles import (
    choices,
    choices_info,
    ensemble,
    ensemble_info,
    sample_size,
    sample_size_info,
)
from seqrl.plots.episode_figure import episode_strips, move_cursor
from seqrl.plots.episodes import EpisodeTrace, episode_strips_info, step_sentence
from seqrl.plots.goals import goal_sweep, goal_sweep_info
from seqrl.plots.graphs import walk, walk_info, ways, ways_info
from seqrl.plots.grids import grid, grid_info, setting_name
from seqrl.plots.occupancy import occupancy, occupancy_info
from seqrl.plots.open_loop import action_error, action_error_info, action_error_table, worst_dimensions
from seqrl.plots.plans import observed_from_plans, plan_tree, plan_tree_info
from seqrl.plots.policies import policy_progress, policy_progress_info
from seqrl.plots.predictions import candidates, predicted_reward, predicted_reward_info
from seqrl.plots.promises import promised_return, promised_return_info
from seqrl.plots.response import response_curve, response_curve_info, response_table
from seqrl.plots.returns_to_go import return_to_go, return_to_go_info
from seqrl.plots.rounding import (
    episode_tokens,
    episode_tokens_info,
    reconstruction_error,
    reconstruction_error_info,
)
from seqrl.plots.runs import parallel_runs, parallel_runs_info, telling_settings
from seqrl.plots.sentences import sentence
from seqrl.plots.shares import shares, shares_info
from seqrl.plots.sweep_figure import rtg_sweep
from seqrl.plots.sweeps import rtg_sweep_info
from seqrl.plots.template import Theme, family_colour
from seqrl.plots.training import sparkline, training_curves, training_curves_info
from seqrl.plots.weights import weight_histograms, weight_histograms_info

__all__ = [
    "seeds",
    "seeds_info",
    "choices",
    "choices_info",
    "ensemble",
    "ensemble_info",
    "sample_size",
    "sample_size_info",
    "walk",
    "walk_info",
    "ways",
    "ways_info",
    "return_to_go",
    "return_to_go_info",
    "shares",
    "shares_info",
    "EpisodeTrace",
    "Theme",
    "action_distribution",
    "action_distribution_info",
    "action_distribution_table",
    "action_error",
    "action_error_info",
    "action_error_table",
    "attention",
    "attention_grid",
    "attention_heads",
    "attention_info",
    "attention_table",
    "beam_sweep",
    "beam_sweep_info",
    "bin_edges",
    "bin_edges_info",
    "candidates",
    "coverage",
    "coverage_info",
    "coverage_table",
    "episode_strips",
    "episode_strips_info",
    "episode_tokens",
    "episode_tokens_info",
    "family_colour",
    "goal_sweep",
    "goal_sweep_info",
    "grid",
    "grid_info",
    "setting_name",
    "length_histogram",
    "length_histogram_info",
    "move_cursor",
    "observed_from_plans",
    "occupancy",
    "occupancy_info",
    "parallel_runs",
    "parallel_runs_info",
    "percentile_curve",
    "percentile_curve_info",
    "plan_tree",
    "plan_tree_info",
    "policy_progress",
    "policy_progress_info",
    "predicted_reward",
    "predicted_reward_info",
    "promised_return",
    "promised_return_info",
    "reconstruction_error",
    "reconstruction_error_info",
    "response_curve",
    "response_curve_info",
    "response_table",
    "return_histogram",
    "return_histogram_info",
    "return_to_go_fan",
    "return_to_go_fan_info",
    "return_to_go_fan_table",
    "rtg_sweep",
    "rtg_sweep_info",
    "sentence",
    "sparkline",
    "step_sentence",
    "telling_settings",
    "training_curves",
    "training_curves_info",
    "weight_histograms",
    "weight_histograms_info",
    "worst_dimensions",
]
