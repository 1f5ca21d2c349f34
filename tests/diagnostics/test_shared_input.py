"""Shared inputs in made-up z-scores: counted rightly, taken off, and edges left standing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spikefit.diagnostics.shared_input import low_rank, shared_input

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
