"""Figures of a latent code: its raster, the decoder, the data it reconstructs, which latents live, the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikefit.plots.style import BLUE, DIVERGING, DOUBLE_COLUMN, INK, ORANGE, QUIET, new_figure, quiet, shortened, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
MOST_LABELS = 40


class HasLatents(Protocol):
    """The fields of `spikefit.results.latents.Latents` that figures read."""

    @property
    def unit_id(self) -> Sequence[str]: ...
    @property
    def bin_width_s(self) -> float: ...
    @property
    def arrays(self) -> Mapping[str, Array]: ...
    @property
    def history(self) -> Mapping[str, NDArray[np.float64]]: ...


@dataclass(frozen=True, eq=False)
class Example:
    """A stretch of held-out bins to show.

    Attributes:
        time_s: (bin,).
        counts: what was counted, (bin, unit).
        expected_count: what the model expects, (bin, unit).
        latent_count: posterior expected counts of the latents, (bin, latent).
    """

    time_s: Array
    counts: Array
    expected_count: Array
    latent_count: Array


def plot_latents(latents: HasLatents, example: Example) -> Figure:
    """Spikes of the units above the latents' posterior rates, the latents that say most on top."""
    figure = new_figure(DOUBLE_COLUMN, 4.4)
    above, below = figure.subplots(2, 1, sharex=True)
    edges = (example.time_s[0], example.time_s[-1] + latents.bin_width_s)
    above.imshow(
        example.counts.T,
        aspect="auto",
        interpolation="nearest",
        cmap="Greys",
        vmax=max(1, float(np.quantile(example.counts, 0.999))),
        extent=(*edges, example.counts.shape[1] - 0.5, -0.5),
    )
    above.set_ylabel("unit")
    order = np.argsort(-latents.arrays["divergence"], kind="stable")
    rates = example.latent_count[:, order] / latents.bin_width_s
    image = below.imshow(
        rates.T,
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        vmin=0,
        vmax=float(np.quantile(rates, 0.99)) or 1.0,
        extent=(*edges, rates.shape[1] - 0.5, -0.5),
    )
    below.set_ylabel("latent, most telling first")
    below.set_xlabel("time (s)")
    bar = figure.colorbar(image, ax=below, pad=0.01)
    bar.set_label("latent rate (spikes/s)", size=7)
    bar.ax.tick_params(labelsize=6)
    words(above.set_title("held-out spikes and their latents", size=8))
    for axes in (above, below):
        quiet(axes)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.xaxis.label.set_size(7)
        axes.yaxis.label.set_size(7)
    return figure


def plot_reconstruction(latents: HasLatents, example: Example, *, n_units: int) -> Figure:
    """The busiest units in held-out bins: spikes, and the rate that the model expects."""
    busiest = np.argsort(-example.counts.sum(axis=0, dtype=np.int64), kind="stable")[:n_units]
    figure = new_figure(DOUBLE_COLUMN, 0.85 * len(busiest) + 0.5)
    rows = np.atleast_1d(figure.subplots(len(busiest), 1, sharex=True))
    for axes, unit in zip(rows, busiest.tolist(), strict=True):
        axes.plot(example.time_s, example.expected_count[:, unit] / latents.bin_width_s, color=BLUE, lw=1)
        spikes = example.time_s[example.counts[:, unit] > 0]
        top = axes.get_ylim()[1]
        axes.vlines(spikes, top, 1.12 * top, color=INK, lw=0.5)
        axes.set_ylim(0, 1.14 * top)
        words(axes.set_ylabel(""), shortened(latents.unit_id[unit], 12)).set(
            size=7, rotation=0, ha="right", va="center"
        )
        quiet(axes)
    rows[0].set_title("held out: spikes (ticks) and expected rate (spikes/s)", size=8)
    rows[-1].set_xlabel("time (s)", size=7)
    return figure


def plot_decoder(latents: HasLatents) -> Figure:
    """What each latent does to each unit, and over which time."""
    weights, divergence = latents.arrays["decoder_weights"], latents.arrays["divergence"]
    order = np.argsort(-divergence, kind="stable")
    units = np.argsort(np.argmax(np.abs(weights[:, order]), axis=1), kind="stable")
    figure = new_figure(DOUBLE_COLUMN, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    limit = float(np.quantile(np.abs(weights), 0.99)) or 1.0
    image = left.imshow(
        weights[np.ix_(units, order)], aspect="auto", interpolation="nearest", cmap=DIVERGING, vmin=-limit, vmax=limit
    )
    bar = figure.colorbar(image, ax=left, pad=0.02)
    bar.set_label("drive per latent spike", size=7)
    bar.ax.tick_params(labelsize=6)
    left.set_xlabel("latent, most telling first", size=7)
    left.set_ylabel("unit, by its strongest latent", size=7)
    if len(units) <= MOST_LABELS:
        left.set_yticks(range(len(units)))
        for label in left.set_yticklabels([shortened(latents.unit_id[unit], 12) for unit in units.tolist()]):
            words(label)
    lag_ms = 1e3 * latents.arrays["kernel_lag_s"]
    if lag_ms.size > 1:
        for k in order[:8].tolist():
            right.plot(lag_ms, latents.arrays["kernels"][k], lw=0.9)
        right.set_xlabel("time from the latent spike (ms)", size=7)
        right.set_ylabel("kernel, sum 1", size=7)
        right.set_title("the eight most telling latents", size=8)
    else:
        right.set_axis_off()
        right.text(0.5, 0.5, "each latent acts\nin its own bin", ha="center", va="center", size=8, color=QUIET)
    quiet(left, size=5 if len(units) > 20 else 6)
    quiet(right)
    return figure


def plot_activity(latents: HasLatents) -> Figure:
    """What each latent says, how sparse it is in time, and how much of it the prior expects."""
    arrays = latents.arrays
    order = np.argsort(-arrays["divergence"], kind="stable")
    figure = new_figure(DOUBLE_COLUMN, 2.2)
    for axes, (key, label) in zip(
        figure.subplots(1, 3),
        (
            ("divergence", "divergence (nats per bin)"),
            ("lifetime_sparsity", "lifetime sparsity"),
            ("prior_count", "prior rate (spikes/s)"),
        ),
        strict=True,
    ):
        values = arrays[key][order] / (latents.bin_width_s if key == "prior_count" else 1)
        _bars(axes, values, label)
    return figure


def plot_latent_training(latents: HasLatents) -> Figure:
    """Objective, bound and score of unseen units over the epochs."""
    history = latents.history
    figure = new_figure(DOUBLE_COLUMN, 2.4)
    left, right = figure.subplots(1, 2)
    for key, label, colour in (
        ("objective", "objective, training bins", BLUE),
        ("bound", "bound, bins set aside", ORANGE),
    ):
        if key in history:
            left.plot(np.arange(1, len(history[key]) + 1), history[key], color=colour, lw=1, label=label)
    left.legend(fontsize=6, frameon=False)
    if "hidden_units" in history:
        right.plot(np.arange(1, len(history["hidden_units"]) + 1), history["hidden_units"], color=ORANGE, lw=1)
    right.set_title("units that the encoder was not shown", size=8)
    for axes in (left, right):
        # The first epochs fall from far away and would hide the rest.
        lines = [line.get_ydata() for line in axes.get_lines()]
        if lines and len(lines[0]) > 10:
            later = np.concatenate([np.asarray(y, dtype=float)[len(y) // 10 :] for y in lines])
            spare = 0.08 * (later.max() - later.min()) or 1.0
            axes.set_ylim(later.min() - spare, later.max() + spare)
        axes.set_xlabel("epoch", size=7)
        axes.set_ylabel("nats per bin", size=7)
        quiet(axes)
    return figure


def _bars(axes: Axes, values: Array, label: str) -> None:
    axes.bar(np.arange(len(values)), values, color=BLUE, width=0.8)
    axes.set_xlabel("latent, most telling first", size=7)
    axes.set_ylabel(label, size=7)
    quiet(axes)
