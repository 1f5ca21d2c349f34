"""What a covariate does to the drive over its values, as weighted sums of its columns: for pictures and tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.covariate_columns import Curve, FittedTerm
from spikefit.covariate_design.bases import harmonics, lag_basis, splines

Array = NDArray[np.float64]

N_POINTS = 33
LINEAR_REACH_SD = 2.0


def curves_of(terms: tuple[FittedTerm, ...], bin_width_s: float) -> list[Curve]:
    """A curve for each series of each covariate. Over values it is the drive less its average over the recording; over lags, what
    one bin in which the value is one standard deviation up adds later.
    """
    n_columns = sum(len(term.columns) for term in terms)
    out, first = [], 0
    for term in terms:
        mean, sd = np.array(term.mean), np.array(term.sd)
        places = [0] if term.basis == "cyclic" else range(len(term.series))
        for place in places:
            own = np.array(term.series_of) == place
            x, raw, label = _functions(term, place, int(own.sum()), bin_width_s)
            scaled = raw / sd[own] if term.basis == "lags" else (raw - mean[own]) / sd[own]
            rows = np.zeros((x.size, n_columns))
            rows[:, first + np.flatnonzero(own)] = scaled
            several = len(term.series) > 1 and term.basis != "cyclic"
            out.append(Curve(f"{term.name} {term.series[place]}" if several else term.name, label, x, rows))
        first += len(term.columns)
    return out


def _functions(term: FittedTerm, place: int, n_columns: int, bin_width_s: float) -> tuple[Array, Array, str]:
    """Values, the functions at them before they are standardised, and what the values are."""
    label = term.name + (f", {term.unit}" if term.unit else "")
    if term.basis == "cyclic":
        x = np.linspace(-np.pi, np.pi, N_POINTS)
        return x, harmonics(x, n_columns // 2), f"{term.name}, radians"
    if term.basis == "lags":
        assert term.window_s is not None
        basis = lag_basis(term.window_s, bin_width_s, n_columns) * term.value_sd[place]
        lags = np.arange(len(basis)) * bin_width_s
        x = np.linspace(0.0, lags[-1], N_POINTS)
        return x, np.stack([np.interp(x, lags, column) for column in basis.T], axis=1), f"time since {term.name}, s"
    if term.basis == "b-spline":
        knots = np.array(term.knots[place])
        x = np.linspace(knots[0], knots[-1], N_POINTS)
        return x, splines(x, knots), label
    reach = LINEAR_REACH_SD * term.value_sd[place]
    x = np.linspace(term.value_mean[place] - reach, term.value_mean[place] + reach, N_POINTS)
    return x, x[:, None], label
