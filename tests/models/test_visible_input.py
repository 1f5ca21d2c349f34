"""One pass over visible counts by features and by spikes: the products written out, and gradients against differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from spikefit.models import visible_input as module
from spikefit.models.coupling import future_features, history_adjoint, history_features
from spikefit.models.hidden_drive import units_apart, with_hidden
from spikefit.models.visible_input import (
    FeatureInput,
    InputWeights,
    SpikeInput,
    VisibleInput,
    by_bins,
    occupied,
    visible_drive,
    visible_input,
)

N_WINDOWS, N_UNITS, N_LAGS, N_FUNCTIONS, N_CORE, N_ROWS, N_READ = 3, 4, 5, 2, 37, 6, 3
N_FEATURES = N_UNITS * N_FUNCTIONS
Make = Callable[[Tensor, Tensor, int], VisibleInput]


def by_features(counts: Tensor, basis: Tensor, n_core: int) -> VisibleInput:
    return FeatureInput(counts, basis, n_core)


def through_spikes(counts: Tensor, basis: Tensor, n_core: int) -> VisibleInput:
    return SpikeInput(counts, occupied(counts), basis, n_core)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def counts() -> Tensor:
    """With a window that is silent, and bins of two and more spikes."""
    rate = torch.full((N_WINDOWS, N_UNITS, N_CORE + 3 * N_LAGS), 0.4, dtype=torch.float64)
    drawn = torch.poisson(rate, generator=torch.Generator().manual_seed(0))
    drawn[1] = 0
    return drawn


@pytest.fixture
def basis() -> Tensor:
    return torch.rand(N_LAGS, N_FUNCTIONS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def some_weights(kind: str) -> list[Tensor | None]:
    generative, past = random(N_ROWS, N_FEATURES, seed=2), random(N_READ, N_FEATURES, seed=3)
    if kind == "forward":
        return [generative, past, None, None]
    return [generative, past, random(N_READ, N_UNITS, seed=4), random(N_READ, N_FEATURES, seed=5)]


def plain(counts: Tensor, basis: Tensor, weights: list[Tensor | None]) -> tuple[Tensor, Tensor]:
    """The same with features, written out; with automatic differentiation."""
    generative, past, present, future = weights
    end = counts.shape[-1] - N_LAGS
    history = history_features(counts[..., :end], basis)
    assert generative is not None
    assert past is not None
    read = past @ history
    if present is not None:
        read = read + present @ counts[..., N_LAGS:end]
    if future is not None:
        read = read + future @ future_features(counts[..., N_LAGS:], basis)
    return generative @ history[..., N_LAGS:], read


@pytest.mark.parametrize("rows", [1000, 4])
@pytest.mark.parametrize("kind", ["forward", "forward-backward"])
@pytest.mark.parametrize("make", [by_features, through_spikes])
def test_drives_and_gradients_are_those_written_out(
    make: Make, kind: str, rows: int, counts: Tensor, basis: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_COLUMNS", rows * N_FUNCTIONS // 2)
    weights = some_weights(kind)
    leaves = [w for w in weights if w is not None]
    for leaf in leaves:
        leaf.requires_grad_()
    values = random(N_WINDOWS, N_ROWS, N_CORE, seed=6), random(N_WINDOWS, N_READ, N_CORE + N_LAGS, seed=7)
    found, expected = [], []
    for out, (core, read) in (
        (found, visible_drive(make(counts, basis, N_CORE), InputWeights(*weights))),  # type: ignore[arg-type]
        (expected, plain(counts, basis, weights)),
    ):
        gradients = torch.autograd.grad((core * values[0]).sum() + (read * values[1]).sum(), leaves)
        out += [core.detach(), read.detach(), *gradients]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    # The twin: another lag is told apart.
    late = visible_drive(make(counts.roll(1, -1), basis, N_CORE), InputWeights(*weights))  # type: ignore[arg-type]
    assert (late[0] - expected[0]).abs().max() > 0.1


def test_many_units_that_fire_rarely_go_by_spikes_and_few_by_features(basis: Tensor) -> None:
    rare = torch.zeros(2, 300, N_CORE + 3 * N_LAGS, dtype=torch.float64)
    rare[:, ::50, ::3] = 1
    assert isinstance(visible_input(rare, basis, N_CORE), SpikeInput)
    assert isinstance(visible_input(rare + 1, basis, N_CORE), FeatureInput)
    assert isinstance(visible_input(rare[:, :20], basis, N_CORE), FeatureInput)


def test_occupied_bins_are_sorted_either_way(counts: Tensor) -> None:
    places = torch.stack(occupied(counts)).long()
    assert torch.equal(places, counts.nonzero().T)
    by_bin = torch.stack(by_bins(*occupied(counts), counts.shape)).long()
    assert torch.equal(by_bin[[0, 2, 1]], counts.transpose(1, 2).nonzero().T)


def test_the_adjoint_of_history_is_its_gradient(basis: Tensor) -> None:
    for n_bins in (3, 32, 70):
        leaf = random(2, 3, n_bins + N_LAGS, seed=8).requires_grad_()
        values = random(2, 3 * N_FUNCTIONS, n_bins, seed=9)
        (expected,) = torch.autograd.grad((history_features(leaf, basis) * values).sum(), leaf)
        torch.testing.assert_close(history_adjoint(values, basis), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("by_bin", [False, True])
def test_the_whole_drive_and_its_gradients_agree_with_differences(by_bin: bool, basis: Tensor) -> None:
    visible, hidden = random(2, 2, 5, 8, seed=10), random(3, 2, 2, 2, 8 + N_LAGS, seed=11)
    weights = random(2, 5, 2 * N_FUNCTIONS, seed=12)
    if by_bin:
        visible = visible.transpose(-1, -2).contiguous().transpose(-1, -2)

    def drives(visible: Tensor, hidden: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        if by_bin:
            visible = visible.clone(memory_format=torch.preserve_format)
            assert visible.stride(-1) != 1
        return units_apart(with_hidden(visible, hidden, weights, basis), 3)

    whole = torch.cat(drives(visible, hidden, weights), dim=-2)
    torch.testing.assert_close(whole, visible + weights @ history_features(hidden, basis), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(drives, [x.requires_grad_() for x in (visible, hidden, weights)])
