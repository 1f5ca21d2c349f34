"""Functions of a covariate's value, or of its past, as columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.models.basis import raised_cosine_log

Array = NDArray[np.float64]

DEGREE = 3
# More values would not move a quantile by anything that matters.
MOST_VALUES_FOR_KNOTS = 100_000


def spline_knots(values: Array, n_functions: int) -> Array:
    """Knots of cubic splines with about as many values between each two; a value that many share makes but one knot.

    Args:
        values: known ones; shape (n,).
        n_functions: columns that `splines` shall give; fewer where knots fall together.
    """
    values = values[:: max(1, values.size // MOST_VALUES_FOR_KNOTS)]
    return np.unique(np.quantile(values, np.linspace(0.0, 1.0, n_functions + 2 - DEGREE)))


def splines(values: Array, knots: Array) -> Array:
    """Cubic B-splines of a value, the first left out because all together sum to one; held beyond the outer knots.

    Args:
        values: shape (n,).
        knots: in order, at least two.

    Returns:
        Shape (n, knots + 1).

    Source: de Boor, "A Practical Guide to Splines" (1978), as in `scipy.interpolate.BSpline`.
    """
    from scipy.interpolate import BSpline

    padded = np.concatenate([np.full(DEGREE, knots[0]), knots, np.full(DEGREE, knots[-1])])
    held = np.clip(values, knots[0], knots[-1])
    return np.asarray(BSpline.design_matrix(held, padded, DEGREE).toarray()[:, 1:])


def harmonics(angle: Array, n_functions: int) -> Array:
    """Sine and cosine of the first multiples of an angle in radians; shape (n, 2 · n_functions)."""
    turns = angle[:, None] * np.arange(1, n_functions + 1)
    return np.stack([np.sin(turns), np.cos(turns)], axis=2).reshape(angle.size, -1)


def lag_basis(window_s: float, bin_width_s: float, n_functions: int) -> Array:
    """Raised cosines over the present bin and the past, evenly spaced in log lag, of unit energy; (lag, function).

    Where the window holds no more bins than functions every lag gets a weight of its own.
    """
    n_lags = max(1, round(window_s / bin_width_s))
    columns = np.eye(n_lags) if n_lags <= n_functions else raised_cosine_log(n_lags, n_functions)
    return np.asarray(columns / np.sqrt(np.square(columns).sum(axis=0)))


def past(values: Array, basis: Array, segment_offsets: NDArray[np.int64]) -> Array:
    """A series convolved with functions of the lag, segment by segment.

    Before a segment nothing was measured: the first value of the segment is taken to have stood there.

    Args:
        values: one per bin; shape (n_bins,).
        basis: row `l` weighs the value `l` bins ago; shape (n_lags, n_functions).
        segment_offsets: first bin of each segment and the end of the last.
    """
    from scipy.signal import oaconvolve

    out = np.empty((values.size, basis.shape[1]))
    n_before = len(basis) - 1
    for start, stop in zip(segment_offsets[:-1].tolist(), segment_offsets[1:].tolist(), strict=True):
        if stop > start:
            padded = np.concatenate([np.full(n_before, values[start]), values[start:stop]])
            out[start:stop] = oaconvolve(padded[:, None], basis, mode="valid", axes=0)
    return out
