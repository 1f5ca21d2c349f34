"""Hidden units matched one to one, against every possible matching; stable units score high, others low."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from spikefit.alignment import AGREES, HiddenSet, correlations, match, mean_likeness, stability

N_POST, N_LAGS, N_BINS = 8, 5, 4000


def hidden_set(rng: np.random.Generator, n_hidden: int) -> HiddenSet:
    """Units with effects and activity of their own."""
    return HiddenSet(rng.normal(size=(n_hidden, N_POST, N_LAGS)), rng.gamma(0.3, size=(n_hidden, N_BINS)))


def found_again(rng: np.random.Generator, first: HiddenSet, order: list[int], *, size: float = 1.0) -> HiddenSet:
    """The same units in another order, a little off, with spikes of another size."""
    filters = first.filters[order] + 0.1 * rng.normal(size=(len(order), N_POST, N_LAGS))
    activity = first.activity[order] / size + 0.1 * rng.gamma(0.3, size=(len(order), N_BINS))
    return HiddenSet(size * filters, activity)


def test_correlations_are_numpys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 50)), rng.normal(size=(4, 50))
    np.testing.assert_allclose(correlations(a, b), np.corrcoef(a, b)[:3, 3:], rtol=1e-12)
    b[1] = 2.0
    assert np.isnan(correlations(a, b)[:, 1]).all()
    assert np.isnan(correlations(a[:, :2], b[:, :2])).all()


def test_likeness_is_the_mean_of_what_is_known() -> None:
    a, b = np.array([[1.0, np.nan, np.nan]]), np.array([[0.5, 0.2, np.nan]])
    np.testing.assert_array_equal(mean_likeness(a, b), [[0.75, 0.2, np.nan]])


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
def test_no_other_matching_adds_up_to_more(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        likeness = rng.uniform(-1, 1, shape)
        table = likeness if shape[0] <= shape[1] else likeness.T
        every = itertools.permutations(range(table.shape[1]), table.shape[0])
        best = max(sum(table[row, column] for row, column in enumerate(columns)) for columns in every)
        rows, columns = match(likeness)
        assert len(rows) == min(shape) == len(set(columns.tolist()))
        assert likeness[rows, columns].sum() == pytest.approx(best)


def test_units_that_are_found_again_are_stable_in_whatever_order_and_size() -> None:
    rng = np.random.default_rng(2)
    kept = hidden_set(rng, 3)
    others = [found_again(rng, kept, [2, 0, 1]), found_again(rng, kept, [1, 2, 0], size=0.2)]
    found = stability(kept, others)
    assert (found.likeness > 0.9).all()
    np.testing.assert_array_equal(found.n_agree, [2, 2, 2])
    assert not found.unstable.any()
    # Scaled to the kept ones the copies differ by their noise alone: 0.1 for each value.
    assert np.sqrt(np.mean((found.consensus - kept.filters) ** 2)) < 0.1
    assert 0.03 < found.spread.mean() < 0.1


def test_units_that_differ_over_the_fits_score_low() -> None:
    """The twin: one unit is found again by all, the other two are others in each fit."""
    rng = np.random.default_rng(3)
    kept = hidden_set(rng, 3)
    others = []
    for _ in range(4):
        again, strange = found_again(rng, kept, [0]), hidden_set(rng, 4)
        others.append(
            HiddenSet(
                np.concatenate([strange.filters, again.filters]), np.concatenate([strange.activity, again.activity])
            )
        )
    found = stability(kept, others)
    np.testing.assert_array_equal(found.unstable, [False, True, True])
    assert found.score[0] > 0.9
    assert (found.score[1:] < 0.3).all()
    np.testing.assert_array_equal(found.n_agree, [4, 0, 0])
    # Nobody agrees, so the consensus is the unit's own filter and its spread is not known.
    np.testing.assert_array_equal(found.consensus[1], kept.filters[1])
    assert np.isnan(found.spread[1:]).all()


def test_the_same_activity_with_the_opposite_effect_is_another_unit() -> None:
    rng = np.random.default_rng(4)
    kept = hidden_set(rng, 1)
    assert stability(kept, [HiddenSet(-kept.filters, kept.activity)]).likeness[0, 0] == pytest.approx(0.0)
    assert stability(kept, [kept]).likeness[0, 0] == pytest.approx(1.0)


def test_a_unit_is_unstable_when_fewer_than_half_agree() -> None:
    rng = np.random.default_rng(5)
    kept = hidden_set(rng, 1)
    again, strange = found_again(rng, kept, [0]), hidden_set(rng, 1)
    assert not stability(kept, [again, strange]).unstable[0]
    assert stability(kept, [again, strange, strange]).unstable[0]
    assert stability(kept, [strange]).likeness[0, 0] < AGREES


def test_without_other_fits_nothing_is_known() -> None:
    kept = hidden_set(np.random.default_rng(6), 2)
    found = stability(kept, [])
    assert np.isnan(found.score).all()
    assert not found.unstable.any()
    np.testing.assert_array_equal(found.consensus, kept.filters)


def test_a_fit_with_fewer_units_lacks_the_others() -> None:
    rng = np.random.default_rng(7)
    kept = hidden_set(rng, 2)
    found = stability(kept, [found_again(rng, kept, [1])])
    np.testing.assert_array_equal(found.unstable, [True, False])
    assert found.likeness[0, 0] == 0
