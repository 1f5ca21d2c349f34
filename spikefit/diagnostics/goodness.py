"""How well a fit describes each unit: time rescaling for binned counts, and predictive scores.

If the expected counts λ[t] are right, spikes laid out on the axis of summed expected count are a Poisson process of rate one, and
the intervals between them are independent and exponential. Bins would spoil that: a spike only known to lie in a bin has no place on
this axis, and taking the bin's edge makes every fit look wrong where λ is not small. So each spike is placed at random inside its
bin's stretch; given their number, spikes of a Poisson bin lie there uniformly, and the intervals are exponential exactly. For bins of
at most one spike this is the discrete-time correction of Haslinger, Pipa & Brown (Neural Computation 22, 2010; Brown et al., Neural
Computation 14, 2002, for the theorem). Because the process has no memory, stretches of time that do not touch can be laid end to end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.empirical_null import benjamini_hochberg

Array = NDArray[np.float64]

FEWEST_SPIKES = 40  # fewer intervals are no distribution to speak of
LEVEL = 0.05
N_LAGS = 10  # of the autocorrelation of rescaled intervals
CURVE_LEVELS = np.linspace(0.0, 1.0, 51)


COLUMNS = (
    *("judged_spikes", "bits_per_spike", "pseudo_r2", "ks_distance", "ks_p_value", "ks_q_value"),
    *("interval_correlation", "interval_correlation_p_value"),
)


@dataclass(frozen=True, eq=False)
class Goodness:
    """How well each unit is described.

    Attributes:
        columns: by name, one number per unit; NaN where a unit has too few spikes.
        ks_curve: share of a unit's rescaled intervals, as quantiles, below each of `CURVE_LEVELS`; (unit, level).
        metrics: figures for `metrics.json`.
    """

    columns: dict[str, Array]
    ks_curve: Array
    metrics: dict[str, Any] = field(default_factory=dict)


def goodness_of_fit(
    counts: NDArray[np.integer[Any]],
    expected_count: NDArray[np.floating[Any]],
    constant_count: Array,
    *,
    seed: int,
    lost: NDArray[np.bool_] | None = None,
) -> Goodness:
    """Judge every unit.

    Args:
        counts: spikes in each bin; (bin, unit).
        expected_count: what the fit expects there; (bin, unit).
        constant_count: what constant rates expect, above zero; (unit,).
        seed: of the places of spikes inside their bins.
        lost: bins in which single units were not observed, (bin, unit); each is judged by its own bins. None where none is lost.
    """
    from scipy.stats import chi2, kstwo

    rng = np.random.default_rng([seed, 31])
    n_units = counts.shape[1]
    columns = {name: np.full(n_units, np.nan) for name in COLUMNS}
    ks_curve = np.full((n_units, CURVE_LEVELS.size), np.nan)
    for unit in range(n_units):
        own = slice(None) if lost is None else ~lost[:, unit]
        x, expected = counts[own, unit].astype(np.float64), expected_count[own, unit].astype(np.float64)
        columns["bits_per_spike"][unit], columns["pseudo_r2"][unit] = scores(x, expected, float(constant_count[unit]))
        columns["judged_spikes"][unit] = x.sum()
        levels = rescaled_intervals(counts[own, unit], expected, rng)
        if levels.size < FEWEST_SPIKES:
            continue
        distance = ks_distance(levels)
        correlation = interval_correlation(levels)
        n = levels.size
        # Ljung and Box (Biometrika 65, 1978): all lags in one number.
        portmanteau = n * (n + 2) * float(np.sum(np.square(correlation) / (n - np.arange(1, N_LAGS + 1))))
        columns["ks_distance"][unit], columns["ks_p_value"][unit] = distance, kstwo.sf(distance, n)
        columns["interval_correlation"][unit] = correlation[0]
        columns["interval_correlation_p_value"][unit] = chi2.sf(portmanteau, N_LAGS)
        ks_curve[unit] = np.searchsorted(np.sort(levels), CURVE_LEVELS, side="right") / n
    return Goodness(columns, ks_curve, _metrics(columns))


def rescaled_intervals(counts: NDArray[np.integer[Any]], expected_count: Array, rng: np.random.Generator) -> Array:
    """Rescaled intervals of one unit as quantiles of the exponential law, uniform on [0, 1] if the fit is right; (spike,).

    Args:
        counts: spikes in each bin; (bin,).
        expected_count: of each bin; (bin,).
        rng: places spikes inside their bins.
    """
    bins = np.repeat(np.arange(counts.size), counts)
    ends = np.cumsum(expected_count)
    places = np.sort(ends[bins] - expected_count[bins] * rng.random(bins.size))
    return np.asarray(-np.expm1(-np.diff(places, prepend=0.0)))


def ks_distance(levels: Array) -> float:
    """Largest distance between the distribution of `levels` and the uniform one."""
    ordered, n = np.sort(levels), levels.size
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


def interval_correlation(levels: Array) -> Array:
    """Autocorrelation of the intervals at lags of 1 to `N_LAGS` intervals, after they were made normal; (lag,)."""
    from scipy.special import ndtri

    z = ndtri(np.clip(levels, 1e-12, 1 - 1e-12))
    z = z - z.mean()
    power = float(z @ z) or 1.0
    return np.array([float(z[lag:] @ z[:-lag]) / power for lag in range(1, N_LAGS + 1)])


def scores(counts: Array, expected_count: Array, constant_count: float) -> tuple[float, float]:
    """Bits per spike over a constant rate, and the share of its deviance that is explained; NaN without spikes.

    The second is the pseudo-R² of Cameron and Windmeijer (Journal of Econometrics 77, 1997).
    """
    from scipy.special import xlogy

    n_spikes = float(counts.sum())
    if not n_spikes:
        return float("nan"), float("nan")
    expected = np.maximum(expected_count, 1e-30)
    fit = float((xlogy(counts, expected) - expected).sum())
    constant = float((xlogy(counts, constant_count) - constant_count).sum())
    perfect = float((xlogy(counts, counts) - counts).sum())
    return (fit - constant) / np.log(2) / n_spikes, (fit - constant) / (perfect - constant)


def _metrics(columns: dict[str, Array]) -> dict[str, Any]:
    p = columns["ks_p_value"]
    tested = np.isfinite(p)
    if not tested.any():
        return {"ks_units_tested": 0}
    columns["ks_q_value"][tested] = benjamini_hochberg(p[tested])
    return {
        "ks_units_tested": int(tested.sum()),
        "ks_units_failed": int((columns["ks_q_value"][tested] <= LEVEL).sum()),
        "ks_q_level": LEVEL,
        "ks_median_distance": float(np.median(columns["ks_distance"][tested])),
    }
