"""Which pairs are called: calibrated where the standard errors are not, silent where too little is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.significance import FEWEST_PAIRS, judge_edges

N = 20


def made_up(seed: int, *, too_narrow: float, shared: float) -> tuple[NDArray[np.float64], ...]:
    """Couplings, their standard errors (so many times too small) and which are edges."""
    rng = np.random.default_rng(seed)
    std_error = rng.uniform(0.1, 0.3, (N, N))
    edges = (rng.random((N, N)) < 0.05) & ~np.eye(N, dtype=bool)
    z = too_narrow * (rng.standard_normal((N, N)) + 10 * edges)
    z += shared * rng.exponential(size=(N, 1)) * rng.exponential(size=(1, N))
    return z * std_error, std_error, edges


def realised(too_narrow: float, shared: float) -> tuple[float, float]:
    """Mean share of false calls and of edges found, over five matrices."""
    false, found = [], []
    for seed in range(5):
        weights, errors, edges = made_up(seed, too_narrow=too_narrow, shared=shared)
        called = judge_edges(weights, errors, level=0.9).q_value <= 0.05
        false.append((called & ~edges).sum() / max(1, called.sum()))
        found.append((called & edges).sum() / edges.sum())
    return float(np.mean(false)), float(np.mean(found))


def test_false_calls_stay_few_where_the_errors_are_right_too_small_or_beside_a_shared_input() -> None:
    # 0.05 is asked for; over five matrices of about 19 edges the mean has a standard error of about 0.03.
    for too_narrow, shared in ((1.0, 0.0), (3.0, 0.0), (1.0, 1.5)):
        false, found = realised(too_narrow, shared)
        assert false < 0.15, (too_narrow, shared)
        assert found > 0.9, (too_narrow, shared)


def test_the_model_errors_alone_would_have_called_far_more() -> None:
    weights, errors, edges = made_up(0, too_narrow=3.0, shared=0.0)
    z = np.abs(weights / errors)[~np.eye(N, dtype=bool) & ~edges]
    assert (z > 3).mean() > 0.2
    test = judge_edges(weights, errors, level=0.9)
    assert 2.5 < test.metrics["z_spread"] < 3.5
    assert any("standard errors say" in note for note in test.notes)


def test_what_is_tested_and_what_is_not() -> None:
    weights, errors, _ = made_up(1, too_narrow=1.0, shared=0.0)
    errors[3, 4] = np.nan
    errors[5, 6] = 0.0
    test = judge_edges(weights, errors, level=0.9)
    tested = ~np.eye(N, dtype=bool)
    tested[3, 4] = tested[5, 6] = False
    for values in (test.p_value, test.q_value, test.ci_low, test.ci_high):
        np.testing.assert_array_equal(np.isfinite(values), tested)
    assert test.metrics["n_tested_pairs"] == N * (N - 1) - 2
    assert test.metrics["n_edges"] == (test.q_value[tested] <= 0.05).sum()
    assert (test.ci_low[tested] < test.ci_high[tested]).all()
    assert test.notes == ()


def test_an_interval_leaves_zero_out_where_p_is_below_its_level() -> None:
    weights, errors, _ = made_up(2, too_narrow=2.0, shared=3.0)
    test = judge_edges(weights, errors, level=0.9)
    pairs = ~np.eye(N, dtype=bool)
    without_zero = (test.ci_low > 0) | (test.ci_high < 0)
    np.testing.assert_array_equal(without_zero[pairs], test.p_value[pairs] < 0.1)


def test_too_few_pairs_are_an_answer() -> None:
    rng = np.random.default_rng(0)
    for n_units in (1, 2, 9):
        test = judge_edges(rng.normal(size=(n_units, n_units)), np.ones((n_units, n_units)), level=0.9)
        assert np.isnan(test.q_value).all()
        assert f"at least {FEWEST_PAIRS}" in test.notes[0]
    enough = judge_edges(rng.normal(size=(10, 10)), np.ones((10, 10)), level=0.9)
    assert np.isfinite(enough.q_value).sum() == FEWEST_PAIRS


def test_many_edges_are_found_where_the_bulk_is_as_narrow_as_its_errors() -> None:
    found, false = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        edges = (rng.random((N, N)) < 0.2) & ~np.eye(N, dtype=bool)
        sizes = rng.choice([-1, 1], (N, N)) * rng.uniform(4, 14, (N, N))
        z = rng.standard_normal((N, N)) + edges * sizes
        test = judge_edges(0.2 * z, np.full((N, N), 0.2), level=0.9)
        called = test.q_value <= 0.05
        found.append((called & edges).sum() / edges.sum())
        false.append((called & ~edges).sum() / called.sum())
        assert abs(test.metrics["null_share_edges"] - 0.2) < 0.1
        assert "edges and no edges were fitted together" in test.notes[0]
    assert np.mean(found) > 0.9
    assert np.mean(false) < 0.1
    # The twin: errors too small by half are not believed, and no mixture is fitted.
    wide = judge_edges(2 * 0.2 * z, np.full((N, N), 0.2), level=0.9)
    assert "null_share_edges" not in wide.metrics


def test_what_would_be_called_is_told_and_is_called() -> None:
    drawn, errors, edges = made_up(3, too_narrow=1.0, shared=0.0)
    weights = np.where(edges, 0.0, 0.2 * drawn / errors)
    errors = np.full((N, N), 0.2)
    test = judge_edges(weights, errors, level=0.9)
    least = test.metrics["detectable_weight"]
    assert test.metrics["n_edges"] == 0
    assert test.metrics["n_shared_inputs"] == 0
    # p at the bar is 0.05 over 380 pairs: 3.8 standard errors of a normal law.
    assert 3.5 * 0.2 < least < 5 * 0.2
    called = []
    for factor in (0.9, 1.1):
        alone = weights.copy()
        alone[4, 7] = factor * least
        called.append(bool(judge_edges(alone, errors, level=0.9).q_value[4, 7] <= 0.05))
    assert called == [False, True]


def test_intervals_are_said_to_be_too_narrow_where_units_share_inputs() -> None:
    words = "intervals of called edges are too narrow"
    for shared in (0.0, 1.5):
        weights, errors, _ = made_up(0, too_narrow=1.0, shared=shared)
        test = judge_edges(weights, errors, level=0.9)
        assert (test.metrics["n_shared_inputs"] > 0) == (shared > 0)
        assert any(words in note for note in test.notes) == (shared > 0)
        typed = judge_edges(weights, errors, level=0.9, types=("a",) * 10 + ("b",) * 10)
        assert any(words in note for note in typed.notes) == (shared > 0)
