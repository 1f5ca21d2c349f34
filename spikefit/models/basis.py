"""Temporal bases for coupling filters, as matrices of shape (lag, basis).

Row `l` is the effect `l + 1` bins after a spike: filters are causal and never see the present bin. Columns have unit
energy, so that one ridge penalty treats a narrow and a broad function alike.

Dictionary to the papers: B = `basis`, L = number of lags, K = number of functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError

Basis = NDArray[np.float64]

LARGEST_CONDITION = 1000.0  # of a basis; beyond it weights trade against each other and rounding decides


def make_basis(name: str, *, window_s: float, bin_width_s: float, n_functions: int) -> Basis:
    """Build a basis over a history window.

    Where the window holds no more bins than `n_functions`, every lag gets a weight of its own (the `raw` basis): more
    functions than lags could not be told apart.

    Args:
        name: `raised-cosine-log`, `raised-cosine-linear`, `b-spline`, `exponential` or `raw`.
        window_s: length of the history in seconds; it is rounded to whole bins.
        bin_width_s: bin width in seconds.
        n_functions: number of basis functions; ignored by `raw`.

    Returns:
        Array of shape (n_lags, n_basis) with orthonormal-scale columns (each of unit energy).

    Raises:
        UsageError: if the window is shorter than one bin.
        ValueError: for an unknown name or fewer than one function.
    """
    if name not in BASES:
        raise ValueError(f"basis must be one of {', '.join(BASES)}, got {name!r}")
    if n_functions < 1:
        raise ValueError(f"n_functions must be at least 1, got {n_functions}")
    n_lags = round(window_s / bin_width_s)
    if n_lags < 1:
        raise UsageError(
            f"the history window ({window_s:g} s) is shorter than one bin ({bin_width_s:g} s).",
            hint="pass a longer --window or a smaller --bin",
        )
    columns = BASES["raw" if n_lags <= n_functions else name](n_lags, n_functions)
    return np.asarray(columns / np.sqrt(np.square(columns).sum(axis=0)))


def raised_cosine_log(n_lags: int, n_functions: int) -> Basis:
    """Raised cosines, evenly spaced over log lag: narrow just behind a spike, broad far behind it.

    The first peaks at the first lag and the last has decayed to zero at the end of the window. Many functions over few
    lags would leave some of the narrow ones without a lag of their own; the warping is then weakened, towards even
    spacing, until all can be told apart.

    Source: Pillow et al., "Spatio-temporal correlations and visual signalling in a complete neuronal population"
    (Nature 2008), methods.
    """
    offset = 1.0
    columns = _cosines(n_lags, n_functions, offset)
    while np.linalg.cond(columns) > LARGEST_CONDITION and offset < 100 * n_lags:
        offset *= 2
        columns = _cosines(n_lags, n_functions, offset)
    return columns


def raised_cosine_linear(n_lags: int, n_functions: int) -> Basis:
    """Raised cosines, evenly spaced over the lag and all equally broad.

    The first peaks at the first lag and the last has decayed to zero at the end of the window. For effects as fine late
    in the window as early in it.
    """
    return _raised(np.arange(n_lags, dtype=np.float64), n_lags / (n_functions + 1), n_functions)


def b_spline(n_lags: int, n_functions: int) -> Basis:
    """Cubic B-splines with evenly spaced knots: all filters that are piecewise cubic between them, and smooth.

    Filters are free at the first lag and zero one bin behind the window. With fewer than three functions their degree is
    the number of functions.

    Source: de Boor, "A Practical Guide to Splines" (1978), as in `scipy.interpolate.BSpline`.
    """
    from scipy.interpolate import BSpline

    degree = min(3, n_functions)
    breaks = np.linspace(0.0, n_lags, n_functions + 2 - degree)
    knots = np.concatenate([np.full(degree, breaks[0]), breaks, np.full(degree, breaks[-1])])
    # The last function is the only one that is not zero at the end of the window.
    return np.asarray(BSpline.design_matrix(np.arange(n_lags, dtype=np.float64), knots, degree).toarray()[:, :-1])


def _cosines(n_lags: int, n_functions: int, offset: float) -> Basis:
    warped = np.log1p(np.arange(n_lags) / offset)
    return _raised(warped, math.log1p(n_lags / offset) / (n_functions + 1), n_functions)


def _raised(warped: Basis, spacing: float, n_functions: int) -> Basis:
    """Raised cosines four spacings broad, with peaks at 0, one spacing, two, …"""
    phase = (warped[:, None] - spacing * np.arange(n_functions)) * (math.pi / (2 * spacing))
    return np.asarray(0.5 * (1 + np.cos(np.clip(phase, -math.pi, math.pi))))


def exponential(n_lags: int, n_functions: int) -> Basis:
    """Decaying exponentials, their time constants evenly spaced in log from one bin to a third of the window."""
    longest = max(n_lags / 3.0, 2.0)  # below that the functions of a very short window would all be one
    taus = np.geomspace(1.0, longest, n_functions) if n_functions > 1 else np.array([math.sqrt(longest)])
    return np.asarray(np.exp(-np.arange(n_lags)[:, None] / taus))


def raw(n_lags: int, n_functions: int) -> Basis:
    """One function per lag; the count asked for has no part in it."""
    del n_functions
    return np.eye(n_lags)


BASES: dict[str, Callable[[int, int], Basis]] = {
    "raised-cosine-log": raised_cosine_log,
    "raised-cosine-linear": raised_cosine_linear,
    "b-spline": b_spline,
    "exponential": exponential,
    "raw": raw,
}
