"""The Gram matrix of the features by spikes: of many units that fire rarely, from pairs of spikes instead of from features.

With y the counts and b the basis a feature is x[m, k, t] = Σ_l b[l, k] y[m, t − 1 − l], and summed over all bins

    Σ_t x[m, k, t] x[m', k', t] = Σ_d A_d[k, k'] R_d[m, m'],    A_d[k, k'] = Σ_l b[l, k] b[l + d, k'],
    R_d[m, m'] = Σ_s y[m, s] y[m', s − d],

with d from 1 − lags to lags − 1, and R_{−d} the transpose of R_d. The R_d are products of a sparse matrix with itself, moved:
their work grows with pairs of spikes. What is summed over a stretch of bins differs from the sum over all only in the few
bins behind and before it that its context still reaches; their features are made, and taken off again.

For a thousand units with 36 spikes in a bin, 20 lags and 6 functions that is about a thousandth of the multiplications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from spikefit.models.coupling import history_features

STRETCH_BINS = 32_768  # bins whose spikes are paired at a time, so that they stay in the caches
SHORT_IN_LAGS = 6  # a stretch of fewer histories than this costs less by its features

CountsOf = Callable[[int, int], Tensor]


def spike_gram(
    counts_of: CountsOf, ranges: NDArray[np.int64], basis: Float[Tensor, "lag basis"]
) -> Float[Tensor, "feature feature"]:
    """Sums of the outer products of the coupling features over the scored bins, not centred; float64.

    Args:
        counts_of: gives the counts from one bin to another, (unit, bin), of any type.
        ranges: scored `[start, stop)` bins, each preceded by a whole history; (n, 2).
        basis: (lag, basis).
    """
    basis = basis.double()
    n_lags = len(basis)
    long = [(a, b) for a, b in ranges.tolist() if b - a >= SHORT_IN_LAGS * n_lags]
    short = [(a, b) for a, b in ranges.tolist() if b - a < SHORT_IN_LAGS * n_lags]
    pairs: NDArray[np.float64] | None = None
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        for start, stop in long:
            for earlier, counts in _stretches(counts_of, start - n_lags, stop - 1, n_lags):
                found = _lagged_products(earlier, counts, n_lags, pool)
                pairs = found if pairs is None else np.add(pairs, found, out=pairs)
    n_units = counts_of(0, 1).shape[0]
    total = torch.zeros(n_units * basis.shape[1], n_units * basis.shape[1], dtype=torch.float64)
    if pairs is not None:
        _expand(torch.from_numpy(pairs), basis, total)
    for features, sign in _others(counts_of, long, short, basis):
        total.addmm_(features, features.T, alpha=sign)
    return total


def _stretches(counts_of: CountsOf, start: int, stop: int, n_lags: int) -> Iterator[tuple[int, sparse.csr_array]]:
    """Stretches of bins, each with up to `n_lags - 1` bins that come before it; how many those are, and (bin, unit)."""
    for first in range(start, stop, STRETCH_BINS):
        earlier = min(n_lags - 1, first - start)
        counts = counts_of(first - earlier, min(stop, first + STRETCH_BINS)).T.contiguous().numpy()
        yield earlier, sparse.csr_array(counts.astype(np.float64, copy=False))


def _lagged_products(
    earlier: int, counts: sparse.csr_array, n_lags: int, pool: ThreadPoolExecutor
) -> NDArray[np.float64]:
    """R_d of a stretch's own bins with themselves and what comes before; (lag, unit, unit)."""
    n_bins, n_units = counts.shape
    own = counts[earlier:].T.tocsr()

    def at(lag: int) -> NDArray[np.float64]:
        # Row s of what is moved is row s − lag of the counts; where nothing comes before, it is empty.
        missing = max(0, lag - earlier)
        starts = counts.indptr[earlier - lag + missing : n_bins - lag + 1]
        here = slice(starts[0], starts[-1])
        rows = np.pad(starts - starts[0], (missing, 0))
        moved = sparse.csr_array((counts.data[here], counts.indices[here], rows), shape=(n_bins - earlier, n_units))
        product: NDArray[np.float64] = (own @ moved).toarray()
        return product

    return np.stack(list(pool.map(at, range(n_lags))))


def _expand(pairs: Float[Tensor, "lag unit unit2"], basis: Tensor, total: Tensor) -> None:
    """Add what the pairs of spikes give to the matrix of the features."""
    n_lags, n_functions = basis.shape
    n_units = pairs.shape[1]
    products = torch.stack([basis[: n_lags - d].T @ basis[d:] for d in range(n_lags)])  # (lag, basis, basis)
    products[0] *= 0.5  # half of it comes again with the transpose
    by_unit = total.view(n_units, n_functions, n_units, n_functions)
    for m in range(n_units):
        by_unit[m] = torch.einsum("dn,dkj->knj", pairs[:, m], products)
    for m in range(0, len(total), n_functions):  # the transpose, a strip and its mirror at a time
        strip = total[m : m + n_functions, m:] + total[m:, m : m + n_functions].T
        total[m : m + n_functions, m:] = strip
        total[m:, m : m + n_functions] = strip.T


def _others(
    counts_of: CountsOf, long: list[tuple[int, int]], short: list[tuple[int, int]], basis: Tensor
) -> Iterator[tuple[Float[Tensor, "feature bin"], float]]:
    """Features of the bins that were summed over and are not scored (−1), and of the short stretches (1)."""
    n_lags = len(basis)
    for start, stop in short:
        yield history_features(counts_of(start - n_lags, stop).double(), basis), 1.0
    for start, stop in long:
        # A history in front, or behind, in which nothing fired. The stretch's last bin acts on none of its bins.
        before = torch.nn.functional.pad(counts_of(start - n_lags, start).double(), (n_lags, 0))
        behind = torch.nn.functional.pad(counts_of(stop - n_lags, stop - 1).double(), (0, n_lags))
        yield history_features(before, basis), -1.0
        yield history_features(behind, basis), -1.0
