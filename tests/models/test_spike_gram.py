"""The Gram matrix by spikes is the one of the features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.models import spike_gram as module
from spikefit.models.coupling import history_features
from spikefit.models.spike_gram import spike_gram

N_LAGS, N_FUNCTIONS, N_UNITS = 5, 2, 4


def by_features(counts: Tensor, ranges: np.ndarray, basis: Tensor) -> Tensor:
    """The reference: every scored bin's features, from nothing but their definition."""
    features = history_features(counts.double(), basis.double())  # of the bins behind the first history
    scored = torch.cat([torch.arange(a, b) for a, b in ranges.tolist()]) - len(basis)
    return features[:, scored] @ features[:, scored].T


@pytest.mark.parametrize("stretch", [7, 64, 10_000])
@pytest.mark.parametrize(
    "ranges",
    [
        [[N_LAGS, 600]],
        [[N_LAGS, 200], [200, 300], [420, 600]],  # neighbours share their context
        [[N_LAGS, 6], [30, 34], [100, 300]],  # short ones go by their features
        [[50, 60]],
    ],
)
def test_it_is_that_of_the_features(ranges: list[list[int]], stretch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRETCH_BINS", stretch)
    generator = torch.Generator().manual_seed(5)
    counts = torch.poisson(torch.full((N_UNITS, 600), 0.3), generator).to(torch.uint8)
    basis = torch.rand(N_LAGS, N_FUNCTIONS, generator=generator)
    wanted = by_features(counts, np.array(ranges), basis)
    found = spike_gram(lambda start, stop: counts[:, start:stop], np.array(ranges), basis)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-10)
    # The twin: the same spikes one bin later, seen through the same bins, are another matrix.
    late = spike_gram(lambda start, stop: counts.roll(1, 1)[:, start:stop], np.array(ranges), basis)
    assert (late - wanted).abs().max() > 0.1


def test_counts_that_are_not_whole_numbers_and_units_that_never_fire() -> None:
    counts = torch.rand(N_UNITS, 300, generator=torch.Generator().manual_seed(6))
    counts[1] = 0
    basis, ranges = torch.rand(N_LAGS, N_FUNCTIONS), np.array([[20, 280]])
    found = spike_gram(lambda start, stop: counts[:, start:stop], ranges, basis)
    torch.testing.assert_close(found, by_features(counts, ranges, basis), rtol=1e-12, atol=1e-10)
    assert (found[N_FUNCTIONS : 2 * N_FUNCTIONS] == 0).all()


def test_nothing_scored_is_nothing_summed() -> None:
    counts = torch.ones(N_UNITS, 30, dtype=torch.uint8)
    nothing = spike_gram(lambda a, b: counts[:, a:b], np.empty((0, 2), dtype=np.int64), torch.rand(N_LAGS, N_FUNCTIONS))
    assert nothing.shape == (N_UNITS * N_FUNCTIONS,) * 2
    assert (nothing == 0).all()
