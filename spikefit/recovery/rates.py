"""Baselines at which the units of a network fire as often as wanted.

The link is convex where neurons fire, so a unit whose inputs come in single spikes fires more often than one that gets their mean all the
time. Baselines that only take that mean away leave a network a tenth to a half too active, the more the stronger its inputs are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.simulate import LINK_FUNCTIONS, LINK_INVERSES, Network, simulate

Array = NDArray[np.float64]

FEWEST_BINS, MOST_BINS = 500, 10_000
MOST_MULTIPLICATIONS = 2e9  # of the trains by the filters; a second or so
N_RUNS = 3  # of the network itself, each with the baselines that the one before asked for
N_HALVINGS = 26  # of a bracket of some tens of the drive: to a millionth


def at_rates(network: Network, mean_count: Array, *, seed: int) -> Network:
    """The network with baselines that give each unit its mean count.

    Inputs are at first Poisson trains that know nothing of one another, then what the network does with the baselines so found: a unit's own
    spikes come when its drive is high, and what they do to it depends on that. A run that runs away asks for nothing.

    Args:
        network: its baselines do not matter.
        mean_count: wanted spikes per bin, above zero; (unit,).
        seed: of the trains.
    """
    n_lags = network.coupling_filters.shape[2]
    n_bins = int(np.clip(MOST_MULTIPLICATIONS / (network.n_units**2 * n_lags), FEWEST_BINS, MOST_BINS)) + n_lags
    trains = np.random.default_rng([seed, 7]).poisson(mean_count, (n_bins, network.n_units)).astype(np.float64)
    for run in range(1 + N_RUNS):
        network = replace(network, baseline=_baselines(_inputs(network, trains), mean_count, network.link))
        if run < N_RUNS:
            try:
                run_of_it = simulate(network, duration_s=n_bins * network.bin_width_s, seed=seed)
            except UsageError:
                break
            trains = run_of_it.counts.astype(np.float64)
    return network


def _inputs(network: Network, trains: Array) -> Array:
    """What the trains add to the drive; (bin, unit), the first window left out."""
    n_lags = network.coupling_filters.shape[2]
    n_bins = len(trains) - n_lags
    drive = np.zeros((n_bins, network.n_units))
    for lag in range(n_lags):
        drive += trains[n_lags - 1 - lag :][:n_bins] @ network.coupling_filters[:, :, lag].T
    return drive


def _baselines(drive: Array, mean_count: Array, link: str) -> Array:
    """Where the mean over bins of the link of baseline + drive is as wanted; it lies between the answers to the strongest and the weakest drive."""
    wanted = LINK_INVERSES[link](mean_count)
    low, high = wanted - drive.max(axis=0), wanted - drive.min(axis=0)
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        above = LINK_FUNCTIONS[link](middle + drive).mean(axis=0) > mean_count
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray((low + high) / 2)
