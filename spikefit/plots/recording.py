"""A recording at a glance: a raster of a stretch of it, the rate over all of it, and the rate of each unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikefit.plots.style import BLUE, DOUBLE_COLUMN, INK, ORANGE, PALE, QUIET, new_figure, quiet, shortened, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A raster with more spikes than these is a black bar, and slow to draw.
MOST_SPIKES = 8000
_MOST_NAMED = 45
_N_PIECES = 300


class IsRecording(Protocol):
    """The fields of `SpikeTrains` that the figure reads."""

    @property
    def spike_times_s(self) -> NDArray[np.float64]: ...
    @property
    def offsets(self) -> NDArray[np.int64]: ...
    @property
    def unit_ids(self) -> tuple[str, ...]: ...
    @property
    def intervals_s(self) -> NDArray[np.float64]: ...
    @property
    def rate_hz(self) -> NDArray[np.float64]: ...
    @property
    def n_units(self) -> int: ...
    @property
    def name(self) -> str: ...


def plot_recording(trains: IsRecording, *, dropped: Sequence[str] = ()) -> Figure:
    """Draw a recording.

    Args:
        trains: the recording.
        dropped: units that an analysis would leave out, drawn pale.
    """
    stretch = raster_stretch(trains)
    height = min(1.2 + 0.085 * trains.n_units, 6.0)
    figure = new_figure(DOUBLE_COLUMN, height + 1.5)
    grid = figure.subplots(2, 2, width_ratios=[3.4, 1], height_ratios=[height, 1.3], squeeze=False, sharey="row")
    raster, bars, whole, empty = grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1]
    pale = set(dropped)
    colours = [PALE if unit in pale else INK for unit in trains.unit_ids]
    _draw_raster(raster, trains, stretch, colours)
    quiet(bars, size=6.5)
    rates = np.nan_to_num(trains.rate_hz)
    bars.barh(
        range(trains.n_units), rates, color=[PALE if unit in pale else BLUE for unit in trains.unit_ids], height=0.75
    )
    bars.set_xlabel("rate (Hz)", fontsize=8)
    bars.tick_params(left=False)
    if pale:
        bars.set_title(f"{len(pale)} pale: not used", fontsize=7, loc="right", color=QUIET)
    _draw_whole(whole, trains, stretch)
    empty.set_axis_off()
    words(raster.set_title(f"{shortened(trains.name, 40)}: {trains.n_units} units", fontsize=8, loc="left", color=INK))
    return figure


def raster_stretch(trains: IsRecording) -> tuple[float, float]:
    """A stretch from the middle of the longest observed interval, short enough for a raster; in seconds."""
    longest = int(np.argmax(np.diff(trains.intervals_s, axis=1)))
    start_s, stop_s = trains.intervals_s[longest].tolist()
    rate_hz = float(np.nansum(trains.rate_hz))
    length_s = min(stop_s - start_s, MOST_SPIKES / max(rate_hz, 1e-9), 60.0)
    middle_s = 0.5 * (start_s + stop_s)
    return middle_s - 0.5 * length_s, middle_s + 0.5 * length_s


def _draw_raster(axes: Any, trains: IsRecording, stretch: tuple[float, float], colours: Sequence[str]) -> None:
    quiet(axes, size=6.5)
    for row, colour in enumerate(colours):
        train = trains.spike_times_s[trains.offsets[row] : trains.offsets[row + 1]]
        inside = train[np.searchsorted(train, stretch[0]) : np.searchsorted(train, stretch[1])]
        axes.plot(inside, np.full(inside.size, row), "|", color=colour, markersize=3, markeredgewidth=0.5)
    axes.set_xlim(*stretch)
    axes.set_ylim(trains.n_units - 0.5, -0.5)
    if trains.n_units <= _MOST_NAMED:
        axes.set_yticks(range(trains.n_units), [shortened(unit, 14) for unit in trains.unit_ids], fontsize=5.5)
        for text in axes.get_yticklabels():
            words(text)
    axes.set_ylabel("unit", fontsize=8)
    axes.set_xlabel("time (s), a stretch from the middle", fontsize=8)


def _draw_whole(axes: Any, trains: IsRecording, stretch: tuple[float, float]) -> None:
    """The rate of all units together over the whole recording, nothing drawn where nothing was observed."""
    quiet(axes, size=6.5)
    first_s, last_s = float(trains.intervals_s[0, 0]), float(trains.intervals_s[-1, 1])
    edges = np.linspace(first_s, last_s, _N_PIECES + 1)
    counts, _ = np.histogram(trains.spike_times_s, edges)
    observed = np.zeros(_N_PIECES)
    for start_s, stop_s in trains.intervals_s.tolist():
        observed += np.clip(np.minimum(edges[1:], stop_s) - np.maximum(edges[:-1], start_s), 0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate_hz = np.where(observed > 0.2 * (edges[1] - edges[0]), counts / observed, np.nan)
    axes.stairs(rate_hz, edges, baseline=None, color=BLUE, linewidth=0.9)
    axes.axvspan(*stretch, color=ORANGE, alpha=0.25, linewidth=0)
    axes.set_xlim(first_s, last_s)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("all units (Hz)", fontsize=8)
    axes.set_xlabel("time (s), the whole recording; orange: the stretch above", fontsize=8)
