"""What could fake an edge, and how much there is to go by, for every pair and for the whole.

For each pair of recorded units: how often a spike of the sender was followed by one of the receiver inside the window, what a plain
cross-correlogram makes of that, how much of the pair's z-score was taken off as shared input, what its coupling was without
hidden units, how well the likelihood holds it, alone and beside the other senders, and whether other restarts agree on it. For the whole: how many spikes each spike calls up (the spectral radius of the linearised network; the network
sustains itself from one on), and how much of the couplings the plain correlogram knew already.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.models.ceiling import SIGMOID_CEILING

Array = NDArray[np.float64]

PIECE_COUNTS = 1 << 20  # of a recording that is read at once: 8 MiB as floating-point numbers
FEWEST_PAIRS = 10  # fewer do not tell how far couplings follow correlograms
STRONG_RECURRENCE = 0.9
AGREE_WITHIN = 0.5  # of a coupling's size


def spike_pairs(
    counts: NDArray[np.integer[Any]],
    segment_offsets: NDArray[np.int64],
    n_lags: int,
    lost: NDArray[np.bool_] | None = None,
) -> tuple[Array, Array]:
    """Spikes of each sender followed by one of each receiver 1 to `n_lags` bins later, inside a segment.

    Args:
        counts: (bin, unit).
        segment_offsets: first bin of each segment and the end of the last.
        n_lags: length of the window in bins.
        lost: bins in which single units were not observed, (bin, unit), where their counts are zero; None where none is lost.

    Returns:
        The pairs of spikes, and those that constant rates would make; both (post, pre).
    """
    from scipy.sparse import csr_array

    n_units = counts.shape[1]
    found = np.zeros((n_units, n_units))
    total = counts.sum(axis=0, dtype=np.float64)
    rate = total / (max(1, len(counts)) if lost is None else np.maximum(1, len(counts) - lost.sum(axis=0)))
    n_pairs_of_bins = np.zeros((n_units, n_units))
    piece = n_lags + max(1, PIECE_COUNTS // max(1, n_units))
    for start, stop in zip(segment_offsets[:-1].tolist(), segment_offsets[1:].tolist(), strict=True):
        if lost is None:
            n_pairs_of_bins += float(np.minimum(np.arange(stop - start), n_lags).sum())
        for first in range(start, stop, piece):
            end, context = min(first + piece, stop), max(first - n_lags, start)
            here = counts[first:end].astype(np.float64)
            found += csr_array(here).T @ _lately(counts[context:end], first - context, n_lags)
            if lost is not None:
                n_before = _lately(~lost[context:end], first - context, n_lags)
                n_pairs_of_bins += (~lost[first:end]).T.astype(np.float64) @ n_before
    return found, n_pairs_of_bins * np.outer(rate, rate)


def _lately(values: NDArray[Any], n_context: int, n_lags: int) -> Array:
    """Sums over the `n_lags` bins before each bin, as far as there are any; (bin, unit), the bins of context left out."""
    running = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=running[1:])  # whole numbers, which float64 holds exactly
    bins = np.arange(n_context, len(values))
    return np.asarray(running[bins] - running[np.maximum(bins - n_lags, 0)])


def correlogram_z(found: Array, chance: Array) -> Array:
    """Excess of pairs of spikes over constant rates, in standard deviations of a Poisson count; NaN for silent units."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(chance > 0, (found - chance) / np.sqrt(chance), np.nan))


def agreement_of_restarts(connectivity: Array, others: Array) -> tuple[Array, Array]:
    """How far each coupling hangs on where the fit started.

    Args:
        connectivity: of the reported restart, (post, pre).
        others: of the other restarts, at least one, (restart, post, pre).

    Returns:
        Standard deviation over all restarts, and the share of the others that lie within half of the coupling's size of it (and so
        have its sign, too); both (post, pre).
    """
    spread = np.concatenate([connectivity[None], others]).std(axis=0, ddof=1)
    agree = np.abs(others - connectivity) <= AGREE_WITHIN * np.abs(connectivity)
    return spread, agree.mean(axis=0)


def spectral_radius(connectivity: Array, mean_count: Array, *, link: str) -> float:
    """Further spikes that one spike calls up in the linearised network, along its strongest mode.

    Args:
        connectivity: drive per spike, (post, pre), whatever else spikes do to all units included.
        mean_count: mean spikes per bin of every unit.
        link: `softplus`, `exp` or `sigmoid`.
    """
    if link == "sigmoid":
        slope = mean_count * (1 - mean_count / SIGMOID_CEILING)
    else:
        slope = mean_count if link == "exp" else -np.expm1(-mean_count)
    gain = slope[:, None] * connectivity
    return float(np.abs(np.linalg.eigvals(gain)).max()) if np.isfinite(gain).all() and gain.size else math.nan


def share_known_to_correlograms(connectivity: Array, std_error: Array, correlogram: Array) -> float:
    """Squared rank correlation over pairs of the couplings (over their errors, where known) with the plain correlogram's z."""
    from scipy.stats import rankdata

    with np.errstate(divide="ignore", invalid="ignore"):
        z = connectivity / std_error if np.isfinite(std_error).any() else connectivity
    pairs = np.isfinite(z) & np.isfinite(correlogram) & ~np.eye(len(z), dtype=bool)
    if pairs.sum() < FEWEST_PAIRS:
        return math.nan
    a, b = rankdata(z[pairs]), rankdata(correlogram[pairs])
    return float(np.corrcoef(a, b)[0, 1] ** 2) if a.std() and b.std() else math.nan
