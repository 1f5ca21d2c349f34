"""The null distribution of a test statistic, read from the statistics themselves.

Most pairs of units are not connected, so the bulk of their statistics shows what no edge looks like in this recording:
where its centre lies, how wide it is and how heavy its tails are. A generalised normal law, density ∝ exp(−|x / a|^β),
is fitted to the central 95 % by the likelihood of a truncated sample; β = 2 is the normal law and β = 1 Laplace's.
Heavier tails than the normal's are believed where they raise the likelihood by `TAIL_COST_NATS` at least.

Source: Efron, "Large-scale simultaneous hypothesis testing: the choice of a null hypothesis" (JASA 2004).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CENTRAL_SHARE = 0.95
SHAPES = (2.0, 1.7, 1.4, 1.2, 1.0)
TAIL_COST_NATS = 3.0
MIXTURE_SWEEPS = 200
START_EDGE_SPREAD = 4.0
LEAST_EDGE_SPREAD = 2.5  # in spreads of the null; a law that is hardly wider is no law of edges
WITHIN_ONE_SIGMA = 0.6826894921370859


@dataclass(frozen=True)
class EmpiricalNull:
    """A generalised normal law.

    Attributes:
        centre: its median.
        spread: half the width of its central 68 %, the standard deviation where it is normal.
        shape: β; 2 for a normal law, less for heavier tails.
        n: how many statistics it was fitted to.
    """

    centre: float
    spread: float
    shape: float
    n: int

    def p_value(self, statistic: Array) -> Array:
        """Two-sided; the spread counts as 1 where it is less, since the model's own errors are the least there is."""
        from scipy.stats import gennorm

        off = np.abs(statistic - self.centre) / self._scale
        return np.asarray(2 * gennorm.sf(off, self.shape))

    def half_width(self, level: float) -> float:
        """Half the width of its central share `level`, again with a spread of at least 1."""
        from scipy.stats import gennorm

        return float(gennorm.ppf(0.5 + level / 2, self.shape)) * self._scale

    @property
    def _scale(self) -> float:
        from scipy.stats import gennorm

        return max(1.0, self.spread) / float(gennorm.ppf(0.5 + WITHIN_ONE_SIGMA / 2, self.shape))


def fit_null(statistic: Array) -> EmpiricalNull:
    """Fit the null to statistics most of which are null; (n,), finite."""
    found = _fit_each_shape(statistic)
    costs = [cost + (TAIL_COST_NATS if null.shape < 2 else 0.0) for cost, null in found]
    return found[int(np.argmin(costs))][1]


def fit_nulls(groups: Sequence[Array]) -> list[EmpiricalNull]:
    """A null for each of several groups of statistics: centre and spread of its own, and one shape for all.

    A hundred statistics do not show how heavy their tail is. So each group is first brought to centre 0 and spread 1, and the
    shape is read from all of them together, as it would be from one null.

    Args:
        groups: each (n,), finite, most of them null.
    """
    fits = [_fit_each_shape(group) for group in groups]
    normal = [found[0][1] for found in fits]
    alike = [(group - null.centre) / max(null.spread, 1e-9) for group, null in zip(groups, normal, strict=True)]
    shape = SHAPES.index(fit_null(np.concatenate(alike)).shape)
    return [found[shape][1] for found in fits]


def _fit_each_shape(statistic: Array) -> list[tuple[float, EmpiricalNull]]:
    """For each of `SHAPES` the best law of that shape, behind its negative log likelihood."""
    from scipy.optimize import minimize
    from scipy.stats import gennorm

    middle = float(np.median(statistic))
    reach = float(np.quantile(np.abs(statistic - middle), CENTRAL_SHARE))
    central = statistic[np.abs(statistic - middle) <= reach]
    if reach == 0:
        return [(0.0, EmpiricalNull(middle, 0.0, shape, statistic.size)) for shape in SHAPES]

    def cost(place: Array, shape: float) -> float:
        centre, scale = float(place[0]), math.exp(float(place[1]))
        inside = gennorm.cdf((middle + reach - centre) / scale, shape)
        inside -= gennorm.cdf((middle - reach - centre) / scale, shape)
        log_density = gennorm.logpdf((central - centre) / scale, shape) - math.log(scale)
        return float(central.size * math.log(max(inside, 1e-12)) - log_density.sum())

    found = []
    for shape in SHAPES:
        one_sigma = float(gennorm.ppf(0.5 + WITHIN_ONE_SIGMA / 2, shape))
        start = float(np.quantile(np.abs(statistic - middle), WITHIN_ONE_SIGMA)) / one_sigma
        best = minimize(cost, [middle, math.log(max(start, 1e-9))], args=(shape,), method="Nelder-Mead")
        spread = math.exp(float(best.x[1])) * one_sigma
        found.append((float(best.fun), EmpiricalNull(float(best.x[0]), spread, shape, statistic.size)))
    return found


@dataclass(frozen=True)
class Mixture:
    """Statistics of pairs without and with an edge together.

    Attributes:
        null: normal law of those without.
        share: of those with an edge.
        edge_spread: standard deviation of theirs, about the same centre.
    """

    null: EmpiricalNull
    share: float
    edge_spread: float


def fit_mixture(statistic: Array) -> Mixture:
    """Two normal laws about one centre, the wider one for edges, by expectation and maximisation; (n,), finite.

    For networks in which edges are too many to be left out as tails. It trusts that what is far off is an edge, so it is only for
    recordings in which the narrow law is as narrow as the standard errors say.
    """
    from scipy.stats import norm

    centre, spread, share, wide = float(np.median(statistic)), 1.0, 0.1, START_EDGE_SPREAD
    for _ in range(MIXTURE_SWEEPS):
        null = (1 - share) * norm.pdf(statistic, centre, spread)
        edge = share * norm.pdf(statistic, centre, wide)
        # Where both underflow it is an edge.
        is_edge = np.where(null + edge > 0, edge / np.maximum(null + edge, 1e-300), 1.0)
        is_null = 1 - is_edge
        share = float(is_edge.mean())
        centre = float((is_null * statistic).sum() / max(is_null.sum(), 1e-9))
        off = np.square(statistic - centre)
        spread = max(math.sqrt(float((is_null * off).sum() / max(is_null.sum(), 1e-9))), 1e-6)
        wide = max(math.sqrt(float((is_edge * off).sum() / max(is_edge.sum(), 1e-9))), LEAST_EDGE_SPREAD * spread)
    return Mixture(EmpiricalNull(centre, spread, 2.0, statistic.size), share, wide)


def benjamini_hochberg(p_value: Array) -> Array:
    """The least false-discovery rate at which each is called; (n,).

    Source: Benjamini and Hochberg, "Controlling the false discovery rate" (J R Stat Soc B 1995).
    """
    order = np.argsort(p_value)
    scaled = p_value[order] * (p_value.size / np.arange(1, p_value.size + 1))  # never below p, rounding included
    out = np.empty_like(p_value)
    out[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return out
