"""Figures as pure functions: values in, figure out. ``dark`` picks the theme's colours."""

from app.charts.common import CONFIG, block_ticks, short_name
from app.charts.gammas import gamma_bands, gamma_heatmap, gamma_histograms, layer_ranks, median_lines
from app.charts.pruning import SURVIVORS_LEGEND, cost_curve, sensitivity_map, survivors
from app.charts.training import gamma_course, loss_curves, moving_histogram, reach_line, score_curves

__all__ = [
    "CONFIG",
    "SURVIVORS_LEGEND",
    "block_ticks",
    "cost_curve",
    "gamma_bands",
    "gamma_course",
    "gamma_heatmap",
    "gamma_histograms",
    "layer_ranks",
    "loss_curves",
    "median_lines",
    "moving_histogram",
    "reach_line",
    "score_curves",
    "sensitivity_map",
    "short_name",
    "survivors",
]
