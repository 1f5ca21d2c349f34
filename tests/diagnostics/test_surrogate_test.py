"""p-values against surrogates: uniform where recording and surrogates are alike, small where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from spikefit.diagnostics.surrogate_test import judge_by_surrogates

N, DRAWS = 8, 30


def p_values(excess: float, *, seed: int = 0, tails: float = np.inf) -> np.ndarray:
    """p of forty made-up recordings whose couplings scatter like their surrogates', times `excess`."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(40):
        spread = rng.uniform(0.5, 2.0, (N, N))
        draws = rng.standard_normal((DRAWS + 1, N, N)) if np.isinf(tails) else rng.standard_t(tails, (DRAWS + 1, N, N))
        z = draws * spread
        test = judge_by_surrogates(excess * z[0], np.ones((N, N)), z[1:], "shift", level=0.9)
        found.append(test.p_value[~np.eye(N, dtype=bool)])
    return np.concatenate(found)


@pytest.mark.parametrize("tails", [np.inf, 6.0])
def test_p_is_never_too_small_where_nothing_is_coupled(tails: float) -> None:
    # 2240 p-values; being further from zero than the centre costs a little, so p is somewhat too large, never too small.
    p = p_values(1.0, tails=tails)
    for level in (0.01, 0.05, 0.2):
        allowed = level + 4 * np.sqrt(level * (1 - level) / p.size)
        assert (p <= level).mean() < allowed
    assert (p <= 0.05).mean() > 0.01
    # The twin: a recording that scatters 1.6 times as widely is seen.
    wide = p_values(1.6, tails=tails)
    assert (wide <= 0.05).mean() > 0.05 + 4 * np.sqrt(0.05 * 0.95 / wide.size)
    assert kstest(wide, "uniform").pvalue < 1e-6


def test_edges_are_called_and_smears_of_edges_are_not() -> None:
    rng = np.random.default_rng(1)
    draws = rng.standard_normal((100, N, N))
    z = rng.standard_normal((N, N))
    z[0, 1] = 9.0
    draws[:, 1, 0] += 5.0  # what 0 → 1 leaves behind in the other direction when 0's spikes are moved
    z[1, 0] = 0.1
    test = judge_by_surrogates(0.2 * z, np.full((N, N), 0.2), draws, "jitter", level=0.9)
    called = test.q_value <= 0.05
    assert called[0, 1]
    assert not called[1, 0]
    assert called.sum() <= 2
    assert test.metrics["n_edges"] == called.sum()
    assert test.metrics["n_surrogates"] == 100
    assert 0.9 < test.metrics["surrogate_spread"] < 1.1
    # The smallest p that 100 surrogates of 56 pairs can give.
    assert test.p_value[0, 1] == pytest.approx(1 / 5601)
    assert test.ci_low[0, 1] > 0


def test_pairs_without_an_error_are_not_tested() -> None:
    rng = np.random.default_rng(2)
    errors = np.ones((3, 3))
    errors[0, 1] = np.nan
    test = judge_by_surrogates(np.zeros((3, 3)), errors, rng.standard_normal((20, 3, 3)), "shift", level=0.9)
    assert np.isfinite(test.p_value).sum() == 5
    assert (
        judge_by_surrogates(np.zeros((1, 1)), np.ones((1, 1)), np.zeros((20, 1, 1)), "shift", level=0.9).metrics[
            "n_tested_pairs"
        ]
        == 0
    )


def test_spikes_so_few_that_moving_them_moves_nothing_name_no_edge() -> None:
    """A coupling that the penalty holds near zero scatters by a ten-thousandth of its error: next to that anything is far off."""
    rng = np.random.default_rng(3)
    draws = -0.005 + 1e-4 * rng.standard_normal((100, N, N))
    z = np.where(rng.random((N, N)) < 0.3, -0.02, -0.005)
    test = judge_by_surrogates(3.8 * z, np.full((N, N), 3.8), draws, "jitter", level=0.9)
    assert test.metrics["n_edges"] == 0
    assert test.metrics["n_pairs_held_by_penalty"] == N * (N - 1)
    assert any("have so few spikes that moving them" in note for note in test.notes)
    # Beside pairs with spikes enough the few are still no edges, and those are found as before.
    draws[:, :4] = rng.standard_normal((100, 4, N))
    z[:4] = rng.standard_normal((4, N))
    z[0, 1] = 9.0
    mixed = judge_by_surrogates(3.8 * z, np.full((N, N), 3.8), draws, "jitter", level=0.9)
    assert mixed.q_value[0, 1] <= 0.05
    assert not (mixed.q_value[4:] <= 0.05).any()
    # One that the standard errors alone would call is called, penalty or not.
    z[5, 6] = 8.0
    assert judge_by_surrogates(3.8 * z, np.full((N, N), 3.8), draws, "jitter", level=0.9).q_value[5, 6] <= 0.05


def test_what_would_be_called_is_told_and_is_called() -> None:
    rng = np.random.default_rng(4)
    draws = rng.standard_normal((100, N, N))
    least = judge_by_surrogates(np.zeros((N, N)), np.full((N, N), 0.2), draws, "jitter", level=0.9).metrics[
        "detectable_weight"
    ]
    assert 0.2 * 2.5 < least < 0.2 * 5
    called = []
    for factor in (0.7, 1.3):  # the median pair is meant; single pairs lie about it
        n_called = 0
        for post, pre in ((0, 1), (2, 3), (4, 5), (6, 7), (1, 0)):
            alone = np.zeros((N, N))
            alone[post, pre] = factor * least
            n_called += judge_by_surrogates(alone, np.full((N, N), 0.2), draws, "jitter", level=0.9).metrics["n_edges"]
        called.append(n_called)
    assert called == [0, 5]


def test_why_there_are_no_surrogates_is_said_once_and_whole() -> None:
    """Few units, whose spikes cannot be moved: the reason ends the sentence, without the flag that nobody gave."""
    from types import SimpleNamespace

    from spikefit.diagnostics.judging import judge

    network: Any = SimpleNamespace(
        coupling_filters=np.ones((3, 3, 2)), n_hidden=0, std_error=np.ones((3, 3)), surrogates=None, coupling_correlation=None,
        surrogates_refused="one long burst has one timing.", long_lags=None, plain=None, attenuation=None,
    )  # fmt: skip
    (note,) = judge(network, "null", level=0.9, bin_width_s=0.01).notes
    assert note.endswith("surrogates are no help: there are no p- and q-values. Why: one long burst has one timing")
    assert note.startswith("6 pairs of recorded units are too few")
