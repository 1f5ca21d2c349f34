"""Networks whose answer is known: Poisson units with coupling filters, some of them never recorded.

A simulated network is the model of the fit itself (link included, causal filters), so what a fit should find is
known to the last number. Everything here is numpy in float64 and is drawn from one seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.models.ceiling import HIGHEST_MEAN_SHARE, SIGMOID_CEILING
from spikefit.spikes import Counts, SpikeTrains

Array = NDArray[np.float64]

# A unit that fires more often than this in every bin has run away; no recording looks like that.
RUNAWAY_COUNT = 50.0


@dataclass(frozen=True, eq=False)
class CommonDrive:
    """What recent activity of all recorded units together does to each unit.

    Attributes:
        decay: factor by which a trace falls in one bin; (trace,).
        weights: drive per trace; (unit, trace).
        level: spikes of the recorded population in a bin that leave the traces where they are.
    """

    decay: Array
    weights: Array
    level: float


@dataclass(frozen=True, eq=False)
class Network:
    """A network with known filters.

    Attributes:
        coupling_filters: drive added to `post` per spike of `pre`, `lag + 1` bins later; (post, pre, lag).
        baseline: drive with nobody spiking; (unit,).
        n_visible: the first `n_visible` units are recorded, the rest are hidden.
        bin_width_s: bin width in seconds.
        link: `softplus`, `exp` or `sigmoid`.
        common_drive: of the recorded population, where the network has one.
    """

    coupling_filters: Array
    baseline: Array
    n_visible: int
    bin_width_s: float
    link: str = "softplus"
    common_drive: CommonDrive | None = None

    @property
    def n_units(self) -> int:
        return int(self.baseline.size)

    @property
    def n_hidden(self) -> int:
        return self.n_units - self.n_visible

    @property
    def connectivity(self) -> Array:
        """Filters summed over lags, (post, pre)."""
        return np.asarray(self.coupling_filters.sum(axis=2))


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a network did: counts of every unit, hidden ones included; (bin, unit)."""

    network: Network
    counts: NDArray[np.uint8]
    seed: int

    @property
    def visible_counts(self) -> Counts:
        """The recorded units' counts as one segment."""
        return _as_counts(self.counts[:, : self.network.n_visible], self.network.bin_width_s, "n")

    @property
    def hidden_counts(self) -> NDArray[np.uint8]:
        """True spikes of the hidden units, (bin, hidden)."""
        return self.counts[:, self.network.n_visible :]

    def trains(self, *, name: str = "simulation") -> SpikeTrains:
        """The recorded units as a recording; spikes lie at random places inside their bins, apart from one another."""
        rng = np.random.default_rng([self.seed, 1])
        width = self.network.bin_width_s
        visible = self.counts[:, : self.network.n_visible]
        trains = {}
        for unit in range(visible.shape[1]):
            counts = visible[:, unit].astype(np.int64)
            bins = np.repeat(np.arange(len(visible)), counts)
            rank = np.arange(bins.size) - np.repeat(np.cumsum(counts) - counts, counts)
            # Each spike has a share of the bin to itself and stays off the share's edges, as a neuron's refractory
            # period would have it.
            inside = (rank + rng.uniform(0.2, 0.8, bins.size)) / counts[bins]
            trains[f"n{unit:02d}"] = (bins + inside) * width
        return SpikeTrains.from_trains(trains, intervals_s=[[0.0, len(visible) * width]], name=name)


def random_network(
    *,
    n_visible: int,
    n_drivers: int,
    seed: int,
    bin_width_s: float = 0.01,
    window_s: float = 0.1,
    rate_hz: float = 5.0,
    density: float = 0.1,
    strength: float = 2.0,
    fan_out: float = 0.5,
    driver_strength: float = 5.0,
    driver_rate_hz: float = 4.0,
    link: str = "softplus",
) -> Network:
    """Draw a sparse network of visible units, with hidden drivers that each excite many of them.

    Args:
        n_visible: recorded units.
        n_drivers: unrecorded units with strong fan-out.
        seed: of the draw.
        bin_width_s: bin width in seconds.
        window_s: length of the filters in seconds.
        rate_hz: median firing rate of an uncoupled visible unit; rates are lognormal around it.
        density: share of ordered visible pairs that are connected; half of them inhibit.
        strength: typical size of a coupling, summed over lags, in units of the drive.
        fan_out: share of visible units that each driver excites.
        driver_strength: typical size of a driver's coupling, summed over lags.
        driver_rate_hz: firing rate of the drivers.
        link: `softplus`, `exp` or `sigmoid`.

    Raises:
        UsageError: for sizes, rates or shares outside their range.
    """
    if n_visible < 1 or n_drivers < 0:
        raise UsageError(
            f"a network needs at least one visible unit and no fewer than 0 drivers, got {n_visible} and {n_drivers}."
        )
    for name, share in (("density", density), ("fan_out", fan_out)):
        if not 0 <= share <= 1:
            raise UsageError(f"{name} is a share between 0 and 1, got {share:g}.")
    if min(rate_hz, driver_rate_hz, bin_width_s) <= 0 or window_s < bin_width_s:
        raise UsageError("rates and the bin width must be above 0, and the window at least one bin long.")
    rng = np.random.default_rng([seed, 0])
    n_units, n_lags = n_visible + n_drivers, round(window_s / bin_width_s)
    rates = np.concatenate([rate_hz * np.exp(0.4 * rng.standard_normal(n_visible)), np.full(n_drivers, driver_rate_hz)])
    connectivity = np.zeros((n_units, n_units))
    sizes = strength * np.exp(0.3 * rng.standard_normal((n_visible, n_visible)))
    signs = np.where(rng.random((n_visible, n_visible)) < 0.5, -1.0, 1.0)
    connectivity[:n_visible, :n_visible] = sizes * signs * (rng.random((n_visible, n_visible)) < density)
    driver_sizes = driver_strength * np.exp(0.3 * rng.standard_normal((n_visible, n_drivers)))
    connectivity[:n_visible, n_visible:] = driver_sizes * (rng.random((n_visible, n_drivers)) < fan_out)
    np.fill_diagonal(connectivity, 0.0)
    lags_s = (np.arange(n_lags) + 0.5) * bin_width_s
    shapes = _alpha_shapes(rng.uniform(0.005, 0.02, (n_units, n_units)), lags_s)
    filters = connectivity[:, :, None] * shapes
    refractory = -3.0 * np.exp(-lags_s / 0.01)
    filters[np.arange(n_units), np.arange(n_units)] = refractory
    if link == "sigmoid" and rates.max() * bin_width_s >= HIGHEST_MEAN_SHARE * SIGMOID_CEILING:
        raise UsageError(
            f"a unit would fire {rates.max() * bin_width_s:.1f} spikes per bin; the sigmoid link ends at {SIGMOID_CEILING:g}.",
            hint="take smaller bins, lower rates or another link",
        )
    baseline = LINK_INVERSES[link](rates * bin_width_s)
    return Network(filters, baseline, n_visible, bin_width_s, link)


def simulate(network: Network, *, duration_s: float, seed: int, input_drive: Array | None = None) -> Simulation:
    """Run a network from rest.

    Args:
        network: what to run.
        duration_s: how long, in seconds; rounded to whole bins.
        seed: of the spikes.
        input_drive: drive from outside the network, added to that of each unit; (bin, unit).

    Raises:
        UsageError: if the activity runs away, or the duration is shorter than one bin.
    """
    n_bins = round(duration_s / network.bin_width_s)
    if n_bins < 1:
        raise UsageError(f"a duration of {duration_s:g} s is shorter than one bin ({network.bin_width_s:g} s).")
    rng = np.random.default_rng([seed, 2])
    n_lags = network.coupling_filters.shape[2]
    by_sender = np.ascontiguousarray(network.coupling_filters.transpose(1, 2, 0))  # (pre, lag, post)
    # Spikes are sparse: each pushes its whole filter into a ring of coming bins, so silence costs nothing.
    ring = np.zeros((n_lags, network.n_units))
    order = (np.arange(n_lags)[None, :] + np.arange(n_lags)[:, None]) % n_lags
    counts = np.zeros((n_bins, network.n_units), dtype=np.uint8)
    link = LINK_FUNCTIONS[network.link]
    common = network.common_drive
    trace = np.zeros(0 if common is None else len(common.decay))
    for t in range(n_bins):
        slot = t % n_lags
        drive = network.baseline + ring[slot]
        if common is not None:
            drive = drive + common.weights @ trace
        if input_drive is not None:
            drive = drive + input_drive[t]
        expected = link(drive)
        ring[slot] = 0.0
        if expected.max() > RUNAWAY_COUNT:
            raise UsageError(
                f"the simulated activity runs away after {t * network.bin_width_s:.2f} s "
                f"({expected.max():.0f} spikes expected in one bin of {network.bin_width_s:g} s).",
                hint="lower the strength or the density of the couplings",
            )
        spikes = rng.poisson(expected)
        counts[t] = spikes
        if common is not None:
            trace = common.decay * trace + (spikes[: network.n_visible].sum() - common.level)
        for unit in np.flatnonzero(spikes):
            ring[order[(slot + 1) % n_lags]] += spikes[unit] * by_sender[unit]
    return Simulation(network, counts, seed)


def _alpha_shapes(tau_s: NDArray[np.floating[Any]], lags_s: NDArray[np.floating[Any]]) -> Array:
    """Alpha functions that sum to one over the lags; (…, lag)."""
    scaled = lags_s / tau_s[..., None]
    shape = scaled * np.exp(1 - scaled)
    return np.asarray(shape / shape.sum(axis=-1, keepdims=True))


def _softplus(drive: Array) -> Array:
    return np.asarray(np.logaddexp(0.0, drive))


def _softplus_inverse(expected_count: Array) -> Array:
    return np.asarray(expected_count + np.log(-np.expm1(-expected_count)))


def _sigmoid(drive: Array) -> Array:
    return np.asarray(SIGMOID_CEILING * np.exp(-np.logaddexp(0.0, -drive)))


def _sigmoid_inverse(expected_count: Array) -> Array:
    return np.asarray(np.log(expected_count) - np.log(SIGMOID_CEILING - expected_count))


LINK_FUNCTIONS: dict[str, Callable[[Array], Array]] = {"softplus": _softplus, "exp": np.exp, "sigmoid": _sigmoid}
LINK_INVERSES: dict[str, Callable[[Array], Array]] = {
    "softplus": _softplus_inverse,
    "exp": np.log,
    "sigmoid": _sigmoid_inverse,
}


def _as_counts(counts: NDArray[np.uint8], bin_width_s: float, prefix: str) -> Counts:
    return Counts(
        counts=np.asfortranarray(counts),
        bin_width_s=bin_width_s,
        segment_offsets=np.array([0, len(counts)], dtype=np.int64),
        segment_start_s=np.array([0.0]),
        unit_ids=tuple(f"{prefix}{unit:02d}" for unit in range(counts.shape[1])),
    )
