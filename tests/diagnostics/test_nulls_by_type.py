"""Nulls by pairs of types: each is found where it lies, false calls stay few where one null calls many, and labels that say nothing help nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spikefit.diagnostics.empirical_null import benjamini_hochberg, fit_null, fit_nulls
from spikefit.diagnostics.significance import judge_edges

TYPES = ("exc",) * 20 + ("inh",) * 10
WIDE = np.outer(np.array(TYPES) == "exc", np.array(TYPES) == "inh")  # (post, pre): from inhibitory to excitatory
PAIRS = ~np.eye(len(TYPES), dtype=bool)
SEEDS = range(800, 808)
ERROR = 0.2


def z_scores(seed: int, *, differ: bool, density: float = 0.05) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Statistics with 5 % edges; the others scatter with spread 1, or with 2.5 about 1 from inhibitory to excitatory."""
    rng = np.random.default_rng(seed)
    shape = PAIRS.shape
    edges = (rng.random(shape) < density) & PAIRS
    z = rng.standard_normal(shape)
    if differ:
        z = np.where(WIDE, 1 + 2.5 * z, z)
    return z + edges * rng.choice([-1, 1], shape) * rng.uniform(5, 14, shape), edges


def called(z: NDArray[np.float64], types: tuple[str, ...] | None) -> NDArray[np.bool_]:
    return judge_edges(ERROR * z, np.full(z.shape, ERROR), level=0.9, types=types).q_value <= 0.05


def shuffled(seed: int) -> tuple[str, ...]:
    return tuple(np.random.default_rng([seed, 1]).permutation(TYPES).tolist())


def rates(differ: bool, types: str) -> tuple[float, float]:
    """Mean share of false calls and of edges found, over matrices whose seeds were chosen beforehand."""
    false, found = [], []
    for seed in SEEDS:
        z, edges = z_scores(seed, differ=differ)
        calls = called(z, {"one": None, "right": TYPES, "shuffled": shuffled(seed)}[types])
        false.append((calls & ~edges).sum() / max(1, calls.sum()))
        found.append((calls & edges).sum() / edges.sum())
    return float(np.mean(false)), float(np.mean(found))


def test_false_calls_stay_few_where_one_null_and_shuffled_labels_make_many() -> None:
    """0.05 is asked for; over eight matrices of about 43 edges the mean has a standard error of about 0.015."""
    false, found = rates(True, "right")
    assert false < 0.05 + 0.06
    assert found > 0.85
    # The twins: the same numbers under one null, and under labels that were dealt out at random.
    assert rates(True, "one")[0] > 0.2
    assert rates(True, "shuffled")[0] > 0.2


def test_types_that_say_nothing_cost_little() -> None:
    one, right = rates(False, "one"), rates(False, "right")
    assert right[0] < 0.05 + 0.06
    assert right[1] > one[1] - 0.05


def test_each_null_is_found_where_it_lies() -> None:
    """Tolerances are five standard errors: 1.15 √(1/n) of the spread, as measured over 200 seeds (docs/trust.md)."""
    z, _ = z_scores(810, differ=True, density=0.0)
    test = judge_edges(ERROR * z, np.full(z.shape, ERROR), level=0.9, types=TYPES)
    rows = {(row["pre_type"], row["post_type"]): row for row in test.metrics["null_by_type"]}
    truth = {("exc", "exc"): (0, 1), ("exc", "inh"): (0, 1), ("inh", "exc"): (1, 2.5), ("inh", "inh"): (0, 1)}
    assert [row["n_pairs"] for row in test.metrics["null_by_type"]] == [380, 200, 200, 90]
    for types, (centre, spread) in truth.items():
        row = rows[types]
        tolerance = 5 * 1.15 / np.sqrt(row["n_pairs"])
        # A shared input may take part of a centre off, and widens what is left where it does.
        assert abs(np.log(row["spread"] / spread)) < tolerance + (0.1 if test.metrics["n_shared_inputs"] else 0)
        if not test.metrics["n_shared_inputs"]:
            assert abs(row["centre"] - centre) < tolerance * spread
        assert row["fitted_to"] == "own"
    # The twin: labels dealt out at random see no difference.
    blind = judge_edges(ERROR * z, np.full(z.shape, ERROR), level=0.9, types=shuffled(810))
    spreads = [row["spread"] for row in blind.metrics["null_by_type"]]
    assert max(spreads) < 2.0


def test_q_is_over_all_pairs_together_and_every_pair_has_its_null() -> None:
    z, _ = z_scores(811, differ=True)
    z[3, 4] = np.nan
    test = judge_edges(ERROR * z, np.full(z.shape, ERROR), level=0.9, types=TYPES)
    tested = PAIRS & np.isfinite(z)
    for values in (test.p_value, test.q_value, test.ci_low, test.ci_high, *test.by_pair.values()):
        np.testing.assert_array_equal(np.isfinite(values), tested)
    np.testing.assert_array_equal(test.q_value[tested], benjamini_hochberg(test.p_value[tested]))
    # p and interval agree with the null of the pair's own types.
    without_zero = (test.ci_low > 0) | (test.ci_high < 0)
    np.testing.assert_array_equal(without_zero[tested], test.p_value[tested] < 0.1)
    row = next(r for r in test.metrics["null_by_type"] if (r["pre_type"], r["post_type"]) == ("inh", "exc"))
    assert set(test.by_pair["null_spread"][WIDE & tested].tolist()) == {row["spread"]}
    assert sum(r["n_edges"] for r in test.metrics["null_by_type"]) == test.metrics["n_edges"]
    assert sum(r["n_pairs"] for r in test.metrics["null_by_type"]) == tested.sum()
    # The one null beside it is that of a test without types.
    one = judge_edges(ERROR * z, np.full(z.shape, ERROR), level=0.9)
    assert one.metrics["n_edges"] == test.metrics["n_edges_one_null"]
    assert one.metrics["null_spread"] == test.metrics["null_spread"]
    assert "null_by_type" not in one.metrics
    assert set(one.by_pair) == {"shared_z"}


def test_a_wide_spread_names_its_types() -> None:
    z, _ = z_scores(812, differ=True)
    test = judge_edges(ERROR * z, np.full(z.shape, ERROR), level=0.9, types=TYPES)
    (note,) = [note for note in test.notes if "wider than the standard errors say" in note]
    assert "inh → exc (2." in note
    assert "exc → inh" not in note


def test_small_groups_share_a_null_and_that_is_said() -> None:
    types = ("exc",) * 24 + ("inh",) * 6  # 552, 144, 144 and 30 pairs
    z, _ = z_scores(813, differ=False)
    test = judge_edges(ERROR * z, np.full(z.shape, ERROR), level=0.9, types=types)
    (row,) = [row for row in test.metrics["null_by_type"] if row["fitted_to"] != "own"]
    assert (row["pre_type"], row["post_type"], row["n_pairs"], row["fitted_to"]) == ("inh", "inh", 30, "all")
    assert row["n_fitted"] == PAIRS.sum()
    (note,) = [note for note in test.notes if "fewer than the 90" in note]
    assert "inh → inh with 30" in note
    assert "the null of all pairs (870 pairs)" in note


@pytest.mark.parametrize("heavy", [False, True])
def test_the_tail_is_read_from_all_groups_together(heavy: bool) -> None:
    """Ninety Laplace statistics are too few to show their tail; four groups of them in different places do, as often as one null of 360."""
    shapes, alone = [], []
    for seed in range(820, 828):
        rng = np.random.default_rng(seed)
        alike = rng.laplace(size=(4, 90)) if heavy else rng.standard_normal((4, 90))
        groups = list(np.array([[0], [2], [-1], [0]]) + np.array([[1], [3], [1], [2]]) * alike)
        nulls = fit_nulls(groups)
        assert len({null.shape for null in nulls}) == 1
        shapes.append(nulls[0].shape)
        alone.append(fit_null(groups[0]).shape)
    if heavy:
        assert sum(shape < 2 for shape in shapes) >= 7
        assert sum(shape < 2 for shape in shapes) > sum(shape < 2 for shape in alone)
    else:
        assert sum(shape == 2 for shape in shapes) >= 5
