"""Shared inputs in made-up z-scores: counted rightly, taken off, and edges left standing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest

from spikefit.diagnostics import shared_input as shared_input_module
from spikefit.diagnostics.shared_input import beyond_errors, count_inputs, low_rank, shared_input

N = 20
PAIRS = ~np.eye(N, dtype=bool)


def made_up(
    rank: int, seed: int, *, edge: float = 12.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """z-scores of unit noise on a product of that rank, one pair in twenty an edge; also the product and the edges."""
    rng = np.random.default_rng(seed)
    part = 2.0 * rng.standard_normal((N, rank)) @ rng.standard_normal((rank, N))
    edges = (rng.random((N, N)) < 0.05) & PAIRS
    z = part + rng.standard_normal((N, N)) + edge * edges * rng.choice([-1.0, 1.0], (N, N))
    return z, part, edges


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_shared_inputs_are_counted(rank: int) -> None:
    found = [shared_input(made_up(rank, seed)[0], PAIRS).rank for seed in range(4)]
    assert sorted(found)[1:3] == [rank, rank]  # all but one at each end
    assert max(abs(r - rank) for r in found) <= 1


def test_a_number_that_hangs_on_how_pairs_are_divided_says_so() -> None:
    assert shared_input(made_up(1, 0)[0], PAIRS).agreement == 1.0
    rng = np.random.default_rng(11)
    second = 0.8 * np.outer(rng.standard_normal(N), rng.standard_normal(N))  # hardly above the noise
    z = np.where(PAIRS, made_up(1, 0)[0] + second, 0.0)
    found = shared_input(z, PAIRS, seed=2)
    alone = []
    for division in range(shared_input_module.N_DIVISIONS):
        losses = [shared_input_module._held_out(z, PAIRS, rank, 2, division).sum() for rank in range(5)]
        alone.append(int(np.argmin(losses)))
    assert found.agreement == pytest.approx(np.mean([rank == found.rank for rank in alone]))
    assert found.agreement < 1.0


def test_edges_do_not_pull_what_is_taken_off() -> None:
    z, part, edges = made_up(2, 7, edge=40.0)
    off = np.abs(low_rank(z, PAIRS, 2) - part)
    assert np.median(off[PAIRS]) < 0.6
    assert off[edges].max() < 8.0  # of 40
    left, sizes, right = np.linalg.svd(np.where(PAIRS, z, 0.0))
    plain = (left[:, :2] * sizes[:2]) @ right[:2]
    assert np.abs(plain - part)[edges].max() > 8.0  # least squares would have been pulled that far


def test_nothing_is_taken_off_where_nothing_is_shared() -> None:
    z, _, _ = made_up(0, 3)
    found = shared_input(z, PAIRS)
    assert found.rank == 0
    assert (found.part == 0).all()
    assert (found.error == 1).all()


def test_the_answer_is_the_same_every_time_and_ignores_what_is_no_pair() -> None:
    z, _, _ = made_up(2, 5)
    first = shared_input(z, PAIRS)
    np.fill_diagonal(z, 1e6)
    again = shared_input(z, PAIRS)
    np.testing.assert_array_equal(first.part, again.part)


def correlated_errors(seed: int, size: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """z-scores of nothing, the errors of every row going together in the same way; and their correlation."""
    rng = np.random.default_rng(seed)
    together = size * np.sign(rng.standard_normal(20)) * rng.uniform(0.5, 1.5, 20)
    covariance = np.eye(20) + np.outer(together, together)
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    return rng.standard_normal((20, 20)) @ np.linalg.cholesky(correlation).T, correlation


def test_errors_that_go_together_are_no_shared_input() -> None:
    pairs = ~np.eye(20, dtype=bool)
    taken_in = 0
    for seed in range(6):
        z, correlation = correlated_errors(seed, 1.0)
        taken_in += count_inputs(z, pairs) > 0
        known = count_inputs(z, pairs, correlation=correlation[None])
        assert (known > 0) <= (beyond_errors(z, pairs, correlation[None]) <= 0.05)
    assert taken_in >= 2  # without knowing the correlation they are taken for a shared input
    # The twin: a shared input on top is found all the same.
    loud = z + np.outer(np.linspace(1, 3, 20), np.linspace(3, 1, 20))
    assert count_inputs(loud, pairs, correlation=correlation[None]) > 0


def test_the_p_value_of_one_input_against_none_is_uniform_where_there_is_none() -> None:
    pairs = ~np.eye(20, dtype=bool)
    made = [correlated_errors(seed, 1.0) for seed in range(30)]
    found = [beyond_errors(z, pairs, correlation[None]) for z, correlation in made]
    assert kstest(found, "uniform").pvalue > 1e-4
    # The twin: taken for independent, the same errors look like an input nearly always.
    blind = [beyond_errors(z, pairs, np.eye(20)[None]) for z, _ in made[:10]]
    assert max(blind) <= 0.05


def test_many_units_have_the_same_largest_singular_value() -> None:
    rng = np.random.default_rng(0)
    z, pairs = rng.standard_normal((80, 80)), ~np.eye(80, dtype=bool)
    held = np.where(pairs, np.clip(z, -3, 3), 0)
    np.testing.assert_allclose(
        shared_input_module._largest(z, pairs), np.linalg.svd(held, compute_uv=False)[0], rtol=1e-6
    )
