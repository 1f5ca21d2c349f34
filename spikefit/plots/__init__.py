"""Figures of results, one function each; every function returns a matplotlib Figure and touches no global state.

The functions take a `Result`, or anything else that has the fields they read. In a notebook the returned figure shows
itself; `save_figure` writes it as PNG, SVG or PDF.
"""

from spikefit.plots.filters import plot_filters
from spikefit.plots.gradients import plot_gradients
from spikefit.plots.matrix import plot_connectivity
from spikefit.plots.style import save_figure
from spikefit.plots.training import has_training, plot_training

__all__ = ["has_training", "plot_connectivity", "plot_filters", "plot_gradients", "plot_training", "save_figure"]
