"""Convolved history against explicit loops over bins and lags, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.models.coupling import BAND_BINS, filters_from_weights, future_features, history_features

N_LAGS, N_BASIS, N_UNITS, N_BINS = 5, 3, 4, 23


def random_case(seed: int, *batch: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    counts = torch.from_numpy(rng.poisson(0.7, (*batch, N_UNITS, N_BINS)).astype(np.float64))
    return counts, torch.from_numpy(rng.normal(size=(N_LAGS, N_BASIS)))


def loop_features(counts: Tensor, basis: Tensor, direction: int) -> Tensor:
    """Features of one recording (unit, bin), one number at a time; -1 looks back and +1 ahead."""
    n_lags, n_basis = basis.shape
    n_units, n_bins = counts.shape
    first = n_lags if direction < 0 else 0
    out = torch.zeros(n_units * n_basis, n_bins - n_lags, dtype=torch.float64)
    for unit in range(n_units):
        for function in range(n_basis):
            for place in range(n_bins - n_lags):
                for lag in range(n_lags):
                    seen = counts[unit, first + place + direction * (lag + 1)]
                    out[unit * n_basis + function, place] += basis[lag, function] * seen
    return out


@pytest.mark.parametrize(("features", "direction"), [(history_features, -1), (future_features, 1)])
def test_features_equal_an_explicit_double_loop(features, direction) -> None:
    counts, basis = random_case(1)
    torch.testing.assert_close(features(counts, basis), loop_features(counts, basis, direction), rtol=1e-13, atol=1e-13)
    # The loop can tell the two directions apart.
    assert not torch.allclose(features(counts, basis), loop_features(counts, basis, -direction))


@pytest.mark.parametrize("features", [history_features, future_features])
def test_batch_axes_are_independent(features) -> None:
    counts, basis = random_case(2, 3, 2)
    whole = features(counts, basis)
    assert whole.shape == (3, 2, N_UNITS * N_BASIS, N_BINS - N_LAGS)
    for i in range(3):
        for j in range(2):
            torch.testing.assert_close(whole[i, j], features(counts[i, j], basis), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("features", "first", "direction"), [(history_features, N_LAGS, 1), (future_features, 0, -1)])
def test_a_bin_never_sees_itself_and_a_spike_acts_on_one_side_for_one_window(features, first, direction) -> None:
    counts, basis = random_case(3)
    spike_at = 11
    more = counts.clone()
    more[2, spike_at] += 1
    changed = (features(more, basis) - features(counts, basis)).reshape(N_UNITS, N_BASIS, -1).abs().sum(1) > 1e-12
    touched = changed.nonzero()
    assert set(touched[:, 0].tolist()) == {2}
    lags = (touched[:, 1] + first - spike_at) * direction
    assert lags.sort().values.tolist() == list(range(1, N_LAGS + 1))


def test_the_response_to_one_spike_is_the_filter() -> None:
    _, basis = random_case(4)
    counts = torch.zeros(1, 2 * N_LAGS + 1, dtype=torch.float64)
    counts[0, N_LAGS] = 1
    weights = torch.randn(1, N_BASIS, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    response = weights @ history_features(counts, basis)
    torch.testing.assert_close(response[0, 0], torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(response[0, 1:], filters_from_weights(weights, basis)[0, 0])


def test_filters_have_receivers_in_rows_and_senders_in_columns() -> None:
    rng = np.random.default_rng(5)
    weights = torch.from_numpy(rng.normal(size=(2, 3, N_UNITS * N_BASIS)))
    basis = torch.from_numpy(rng.normal(size=(N_LAGS, N_BASIS)))
    filters = filters_from_weights(weights, basis)
    assert filters.shape == (2, 3, N_UNITS, N_LAGS)
    for restart, post, pre in np.ndindex(2, 3, N_UNITS):
        own = weights[restart, post, pre * N_BASIS : (pre + 1) * N_BASIS]
        torch.testing.assert_close(filters[restart, post, pre], basis @ own)


@pytest.mark.parametrize("features", [history_features, future_features])
def test_float32_features_keep_six_digits(features) -> None:
    counts, basis = random_case(6)
    torch.testing.assert_close(
        features(counts.float(), basis.float()).double(), features(counts, basis), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("features", [history_features, future_features])
def test_gradients_reach_the_counts(features) -> None:
    counts, basis = random_case(7)
    assert torch.autograd.gradcheck(lambda c: features(c, basis), counts.requires_grad_())


@pytest.mark.parametrize("n_bins", [N_LAGS + 1, BAND_BINS + N_LAGS, 3 * BAND_BINS + N_LAGS + 7])
@pytest.mark.parametrize(("features", "direction"), [(history_features, -1), (future_features, 1)])
def test_long_stretches_are_those_of_the_loop_with_and_without_a_gradient(features, direction, n_bins: int) -> None:
    generator = torch.Generator().manual_seed(n_bins)
    counts = torch.poisson(torch.full((2, n_bins), 0.7, dtype=torch.float64), generator)
    _, basis = random_case(4)
    expected = loop_features(counts, basis, direction)
    torch.testing.assert_close(features(counts, basis), expected, rtol=1e-13, atol=1e-13)
    leaf = counts.clone().requires_grad_()
    found = features(leaf, basis)
    torch.testing.assert_close(found.detach(), expected, rtol=1e-13, atol=1e-13)
    assert found.requires_grad
    assert features(counts[:0], basis).shape == (0, n_bins - N_LAGS)
