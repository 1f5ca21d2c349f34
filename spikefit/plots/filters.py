"""Coupling filters of the strongest pairs over their lags."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from spikefit.plots.style import (
    DOUBLE_COLUMN,
    EXCITING,
    INHIBITING,
    INK,
    PALE,
    QUIET,
    HasConnectivity,
    new_figure,
    quiet,
    shortened,
    words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_COLUMNS = 4


def strongest_pairs(result: HasConnectivity, top: int) -> list[tuple[int, int]]:
    """(post, pre) of the pairs with the largest absolute connectivity, strongest first, own history left out."""
    size = np.abs(np.array(result.connectivity, dtype=np.float64))
    np.fill_diagonal(size, -1.0)
    size[~np.isfinite(size)] = -1.0
    ranked = np.argsort(-size, axis=None, kind="stable")[: max(top, 0)]
    pairs = [divmod(int(place), size.shape[1]) for place in ranked]
    return [(post, pre) for post, pre in pairs if size[post, pre] > 0]


def plot_filters(result: HasConnectivity, *, top: int = 12) -> Figure:
    """Draw the coupling filters of the `top` strongest pairs, all on one scale; exciting red, inhibiting blue.

    Where the result holds errors of single lags, a band of the level of its intervals stands round each filter.
    """
    pairs = strongest_pairs(result, top)
    n_rows = max(math.ceil(len(pairs) / _N_COLUMNS), 1)
    n_columns = min(max(len(pairs), 1), _N_COLUMNS)
    figure = new_figure(DOUBLE_COLUMN * max(n_columns, 2) / _N_COLUMNS, 0.35 + 1.25 * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    if not pairs:
        grid[0, 0].text(0.5, 0.5, "no pair has a coupling", ha="center", va="center", fontsize=8, color=QUIET)
        grid[0, 0].set_axis_off()
        return figure
    lag_ms = np.asarray(result.lag_s) * 1e3
    for axes in grid.ravel()[len(pairs) :]:
        axes.set_axis_off()
    for axes, (post, pre) in zip(grid.ravel(), pairs, strict=False):
        quiet(axes, size=6.5)
        colour = EXCITING if result.connectivity[post, pre] > 0 else INHIBITING
        axes.axhline(0, color=PALE, linewidth=0.6, zorder=0)
        # Results hold bands where errors of single lags were computed; other things that are drawn here may know of none.
        band_of = getattr(result, "filter_band_of", None)
        band = None if band_of is None else band_of(result.unit_id[post], result.unit_id[pre])
        if band is not None:
            axes.fill_between(lag_ms, *band, color=colour, alpha=0.2, linewidth=0)
        axes.plot(
            lag_ms,
            result.coupling_filters[post, pre],
            color=colour,
            linewidth=1.2,
            marker="o" if lag_ms.size < 4 else None,
            markersize=3,
        )
        hidden = max(post, pre) >= result.n_visible
        title = f"{shortened(result.unit_id[pre], 12)} → {shortened(result.unit_id[post], 12)}"
        words(
            axes.set_title(
                title, fontsize=7, color=QUIET if hidden else INK, style="italic" if hidden else "normal", pad=3
            )
        )
    for place in range(max(len(pairs) - n_columns, 0), len(pairs)):
        grid.ravel()[place].tick_params(labelbottom=True)
    grid[0, 0].set_xlim(left=0)
    figure.supxlabel("lag behind the sender's spike (ms)", fontsize=8)
    figure.supylabel("drive per spike", fontsize=8)
    return figure
