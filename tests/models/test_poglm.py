"""The POGLM's drives and posterior against explicit sums, and what each part may see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.models.coupling import history_features
from spikefit.models.encoder import SMALLEST_DRIVE, ForwardBackwardPosterior
from spikefit.models.poglm import POGLMNetwork

N_VISIBLE, N_HIDDEN, N_LAGS, N_FUNCTIONS, N_RESTARTS, N_WINDOWS, N_BINS = 3, 2, 4, 2, 2, 2, 7


def random_network(seed: int = 0) -> POGLMNetwork:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.rand(N_LAGS, N_FUNCTIONS, dtype=torch.float64, generator=generator)
    model = POGLMNetwork(N_VISIBLE, N_HIDDEN, basis, link="softplus", n_restarts=N_RESTARTS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return model


def random_counts(n_bins: int, *lead: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).poisson(0.8, (*lead, n_bins)).astype(np.float64))


def test_the_drive_is_the_sum_over_senders_and_lags() -> None:
    model = random_network()
    visible = random_counts(N_BINS + N_LAGS, N_WINDOWS, N_VISIBLE)
    hidden = random_counts(N_BINS + N_LAGS, 1, N_WINDOWS, N_RESTARTS, N_HIDDEN, seed=2)
    drive = model.visible_drive(history_features(visible, model.basis)) + model.hidden_drive(hidden)[0]
    filters = model.coupling_filters()
    assert filters.shape == (N_RESTARTS, N_VISIBLE + N_HIDDEN, N_VISIBLE + N_HIDDEN, N_LAGS)
    for window, restart, post, place in np.ndindex(N_WINDOWS, N_RESTARTS, N_VISIBLE + N_HIDDEN, N_BINS):
        everyone = torch.cat([visible[window], hidden[0, window, restart]])
        expected = model.baseline[restart, post].clone()
        for pre in range(N_VISIBLE + N_HIDDEN):
            for lag in range(N_LAGS):
                expected += filters[restart, post, pre, lag] * everyone[pre, N_LAGS + place - 1 - lag]
        torch.testing.assert_close(drive[window, restart, post, place], expected)


def test_the_posterior_is_linear_in_past_present_and_future_before_its_softplus() -> None:
    model = random_network(3)
    posterior = model.posterior
    counts = random_counts(N_BINS + 2 * N_LAGS, N_WINDOWS, N_VISIBLE)
    log_expected = posterior(posterior.features(counts))
    assert log_expected.shape == (N_WINDOWS, N_RESTARTS, N_HIDDEN, N_BINS)
    past = posterior.past.unflatten(-1, (N_VISIBLE, N_FUNCTIONS)) @ model.basis.T
    future = posterior.future.unflatten(-1, (N_VISIBLE, N_FUNCTIONS)) @ model.basis.T
    for window, restart, unit, place in np.ndindex(*log_expected.shape):
        at = N_LAGS + place
        total = posterior.offset[restart, unit] + posterior.present[restart, unit] @ counts[window, :, at]
        for lag in range(N_LAGS):
            total = total + past[restart, unit, :, lag] @ counts[window, :, at - 1 - lag]
            total = total + future[restart, unit, :, lag] @ counts[window, :, at + 1 + lag]
        torch.testing.assert_close(
            log_expected[window, restart, unit, place], torch.nn.functional.softplus(total).log()
        )


def test_the_posterior_reads_no_further_than_its_reach() -> None:
    model = random_network(4)
    posterior = model.posterior
    before, after = posterior.reach
    counts = random_counts(2 * (before + after) + 1, 1, N_VISIBLE)
    bins = counts.shape[-1]
    out = posterior(posterior.features(counts))
    for changed_bin in range(bins):
        other = counts.clone()
        other[..., changed_bin] += 1
        differs = (posterior(posterior.features(other)) != out).any(dim=2)[0, 0].nonzero()[:, 0] + before
        seen_from = range(max(changed_bin - after, before), min(changed_bin + before, bins - after - 1) + 1)
        assert differs.tolist() == list(seen_from)


def test_history_that_is_at_hand_saves_a_convolution_and_changes_nothing() -> None:
    posterior = random_network(5).posterior
    counts = random_counts(N_BINS + 2 * N_LAGS, 1, N_VISIBLE)
    history = history_features(counts[..., : N_BINS + N_LAGS], posterior.basis)
    assert torch.equal(posterior.features(counts, history), posterior.features(counts))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_extreme_posterior_is_silence_or_many_spikes_but_never_infinite(dtype: torch.dtype) -> None:
    posterior = ForwardBackwardPosterior(1, 1, torch.ones(1, 1, dtype=dtype), 2)
    with torch.no_grad():
        posterior.offset.copy_(torch.tensor([[-1e6], [1e6]], dtype=dtype))
    log_expected = posterior(posterior.features(torch.zeros(1, 1, 3, dtype=dtype)))
    assert torch.isfinite(log_expected).all()
    assert log_expected[0, 0, 0, 0].item() == pytest.approx(SMALLEST_DRIVE, abs=1e-3)
    assert log_expected[0, 1, 0, 0].exp().item() == pytest.approx(1e6, rel=1e-3)


def test_the_context_holds_all_that_a_scored_bin_depends_on() -> None:
    model = random_network(6)
    before, after = model.posterior.reach
    assert model.context == (model.n_lags + before, after)


def test_a_network_like_another_shares_its_kind_and_starts_at_zero() -> None:
    model = random_network(7)
    other = model.like(n_hidden=4, n_restarts=1)
    assert (other.n_visible, other.n_hidden, other.n_restarts, other.link) == (N_VISIBLE, 4, 1, "softplus")
    assert torch.equal(other.basis, model.basis)
    assert all((parameter == 0).all() for parameter in other.parameters())
    same = model.like()
    assert (same.n_hidden, same.n_restarts) == (N_HIDDEN, N_RESTARTS)


def test_the_basis_is_a_buffer_that_moves_with_the_model_and_is_not_trained() -> None:
    model = random_network(8).to(torch.float32)
    assert model.basis.dtype == model.posterior.basis.dtype == torch.float32
    assert not any(name.endswith("basis") for name, _ in model.named_parameters())
