"""Rates round the trials of every type: units as counted and as expected, and latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikefit.plots.style import (
    BLUE,
    DOUBLE_COLUMN,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    QUIET,
    new_figure,
    quiet,
    shortened,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, INK, QUIET)
COLUMNS = 4


class HasTrials(Protocol):
    """The fields of `spikefit.diagnostics.trial_averages.TrialAverages` that the figure reads."""

    @property
    def n_trials(self) -> Mapping[str, int]: ...
    @property
    def time_s(self) -> Array: ...
    @property
    def counted_hz(self) -> Array: ...
    @property
    def expected_hz(self) -> Array: ...
    @property
    def latent_hz(self) -> Array: ...


def plot_trials(trials: HasTrials, unit_id: Sequence[str]) -> Figure:
    """The units and the latents that change most over a trial or between types.

    Args:
        trials: averages.
        unit_id: of the units.
    """
    figure = new_figure(DOUBLE_COLUMN, 3.6)
    rows = figure.subplots(2, COLUMNS, sharex=True, squeeze=False)
    units, latents = _most_moving(trials.counted_hz), _most_moving(trials.latent_hz)
    for axes, unit in zip(rows[0], units, strict=False):
        for k, colour in zip(range(len(trials.n_trials)), COLOURS, strict=False):
            axes.plot(trials.time_s, trials.counted_hz[k, :, unit], color=colour, lw=0.6, alpha=0.55)
            axes.plot(trials.time_s, trials.expected_hz[k, :, unit], color=colour, lw=1.3)
        words(axes.set_title("", size=8), f"unit {shortened(unit_id[unit], 14)}")
    for axes, latent in zip(rows[1], latents, strict=False):
        for k, (name, colour) in enumerate(zip(trials.n_trials, COLOURS, strict=False)):
            label = f"{shortened(name, 16)} ({trials.n_trials[name]} trials)"
            axes.plot(trials.time_s, trials.latent_hz[k, :, latent], color=colour, lw=1.3, label=label)
        axes.set_title(f"latent {latent}", size=8)
        axes.set_xlabel("time in the trial (s)", size=7)
    for axes in rows.ravel():
        if axes.has_data():
            axes.set_ylim(bottom=0)
            quiet(axes)
        else:
            axes.set_axis_off()
    rows[0, 0].set_ylabel("spikes/s", size=7)
    rows[1, 0].set_ylabel("latent spikes/s", size=7)
    legend = figure.legend(*_handles(rows[1, 0]), loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    for text in legend.get_texts():
        words(text)
    return figure


def _most_moving(rates: Array) -> list[int]:
    """The columns of (type, time, column) that vary most."""
    order = np.argsort(-rates.reshape(-1, rates.shape[2]).std(axis=0), kind="stable")
    return [int(k) for k in order[:COLUMNS]]


def _handles(axes: Axes) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return list(handles), [str(label) for label in labels]
