"""Tabulated Poisson counts against their probabilities, and the table against a plain search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from spikefit.prob.inversion import N_MEANS, draw_from_table


def chi_square_p(counts: np.ndarray, mean: float) -> float:
    """p-value of Poisson counts, with the tail pooled."""
    top = int(stats.poisson.isf(1e-4, mean)) if mean > 0 else 1
    observed = np.bincount(np.minimum(counts, top), minlength=top + 1)
    expected = len(counts) * np.append(stats.poisson.pmf(np.arange(top), mean), stats.poisson.sf(top - 1, mean))
    keep = expected > 0
    if (observed[~keep] > 0).any():
        return 0.0
    return float(stats.chi2.sf(((observed - expected)[keep] ** 2 / expected[keep]).sum(), keep.sum() - 1))


@pytest.mark.statistical
@pytest.mark.parametrize("mean", range(N_MEANS))
def test_counts_follow_their_law(seeded, mean: int) -> None:
    """False alarms: one in a million for each mean."""
    counts = draw_from_table(torch.full((100_000,), mean), seeded(mean)).long().numpy()
    if mean == 0:
        assert not counts.any()
        return
    assert chi_square_p(counts, mean) > 1e-6
    assert chi_square_p(counts, 1.05 * mean) < 1e-6  # the twin that must fail


def test_every_uniform_number_gets_the_count_of_a_plain_search(seeded) -> None:
    means = torch.arange(N_MEANS).repeat(5000)
    drawn = draw_from_table(means, seeded(3))
    uniform = torch.rand(means.shape, dtype=torch.float64, generator=seeded(3)).numpy()
    assert np.array_equal(drawn.numpy(), np.where(means.numpy() == 0, 0, stats.poisson.ppf(uniform, means.numpy())))
