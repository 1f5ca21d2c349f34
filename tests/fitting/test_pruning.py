"""Picking restarts and hidden units out of a model changes nothing in what is left."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.fitting.objective import elbo
from spikefit.fitting.pruning import cost_of_removal, keep_hidden, keep_restarts, prune_hidden
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.estimators import PathwiseDraws
from spikefit.spikes import Counts


def windows_of(model: POGLMNetwork, counts: Counts) -> Windows:
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    usable = np.array([[model.n_lags, counts.n_bins]])
    return Windows(
        by_unit, counts.segment_offsets, usable, context=model.context, core_bins=80, dtype=model.basis.dtype
    )


class Expected:
    """Expected counts in place of draws."""

    n_draws = 1

    def __call__(self, rate: Tensor) -> PathwiseDraws:
        return PathwiseDraws(rate[None])

    def turns(self, like: Tensor, *, with_slopes: bool) -> Expected:
        return self

    def counts(self, bin_: int, rate: Tensor) -> Tensor:
        return rate

    def slopes(self, rates: Tensor) -> None:
        return None

    def gather(self, counts: Tensor, rate: Tensor) -> PathwiseDraws:
        return PathwiseDraws(counts)


def bound(model: POGLMNetwork, windows: Windows) -> Tensor:
    """Per restart, with nothing left to chance."""
    batch = windows.batch(torch.arange(len(windows)))
    return elbo(model, batch, Expected()).total[0].sum(0).detach()


@pytest.fixture
def counts(segmented: Callable[..., Counts]) -> Counts:
    return segmented([400])


def test_restarts_keep_their_bound_in_the_order_given(make_model: Callable[..., POGLMNetwork], counts: Counts) -> None:
    model = make_model(3, 2, n_restarts=4)
    windows = windows_of(model, counts)
    kept = keep_restarts(model, torch.tensor([2, 0]))
    torch.testing.assert_close(bound(kept, windows), bound(model, windows)[[2, 0]], rtol=1e-12, atol=0)


@pytest.mark.parametrize("posterior", ["forward-backward", "forward-self"])
def test_the_order_of_hidden_units_says_nothing(
    make_model: Callable[..., POGLMNetwork], counts: Counts, posterior: str
) -> None:
    model = make_model(3, 3, n_restarts=2, posterior=posterior)
    windows = windows_of(model, counts)
    turned = keep_hidden(model, torch.tensor([[2, 0, 1], [1, 0, 2]]))
    torch.testing.assert_close(bound(turned, windows), bound(model, windows), rtol=1e-12, atol=0)
    filters, before = turned.coupling_filters(), model.coupling_filters()
    assert torch.equal(filters[0, 3:, 3:], before[0, 3:, 3:][[2, 0, 1]][:, [2, 0, 1]])


def test_a_unit_that_does_nothing_goes_first_and_takes_nothing_with_it(
    make_model: Callable[..., POGLMNetwork], counts: Counts
) -> None:
    model = make_model(3, 3, n_restarts=2, size=0.3)
    idle = 1
    with torch.no_grad():
        n_functions = model.basis.shape[1]
        own = slice(idle * n_functions, (idle + 1) * n_functions)
        model.hidden_weights[..., own] = 0
        model.hidden_weights[:, 3 + idle] = 0
        model.hidden_weights[:, :3, :n_functions] = 1.0
        model.hidden_weights[:, :3, 2 * n_functions :] = -1.0
    windows = windows_of(model, counts)
    generator = torch.Generator().manual_seed(0)
    cost = cost_of_removal(model, windows, torch.arange(len(windows)), generator)
    assert (cost[:, idle] <= 1e-9).all()
    kept = prune_hidden(keep_restarts(model, torch.tensor([0, 1])), windows, 2, 12, generator)
    assert (kept.n_hidden, kept.n_restarts) == (2, 2)
