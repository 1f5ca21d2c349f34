"""The connectivity matrix: row receives, column sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.plots.style import (
    DIVERGING,
    DOUBLE_COLUMN,
    INK,
    ONE_AND_A_HALF,
    QUIET,
    SINGLE_COLUMN,
    Floats,
    HasConnectivity,
    new_figure,
    shortened,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# With more units than this their ids no longer fit beside the rows.
MAX_LABELS = 60
_OWN_HISTORY = "#e4e4e4"


def plot_connectivity(result: HasConnectivity, *, order: Sequence[int] | None = None) -> Figure:
    """Draw `[post, pre]` in diverging colours centred on zero, hidden units fenced off.

    The diagonal, each unit's history on itself, is grey: it is no edge, and being much stronger than edges it would
    wash them out. Where a few weights are far above the rest, the colours end before them and the colour bar says so by
    an arrow.

    Args:
        result: what was fitted.
        order: places of the units along both axes; by default as in `unit_id`, visible units first.
    """
    n_units = len(result.unit_id)
    if order is not None and sorted(order) != list(range(n_units)):
        raise ValueError(f"order must name each of {n_units} units once")
    places = list(range(n_units)) if order is None else list(order)
    width = SINGLE_COLUMN if n_units <= 12 else ONE_AND_A_HALF if n_units <= 30 else DOUBLE_COLUMN
    figure = new_figure(width, width * 0.86)
    axes = figure.add_subplot()
    weights = np.array(result.connectivity, dtype=np.float64)[np.ix_(places, places)]
    np.fill_diagonal(weights, np.nan)
    limit, clipped = colour_limit(weights)
    axes.set_facecolor(_OWN_HISTORY)
    image = axes.imshow(weights, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="none", aspect="equal")
    small = 6 if n_units <= 30 else 7
    bar = figure.colorbar(
        image, ax=axes, shrink=0.75, aspect=28, pad=0.03, extend={0: "neither", 1: "max", 2: "min", 3: "both"}[clipped]
    )
    bar.set_label("connectivity (drive per spike, summed over lags)", fontsize=small)
    bar.ax.tick_params(labelsize=small, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.5)
    _label_units(axes, [result.unit_id[place] for place in places], width)
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)
    by_number = ", unit number" if n_units > MAX_LABELS else ""
    axes.set_xlabel(f"pre (sends){by_number}", fontsize=small + 1)
    axes.set_ylabel(f"post (receives){by_number}", fontsize=small + 1)
    words(
        axes.set_title(
            shortened(result.name, 60), fontsize=small + 1, loc="left", color=INK, pad=14 if result.n_hidden else 5
        )
    )
    if order is None and result.n_hidden:
        _fence_hidden(axes, result.n_visible, result.n_hidden, small)
    return figure


def colour_limit(weights: Floats) -> tuple[float, int]:
    """Where the colours end, and which side has weights beyond it (1 above, 2 below, 3 both, 0 none).

    The limit is the largest weight, unless that is more than twice the 99.5th percentile of the non-zero ones.
    """
    size = np.abs(weights[np.isfinite(weights) & (weights != 0)])
    if not size.size:
        return 1.0, 0
    largest = float(size.max())
    usual = float(np.quantile(size, 0.995))
    limit = usual if largest > 2 * usual else largest
    return limit, int(np.nanmax(weights) > limit) + 2 * int(np.nanmin(weights) < -limit)


def _label_units(axes: Axes, ids: list[str], width: float) -> None:
    n_units = len(ids)
    if n_units > MAX_LABELS:
        axes.tick_params(labelsize=7, width=0.6, length=2.5)
        axes.locator_params(nbins=10, integer=True)
        return
    # Points that a row has: the matrix takes about seven tenths of the width.
    size = min(7.0, 0.85 * 72 * 0.68 * width / max(n_units, 1))
    labels = [shortened(text) for text in ids]
    upright = n_units > 12 or max(map(len, labels), default=0) > 4
    axes.set_xticks(range(n_units), labels, fontsize=size, rotation=90 if upright else 0)
    axes.set_yticks(range(n_units), labels, fontsize=size)
    for text in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        words(text)
    axes.tick_params(width=0.4, length=1.5, pad=1.5)


def _fence_hidden(axes: Axes, n_visible: int, n_hidden: int, size: float) -> None:
    n_units = n_visible + n_hidden
    fence: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (4, 2))}
    axes.axhline(n_visible - 0.5, **fence)
    axes.axvline(n_visible - 0.5, **fence)
    # Above the matrix: which columns are whose. A narrow hidden block has its word ending at the edge.
    across = axes.get_xaxis_transform()
    for start, stop, text in ((0, n_visible, "recorded"), (n_visible, n_units, "hidden")):
        if start == stop:
            continue
        axes.plot(
            [start - 0.35, stop - 0.65], [1.012, 1.012], transform=across, color=QUIET, linewidth=1.2, clip_on=False
        )
        last = text == "hidden" and n_hidden < 0.1 * n_units
        place = stop - 0.5 if last else (start + stop - 1) / 2
        side = "right" if last else "center"
        axes.text(place, 1.02, text, transform=across, ha=side, va="bottom", fontsize=size, color=QUIET)
