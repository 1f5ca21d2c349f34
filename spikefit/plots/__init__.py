"""Figures of results, one function each; every function returns a matplotlib Figure and touches no global state.

The functions take a `Result`, or anything else that has the fields they read. In a notebook the returned figure shows
itself; `save_figure` writes it as PNG, SVG or PDF.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spikefit.plots.activity import has_hidden, plot_hidden, plot_rates, simulated_rates
from spikefit.plots.filters import plot_filters, strongest_pairs
from spikefit.plots.gradients import plot_gradients
from spikefit.plots.latents import (
    Example,
    plot_activity,
    plot_decoder,
    plot_latent_training,
    plot_latents,
    plot_reconstruction,
)
from spikefit.plots.matrix import plot_connectivity
from spikefit.plots.recording import plot_recording
from spikefit.plots.style import save_figure
from spikefit.plots.training import has_training, plot_training
from spikefit.plots.trials import plot_trials

__all__ = [
    "Example",
    "figures_of",
    "has_hidden",
    "has_training",
    "plot_activity",
    "plot_connectivity",
    "plot_decoder",
    "plot_filters",
    "plot_gradients",
    "plot_hidden",
    "plot_latent_training",
    "plot_latents",
    "plot_rates",
    "plot_reconstruction",
    "plot_recording",
    "plot_training",
    "plot_trials",
    "save_figure",
]


def figures_of(result: Any) -> dict[str, Callable[[Any], Any]]:
    """The figures that a result has the data for: the stem of each file and the function that draws it."""
    found: dict[str, Callable[[Any], Any]] = {"connectivity": plot_connectivity}
    if has_training(result):
        found["training"] = plot_training
    if result.lag_s.size > 1 and strongest_pairs(result, 1):
        found["filters"] = plot_filters
    if has_hidden(result):
        found["hidden"] = plot_hidden
    if simulated_rates(result) is not None:
        found["rates"] = plot_rates
    return found
