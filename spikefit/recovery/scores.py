"""How much of a known network a fit has found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.recovery.truth import Truth
from spikefit.results import Result
from spikefit.simulate import Simulation

Array = NDArray[np.float64]

FOUND_CORRELATION = 0.35  # of a hidden unit's posterior counts with the true ones, bin by bin


@dataclass(frozen=True)
class RecoveryScore:
    """One simulated recording, fitted.

    Attributes:
        network: `fit` or `random`.
        length: of the simulated recording in lengths of the recording.
        seed: of the simulation.
        n_true, n_called, n_right: edges there, called, and both.
        precision, recall, false_discovery_proportion: of the calls; NaN where nothing was called or there is nothing to find.
        average_precision: of the ranking of pairs by size in standard errors (by size alone where there are none).
        weight_correlation: of true and estimated couplings over all pairs.
        coverage: share of the pairs whose interval holds the true coupling; NaN without intervals.
        edge_coverage: the same over the true edges.
        n_hidden_true, n_hidden_fitted, n_hidden_found: hidden units there, in the fit, and matched by their activity.
    """

    network: str
    length: float
    seed: int
    n_true: int
    n_called: int
    n_right: int
    precision: float
    recall: float
    false_discovery_proportion: float
    average_precision: float
    weight_correlation: float
    coverage: float
    edge_coverage: float
    n_hidden_true: int
    n_hidden_fitted: int
    n_hidden_found: int


def score_recovery(
    truth: Truth, simulation: Simulation, fit: Result, called: NDArray[np.bool_], *, network: str, length: float
) -> RecoveryScore:
    """Hold a fit against the network that was simulated.

    Args:
        truth: the network.
        simulation: what it did.
        fit: to its visible counts.
        called: pairs that the fit calls edges, (post, pre).
        network: its name.
        length: of the recording.
    """
    n = truth.network.n_visible
    pairs = ~np.eye(n, dtype=bool)
    true, weights, found = truth.edges, truth.network.connectivity[:n, :n], fit.connectivity[:n, :n]
    n_true, n_called, n_right = int(true.sum()), int(called.sum()), int((called & true).sum())
    low, high = fit.ci_low[:n, :n], fit.ci_high[:n, :n]
    known = pairs & np.isfinite(low) & np.isfinite(high)
    inside = (low <= weights) & (weights <= high)
    error = fit.std_error[:n, :n]
    size = np.abs(found / error) if np.isfinite(error[pairs]).all() else np.abs(found)
    return RecoveryScore(
        network=network,
        length=length,
        seed=simulation.seed,
        n_true=n_true,
        n_called=n_called,
        n_right=n_right,
        precision=_share(n_right, n_called),
        recall=_share(n_right, n_true),
        false_discovery_proportion=_share(n_called - n_right, n_called),
        average_precision=average_precision(size[pairs], true[pairs]),
        weight_correlation=_correlation(found[pairs], weights[pairs]),
        coverage=_share(int((inside & known).sum()), int(known.sum())),
        edge_coverage=_share(int((inside & known & true).sum()), int((known & true).sum())),
        n_hidden_true=truth.network.n_hidden,
        n_hidden_fitted=fit.n_hidden,
        n_hidden_found=hidden_found(simulation, fit),
    )


def mean_scores(scores: Sequence[RecoveryScore]) -> dict[str, float]:
    """Means over simulations of all that was counted and measured; what was never known is NaN."""
    means = {}
    for item in fields(RecoveryScore)[3:]:
        values = np.array([getattr(score, item.name) for score in scores], dtype=np.float64)
        known = values[np.isfinite(values)]
        means[item.name] = float(known.mean()) if known.size else math.nan
    return means


def average_precision(size: Array, true: NDArray[np.bool_]) -> float:
    """Mean over the true ones of the precision down to each, pairs ranked by size; ties count as one step."""
    if not true.any():
        return math.nan
    order = np.argsort(-size, kind="stable")
    last = np.append(np.diff(size[order]) != 0, True)
    hits = np.cumsum(true[order])[last]
    ranks = np.arange(1, size.size + 1)[last]
    return float((np.diff(hits, prepend=0) * hits / ranks).sum() / true.sum())


def hidden_found(simulation: Simulation, fit: Result) -> int:
    """Hidden units of the network that one of the fit follows, matched one to one (the Hungarian method)."""
    if not simulation.network.n_hidden or fit.hidden is None:
        return 0
    from scipy.optimize import linear_sum_assignment

    bins = np.rint(fit.hidden.time_s / fit.bin_width_s).astype(np.int64)
    true, found = simulation.hidden_counts[bins].astype(np.float64), fit.hidden.expected_count.astype(np.float64)
    likeness = np.array([[_correlation(a, b) for b in found.T] for a in true.T])
    likeness = np.nan_to_num(likeness)
    return int((likeness[linear_sum_assignment(-likeness)] >= FOUND_CORRELATION).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _correlation(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])
