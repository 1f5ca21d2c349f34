"""Random networks that match a fit, some of their neurons unrecorded.

The recorded part of a network depends on the seed alone, not on how many neurons beside it are unrecorded: so the same couplings are
looked for among more and more of them. The first of three unrecorded neurons is the one of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikefit.recovery.rates import at_rates
from spikefit.recovery.truth import FEWEST_EDGES, Truth, mean_counts
from spikefit.results import Result
from spikefit.simulate import Network, random_network

Array = NDArray[np.float64]

FAN_OUT = 0.5  # share of the recorded neurons that an unrecorded one excites
STRENGTH = 2.5  # of its couplings against a typical edge, as in the networks of `spikefit simulate`


@dataclass(frozen=True)
class Unrecorded:
    """What the unrecorded neurons of random networks are like.

    Attributes:
        strength: typical coupling to a recorded neuron, drive per spike.
        mean_count: spikes per bin; None for those of recorded neurons picked at random.
    """

    strength: float
    mean_count: float | None

    def __str__(self) -> str:
        whose = "the hidden units of the fit" if self.mean_count is not None else "the recorded ones"
        than = "" if self.mean_count is not None else f", {STRENGTH:g} times a typical edge"
        return (
            f"unrecorded neurons fire as often as {whose}, and each excites {FAN_OUT:.0%} of the recorded ones "
            f"(drive {self.strength:.2g} per spike{than})"
        )


def unrecorded_like(result: Result, edges: NDArray[np.bool_]) -> Unrecorded:
    """Unrecorded neurons like the hidden units of a fit, or, where it has none, like recorded ones that reach many."""
    n = result.n_visible
    if not result.n_hidden:
        return Unrecorded(STRENGTH * edge_strength(result, edges), None)
    # Those that a hidden unit reaches are the stronger half of its couplings; the others are what noise left.
    sizes = np.sort(np.abs(result.connectivity[:n, n:]), axis=0)[n - max(1, round(FAN_OUT * n)) :]
    return Unrecorded(float(np.median(sizes)), float(mean_counts(result)[n:].mean()))


def edge_strength(result: Result, edges: NDArray[np.bool_]) -> float:
    """Typical size of an edge of a fit; one with hardly an edge gives none, and then it is five times what no edge looks like."""
    n = result.n_visible
    sizes = np.abs(result.connectivity[:n, :n][edges])
    return float(np.median(sizes)) if sizes.size >= FEWEST_EDGES else _detectable(result)


def matched_network(result: Result, edges: NDArray[np.bool_], *, seed: int, n_unrecorded: int | None = None) -> Truth:
    """A random network with the rates, the number of edges and their typical size of a fit, and with unrecorded neurons beside them.

    A fit with hardly an edge does not tell how many there are; edges are then one for each unit.

    Args:
        result: the fit.
        edges: (post, pre) of its recorded units.
        seed: of the network.
        n_unrecorded: how many neurons are not recorded; as many as the fit has hidden units where None.
    """
    n, width, link = result.n_visible, result.bin_width_s, str(result.config["model"]["link"])
    n_pairs, n_edges = max(1, n * (n - 1)), int(edges.sum())
    n_hidden = result.n_hidden if n_unrecorded is None else n_unrecorded
    window_s = width * result.lag_s.size
    recorded = random_network(
        n_visible=n,
        n_drivers=0,
        seed=seed,
        bin_width_s=width,
        window_s=window_s,
        density=min(1.0, (n_edges if n_edges >= FEWEST_EDGES else n) / n_pairs),
        strength=edge_strength(result, edges),
        link=link,
    )
    true = (recorded.connectivity != 0) & ~np.eye(n, dtype=bool)
    filters = np.zeros((n + n_hidden, n + n_hidden, result.lag_s.size))
    filters[:n, :n] = recorded.coupling_filters
    counts = mean_counts(result)[:n]
    unrecorded = unrecorded_like(result, edges)
    for k in range(n_hidden):
        alone = random_network(
            n_visible=n,
            n_drivers=1,
            seed=_seed_of(seed, k),
            bin_width_s=width,
            window_s=window_s,
            fan_out=FAN_OUT,
            driver_strength=unrecorded.strength,
            link=link,
        ).coupling_filters
        filters[:n, n + k], filters[n + k, n + k] = alone[:n, n], alone[n, n]
        picked = mean_counts(result)[np.random.default_rng([seed, 8, k]).integers(n)]
        counts = np.append(counts, picked if unrecorded.mean_count is None else unrecorded.mean_count)
    network = Network(filters, np.zeros(n + n_hidden), n, width, link)
    return Truth(at_rates(network, counts, seed=seed), true)


def _seed_of(seed: int, k: int) -> int:
    return int(np.random.default_rng([seed, 9, k]).integers(2**31))


def _detectable(result: Result) -> float:
    n = result.n_visible
    pairs = ~np.eye(n, dtype=bool)
    error = result.std_error[:n, :n][pairs]
    if np.isfinite(error).any():
        spread = max(1.0, float(result.metrics.get("null_spread") or 1.0))
        return 5.0 * spread * float(np.nanmedian(error))
    weights = np.abs(result.connectivity[:n, :n][pairs])
    return 5.0 * float(np.median(weights)) if weights.size else 1.0
