"""Hidden activity beside the recorded spikes, and simulated rates against recorded ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from spikefit.plots.style import (
    BLUE,
    DOUBLE_COLUMN,
    GREEN,
    INK,
    PALE,
    QUIET,
    SINGLE_COLUMN,
    HasConnectivity,
    new_figure,
    quiet,
    shortened,
    words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DISPERSION = "dispersion"  # unit column: of negative-binomial counts
# Unit columns that hold the rate in free runs of the fit, and its standard error.
RATE, RATE_SE = "simulated_rate_hz", "simulated_rate_se_hz"
# Variance over mean of the counts in the same stretches, as recorded and in free runs.
FANO, FANO_SIMULATED = "fano_factor", "simulated_fano_factor"

_MOST_NAMED = 40


class HasActivity(HasConnectivity, Protocol):
    """The fields of a `Result` that figures of activity read."""

    @property
    def hidden(self) -> Any: ...
    @property
    def excerpt(self) -> Any: ...
    @property
    def bin_width_s(self) -> float: ...
    @property
    def unit_rows(self) -> Any: ...


def has_hidden(result: HasActivity) -> bool:
    """Whether there is hidden activity that `plot_hidden` can draw."""
    return result.hidden is not None and bool(result.n_hidden) and result.hidden.time_s.size > 0


def plot_hidden(result: HasActivity) -> Figure:
    """Draw the posterior rates of the hidden units, under the recorded units' spikes of the same stretch.

    The stretch is the result's excerpt of the recording; without one the whole recording is drawn and there is no raster.
    """
    if not has_hidden(result):
        raise ValueError("this result holds no hidden activity")
    excerpt = result.excerpt
    n_hidden = result.n_hidden
    raster_height = min(0.5 + 0.07 * result.n_visible, 3.2) if excerpt is not None else 0.0
    heights = ([raster_height] if excerpt is not None else []) + [0.55] * n_hidden
    figure = new_figure(DOUBLE_COLUMN, sum(heights) + 0.6)
    grid = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    time_s, rate_hz = shown_rates(result)
    if excerpt is not None:
        axes = grid[0]
        quiet(axes, size=6.5)
        axes.plot(excerpt.spike_time_s, excerpt.unit, "|", color=INK, markersize=3, markeredgewidth=0.6)
        axes.set_ylim(result.n_visible - 0.5, -0.5)
        if result.n_visible <= _MOST_NAMED:
            axes.set_yticks(range(result.n_visible), [shortened(u, 12) for u in result.unit_id[: result.n_visible]])
            for text in axes.get_yticklabels():
                words(text).set_fontsize(min(6.5, 60 * raster_height / result.n_visible))
        axes.set_ylabel("recorded unit", fontsize=8)
        axes.set_xlim(excerpt.start_s, excerpt.stop_s)
    top = float(np.nanmax(rate_hz, initial=0.0)) * 1.05 or 1.0
    for k, axes in enumerate(grid[len(grid) - n_hidden :]):
        quiet(axes, size=6.5)
        axes.fill_between(time_s, rate_hz[:, k], color=GREEN, linewidth=0, step="post", alpha=0.85)
        axes.set_ylim(0, top)
        name = f"{shortened(result.unit_id[result.n_visible + k], 12)}\n(Hz)"
        words(axes.set_ylabel(name, fontsize=7, rotation=0, ha="right", va="center"))
    grid[-1].set_xlabel("time (s)", fontsize=8)
    words(
        grid[0].set_title(
            f"{shortened(result.name, 50)}: recorded spikes and posterior rates", fontsize=8, loc="left", color=INK
        )
    )
    return figure


def shown_rates(result: HasActivity, most: int = 4000) -> tuple[Any, Any]:
    """Times and rates in Hz of the hidden units in the excerpt, or averaged over stretches of the whole recording."""
    time_s = np.asarray(result.hidden.time_s, dtype=np.float64)
    rate_hz = np.asarray(result.hidden.expected_count, dtype=np.float64) / result.bin_width_s
    if result.excerpt is not None:
        half_s = 0.5 * result.bin_width_s
        inside = (time_s >= result.excerpt.start_s - half_s) & (time_s < result.excerpt.stop_s - half_s)
        time_s, rate_hz = time_s[inside], rate_hz[inside]
    pieces = np.array_split(np.arange(time_s.size), min(most, max(time_s.size, 1)))
    pieces = [piece for piece in pieces if piece.size]
    return (
        np.array([time_s[piece[0]] for piece in pieces]),
        np.array([rate_hz[piece].mean(axis=0) for piece in pieces]).reshape(len(pieces), result.n_hidden),
    )


def simulated_rates(result: HasActivity) -> tuple[Any, Any, Any] | None:
    """Recorded and simulated rate of every recorded unit and the latter's standard error, in Hz; None where not held."""
    rows = result.unit_rows[: result.n_visible]
    if not rows or not all(RATE in row.columns for row in rows):
        return None
    simulated = np.array([float(row.columns[RATE]) for row in rows])
    error = np.array([float(row.columns.get(RATE_SE, np.nan)) for row in rows])
    return np.array([row.rate_hz for row in rows]), simulated, error


def plot_rates(result: HasActivity) -> Figure:
    """Draw each unit's rate when the fitted network runs by itself against its recorded rate, with 2 standard errors."""
    rates = simulated_rates(result)
    if rates is None:
        raise ValueError("this result holds no simulated rates")
    recorded, simulated, error = rates
    figure = new_figure(SINGLE_COLUMN, SINGLE_COLUMN)
    axes = figure.add_subplot()
    quiet(axes)
    shown = (recorded > 0) & (simulated > 0)
    ends = np.array([min(recorded[shown].min(initial=1e3), simulated[shown].min(initial=1e3)), 0.0])
    ends[1] = max(recorded[shown].max(initial=0.1), simulated[shown].max(initial=0.1))
    ends = ends * np.array([0.8, 1.25])
    axes.plot(ends, ends, color=PALE, linewidth=0.8, zorder=0)
    bars = np.nan_to_num(np.minimum(2 * error, 0.9 * simulated))[shown]
    axes.errorbar(
        recorded[shown], simulated[shown], yerr=bars, fmt="o", color=BLUE, markersize=3, linewidth=0.7, zorder=2
    )
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel("recorded rate (Hz)", fontsize=8)
    axes.set_ylabel("rate in free runs of the fit (Hz)", fontsize=8)
    words(axes.set_title(shortened(result.name, 40), fontsize=8, loc="left", color=INK))
    if not shown.all():
        axes.text(
            0.98, 0.02, f"{int((~shown).sum())} silent", transform=axes.transAxes, ha="right", fontsize=6.5, color=QUIET
        )
    return figure
