"""The null that is read from the statistics, against laws that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spikefit.diagnostics.empirical_null import EmpiricalNull, benjamini_hochberg, fit_mixture, fit_null


@pytest.mark.parametrize(("centre", "spread"), [(0.0, 1.0), (-1.2, 2.5)])
def test_centre_and_spread_are_found_under_a_few_edges(centre: float, spread: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(centre, spread, 2000)
    x[:60] += spread * rng.uniform(6, 30, 60)
    null = fit_null(x)
    # The standard error of a spread from 2000 is about 2 %, that of a centre 0.02 spreads; four of each.
    assert null.centre == pytest.approx(centre, abs=0.1 * spread)
    assert null.spread == pytest.approx(spread, rel=0.1)
    assert null.shape == 2.0
    assert null.n == 2000
    p = null.p_value(x[60:])
    assert stats.kstest(p, "uniform").pvalue > 1e-4
    if spread > 1:
        wald = 2 * stats.norm.sf(np.abs(x[60:]))
        assert stats.kstest(wald, "uniform").pvalue < 1e-4  # the check sees a null that is off


def test_heavy_tails_are_believed_where_they_show_and_only_there() -> None:
    rng = np.random.default_rng(2)
    assert fit_null(rng.laplace(size=4000)).shape <= 1.2
    assert [fit_null(rng.standard_normal(380)).shape for _ in range(8)].count(2.0) >= 6


def test_a_spread_below_one_counts_as_one() -> None:
    x = np.array([0.0, 1.0, 3.0])
    narrow, unit = EmpiricalNull(0.0, 0.5, 2.0, 100), EmpiricalNull(0.0, 1.0, 2.0, 100)
    np.testing.assert_allclose(narrow.p_value(x), 2 * stats.norm.sf(x), rtol=1e-9)
    np.testing.assert_allclose(narrow.p_value(x), unit.p_value(x))
    assert unit.half_width(0.9) == pytest.approx(stats.norm.ppf(0.95))
    assert EmpiricalNull(0.0, 2.0, 2.0, 100).half_width(0.9) == pytest.approx(2 * stats.norm.ppf(0.95))


def test_the_spread_is_half_the_width_of_the_central_68_percent_whatever_the_shape() -> None:
    null = EmpiricalNull(0.0, 3.0, 1.0, 100)
    assert null.p_value(np.array([3.0]))[0] == pytest.approx(2 * stats.norm.sf(1.0))
    assert null.p_value(np.array([15.0]))[0] > 2 * stats.norm.sf(5.0)  # the tail is heavier


def test_q_values_are_those_of_scipy() -> None:
    p = np.random.default_rng(3).random(200) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p, method="bh"), rtol=1e-12)


def test_a_mixture_tells_many_edges_from_the_bulk() -> None:
    rng = np.random.default_rng(3)
    is_edge = rng.random(4000) < 0.2
    found = fit_mixture(np.where(is_edge, 6 * rng.standard_normal(4000), rng.standard_normal(4000)))
    # Standard errors over 4000: share 0.008, spread of the bulk 0.02, spread of the edges 0.2; five of each.
    assert abs(found.share - 0.2) < 0.04
    assert abs(found.null.spread - 1) < 0.1
    assert abs(found.edge_spread - 6) < 1
    # The twin: without edges there is hardly any share.
    assert fit_mixture(rng.standard_normal(4000)).share < 0.04
