"""The fit itself as a network to be recovered, its edges being the truth, and what can be done where it runs away."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spikefit.results import Result
from spikefit.simulate import CommonDrive, Network

Array = NDArray[np.float64]

MOST_WITHOUT_Q = 100  # of the strongest pairs that count as edges where there are no q-values
FEWEST_EDGES = 5  # fewer do not tell how strong edges are
RATE_FLOOR = 1e-6  # expected count of a unit that never fires


@dataclass(frozen=True, eq=False)
class Truth:
    """A network and which of its visible pairs are edges.

    Attributes:
        network: to be simulated.
        edges: (post, pre) of the visible units.
    """

    network: Network
    edges: NDArray[np.bool_]


def edges_of(result: Result, q: float) -> tuple[NDArray[np.bool_], str]:
    """Which visible pairs of a fit count as edges, and by which rule, in words."""
    n = result.n_visible
    pairs = ~np.eye(n, dtype=bool)
    q_value = result.q_value[:n, :n]
    if np.isfinite(q_value[pairs]).any():
        return pairs & (
            q_value <= q
        ), f"the edges that the fit calls at q ≤ {q:g}; all other couplings were set to zero"
    top = min(MOST_WITHOUT_Q, max(1, int(pairs.sum()) // 10))
    size = np.where(pairs, np.abs(result.connectivity[:n, :n]), -1.0)
    edges = np.zeros(n * n, dtype=bool)
    edges[np.argsort(-size, axis=None, kind="stable")[:top]] = True
    rule = f"the {top} strongest couplings, because the fit has no q-values; all others were set to zero"
    return edges.reshape(n, n) & pairs, rule


def network_of_fit(result: Result, edges: NDArray[np.bool_]) -> Truth:
    """The fit without the couplings that are no edges; what those added on average goes to the baselines."""
    n = result.n_visible
    kept = np.ones((result.n_units, result.n_units), dtype=bool)
    kept[:n, :n] = edges | np.eye(n, dtype=bool)
    filters = np.where(kept[:, :, None], result.coupling_filters, 0.0).astype(np.float64)
    dropped = np.where(kept, 0.0, result.connectivity)
    baseline = np.asarray(result.baseline + dropped @ mean_counts(result), dtype=np.float64)
    common = None
    if result.common_drive is not None:
        decay = np.exp(-result.bin_width_s / np.asarray(result.common_drive.time_constant_s, dtype=np.float64))
        weights = np.asarray(result.common_drive.weights, dtype=np.float64)
        common = CommonDrive(decay, weights, result.common_drive.level_hz * result.bin_width_s)
    network = Network(filters, baseline, n, result.bin_width_s, str(result.config["model"]["link"]), common)
    return Truth(network, edges)


@dataclass(frozen=True)
class Taming:
    """How far a network that runs away was weakened: what is left of its common drive and of all its couplings."""

    common_drive: float = 1.0
    couplings: float = 1.0

    def __str__(self) -> str:
        parts = []
        if self.common_drive < 1:
            parts.append(
                "without its common drive"
                if self.common_drive == 0
                else f"with {self.common_drive:.0%} of its common drive"
            )
        if self.couplings < 1:
            parts.append(f"with its couplings at {self.couplings:.0%} of their size")
        return " and ".join(parts)


# The common drive goes first, because edges then keep their size; 1, 1 is the network as it is.
TAMINGS = (
    Taming(),
    Taming(0.5),
    Taming(0.0),
    *(Taming(0.0, share) for share in (0.8, 0.6, 0.4, 0.2)),
)


def tamed(truth: Truth, result: Result, taming: Taming) -> Truth:
    """The network with a weaker common drive and weaker couplings; baselines keep the mean drive at the recorded rates.

    Args:
        truth: the network of a fit.
        result: that fit.
        taming: how much is left.
    """
    network = truth.network
    missing = (1 - taming.couplings) * network.connectivity @ mean_counts(result)
    common = network.common_drive
    if common is not None:  # at the mean rates it is zero, so nothing goes to the baselines
        common = None if taming.common_drive == 0 else replace(common, weights=taming.common_drive * common.weights)
    weaker = replace(
        network,
        coupling_filters=taming.couplings * network.coupling_filters,
        baseline=network.baseline + missing,
        common_drive=common,
    )
    return Truth(weaker, truth.edges)


def mean_counts(result: Result) -> Array:
    """Mean spikes per bin of every unit of a fit, above zero; (unit,)."""
    rates = np.array([row.rate_hz for row in result.unit_rows], dtype=np.float64)
    return np.maximum(np.nan_to_num(rates) * result.bin_width_s, RATE_FLOOR)
