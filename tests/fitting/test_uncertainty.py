"""Standard errors against the information matrix written out, and how often their intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spikefit.fitting import uncertainty
from spikefit.fitting.design import Design
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.outcome import CI_LEVEL, CI_SIGMAS
from spikefit.fitting.uncertainty import connectivity_errors, coupling_errors
from spikefit.models.basis import make_basis
from spikefit.simulate import Network, simulate
from spikefit.spikes import Counts

BASIS = torch.from_numpy(make_basis("raised-cosine-log", window_s=0.05, bin_width_s=0.01, n_functions=2))
N_LAGS = len(BASIS)


def make_design(counts: Counts) -> Design:
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    return Design(by_unit, np.array([[N_LAGS, counts.n_bins]]), BASIS, cache_bytes=10**8)


def naive_errors(design: Design, fit: GLMFit, ridge: float, link: str) -> np.ndarray:
    """Standard errors of the sums over lags, (post, pre)."""
    return np.sqrt(np.einsum("nii->ni", naive_covariance(design, fit, ridge, link)))


def naive_covariance(
    design: Design, fit: GLMFit, ridge: float, link: str, senders: tuple[int, ...] | None = None
) -> np.ndarray:
    """Unit by unit: invert the information of weights and baseline, and project on each sender's sum over lags; (post, pre, pre).

    With `senders` these are the only ones in the model: the others' weights are taken to be known.
    """
    features = torch.cat([f for f, _ in design.blocks()], dim=1).numpy()
    with_one = np.concatenate([features, np.ones((1, features.shape[1]))])
    sums = BASIS.numpy().sum(axis=0)
    out = np.empty((design.n_units, design.n_units, design.n_units))
    on_sums = np.kron(np.eye(design.n_units), sums[:, None])
    for post in range(design.n_units):
        drive = fit.weights[post].numpy() @ features + fit.baseline[post].item()
        share = 1 / (1 + np.exp(-drive))
        expected, slope = {
            "exp": (np.exp(drive), np.exp(drive)),
            "softplus": (np.logaddexp(0, drive), share),
            "sigmoid": (5 * share, 5 * share * (1 - share)),
        }[link]
        information = (with_one * (slope**2 / expected)) @ with_one.T
        information += np.diag([ridge] * len(features) + [0.0])
        if senders is not None:
            others = np.repeat(~np.isin(np.arange(design.n_units), senders), 2)
            information[np.ix_(*[np.flatnonzero(others)] * 2)] += 1e15 * np.eye(others.sum())
        covariance = np.linalg.inv(information)
        out[post] = on_sums.T @ covariance[:-1, :-1] @ on_sums
    return out


@pytest.mark.parametrize("ridge", [0.0, 5.0])
@pytest.mark.parametrize("link", ["softplus", "exp", "sigmoid"])
def test_the_errors_are_those_of_the_inverse_information(small_counts: Counts, link: str, ridge: float) -> None:
    design = make_design(small_counts)
    fit = fit_glm(design, ridge=ridge, link=link)
    errors, how = connectivity_errors(design, fit, BASIS, ridge=ridge, link=link)
    assert how == "information"
    np.testing.assert_allclose(errors.numpy(), naive_errors(design, fit, ridge, link), rtol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_errors_of_single_lags_are_those_of_the_same_matrix(
    small_counts: Counts, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    if shared:
        monkeypatch.setattr(uncertainty, "MOST_MULTIPLICATIONS", 0)
    design = make_design(small_counts)
    fit = fit_glm(design, ridge=2.0)
    sums, by_lag, how = coupling_errors(design, fit, BASIS, ridge=2.0, link="softplus")
    alone, same = connectivity_errors(design, fit, BASIS, ridge=2.0, link="softplus")
    assert how == same == ("shared information" if shared else "information")
    torch.testing.assert_close(sums, alone, rtol=1e-9, atol=0)
    assert by_lag is not None
    assert by_lag.shape == (design.n_units, design.n_units, N_LAGS)
    # A basis of one function, which is one lag alone, has that lag's error for its sum.
    for lag in range(N_LAGS):
        row = torch.zeros_like(BASIS)
        row[lag] = BASIS[lag]
        one, _ = connectivity_errors(design, fit, row, ridge=2.0, link="softplus")
        torch.testing.assert_close(by_lag[:, :, lag], one, rtol=1e-9, atol=1e-12)
    # The twin: lags do not share one error, so a mix-up of them would be seen.
    assert not torch.allclose(by_lag, by_lag.roll(1, dims=2), rtol=0.05)
    monkeypatch.setattr(uncertainty, "MOST_SENDERS_AND_LAGS", 1)
    assert coupling_errors(design, fit, BASIS, ridge=2.0, link="softplus")[1] is None


def test_the_shared_information_is_right_where_all_bins_are_alike(
    small_counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = make_design(small_counts)
    fit = fit_glm(design, ridge=1e9)  # no couplings: every bin carries the same information
    own, _ = connectivity_errors(design, fit, BASIS, ridge=2.0, link="softplus")
    monkeypatch.setattr(uncertainty, "MOST_MULTIPLICATIONS", 0)
    shared, how = connectivity_errors(design, fit, BASIS, ridge=2.0, link="softplus")
    assert how == "shared information"
    torch.testing.assert_close(shared, own, rtol=1e-3, atol=0)


def test_the_shared_information_is_close_in_a_coupled_network(
    small_counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = make_design(small_counts)
    fit = fit_glm(design, ridge=1.0)
    own, _ = connectivity_errors(design, fit, BASIS, ridge=1.0, link="softplus")
    monkeypatch.setattr(uncertainty, "MOST_MULTIPLICATIONS", 0)
    shared, _ = connectivity_errors(design, fit, BASIS, ridge=1.0, link="softplus")
    assert (shared / own).log().abs().median() < 0.2


def test_a_silent_sender_has_a_finite_error(small_counts: Counts) -> None:
    small = Counts(
        counts=np.asfortranarray(small_counts.counts * np.array([1, 1, 1, 0], dtype=np.uint8)),
        bin_width_s=0.01,
        segment_offsets=small_counts.segment_offsets,
        segment_start_s=small_counts.segment_start_s,
        unit_ids=small_counts.unit_ids,
    )
    design = make_design(small)
    errors, _ = connectivity_errors(design, fit_glm(design, ridge=1.0), BASIS, ridge=1.0, link="softplus")
    assert torch.isfinite(errors).all()
    # Nothing was seen of it, so the error is what the penalty alone allows.
    np.testing.assert_allclose(errors[:3, 3].numpy(), BASIS.sum(0).norm().item(), rtol=1e-3)


def test_the_level_of_the_intervals_is_what_they_say() -> None:
    from scipy import stats

    assert stats.norm.cdf(CI_SIGMAS) - stats.norm.cdf(-CI_SIGMAS) == pytest.approx(CI_LEVEL, abs=1e-12)


@pytest.mark.slow
@pytest.mark.statistical
def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Coverage over 40 simulated recordings of 3 units, 360 pairs.

    At a true coverage of 0.90 the share has a standard error of 0.016 were pairs independent; ±0.06 is then missed
    less than once in five thousand runs.
    """
    rng = np.random.default_rng(0)
    weights = rng.normal(scale=0.5, size=(3, 3, 2))
    filters = weights @ BASIS.numpy().T  # what the basis can express, so that there is no bias
    network = Network(filters, np.array([-1.5, -2.0, -1.0]), n_visible=3, bin_width_s=0.01)
    inside, inside_half = [], []
    for seed in range(40):
        design = make_design(simulate(network, duration_s=50, seed=seed).visible_counts)
        fit = fit_glm(design, ridge=0.0)
        errors, _ = connectivity_errors(design, fit, BASIS, ridge=0.0, link="softplus")
        found = (fit.weights.reshape(3, 3, 2) @ BASIS.T).sum(-1)
        off = (found - torch.from_numpy(network.connectivity)).abs()
        inside.append((off <= CI_SIGMAS * errors).double().mean().item())
        inside_half.append((off <= 0.5 * CI_SIGMAS * errors).double().mean().item())
    assert abs(np.mean(inside) - CI_LEVEL) < 0.06
    assert abs(np.mean(inside_half) - CI_LEVEL) > 0.06  # errors half as large would be seen


@pytest.mark.parametrize("shared", [False, True])
def test_the_correlation_of_a_receivers_errors_is_that_of_the_inverse_information(
    small_counts: Counts, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    design = make_design(small_counts)
    # Without couplings every bin carries the same information, and what is shared is exact.
    fit = fit_glm(design, ridge=1e9 if shared else 2.0)
    if shared:
        monkeypatch.setattr(uncertainty, "MOST_MULTIPLICATIONS", 0)
    found = uncertainty.errors_of_fit(design, fit, BASIS, ridge=2.0, link="softplus").correlation.numpy()
    covariance = naive_covariance(design, fit, 2.0, "softplus")
    scale = np.sqrt(np.einsum("nii->ni", covariance))
    expected = covariance / scale[:, :, None] / scale[:, None, :]
    assert len(found) == (1 if shared else design.n_units)
    np.testing.assert_allclose(np.broadcast_to(found, expected.shape), expected, atol=5e-3 if shared else 1e-6)
    # The twin: senders do go together, so an identity would be seen.
    assert np.abs(expected - np.eye(design.n_units)).max() > 0.02


@pytest.mark.parametrize("shared", [False, True])
def test_the_variance_inflation_is_against_a_model_of_one_sender(small_counts: Counts, shared: bool) -> None:
    design = make_design(small_counts)
    fit = fit_glm(design, ridge=1e9 if shared else 2.0)  # as above: then what is shared is exact
    found = uncertainty.errors_of_fit(design, fit, BASIS, ridge=2.0, link="softplus", shared=shared).inflation
    assert found is not None
    whole = naive_covariance(design, fit, 2.0, "softplus")
    expected = np.empty((design.n_units, design.n_units))
    for pre in range(design.n_units):
        alone = naive_covariance(design, fit, 2.0, "softplus", senders=(pre,))
        expected[:, pre] = whole[:, pre, pre] / alone[:, pre, pre]
    np.testing.assert_allclose(found.numpy(), expected, rtol=5e-3 if shared else 1e-5)
    assert expected.max() > 1.01


def test_a_sender_that_another_copies_is_inflated_and_a_known_sender_is_not() -> None:
    """A follower that repeats nine tenths of unit 0's spikes one bin earlier than unit 2 is driven leaves little of its own."""
    rng = np.random.default_rng(12)
    counts = rng.poisson(0.1, (20_000, 3))
    counts[:, 1] = np.where(rng.random(20_000) < 0.95, counts[:, 0], rng.poisson(0.1, 20_000))
    design = Design(
        torch.from_numpy(np.ascontiguousarray(counts.T)), np.array([[N_LAGS, 20_000]]), BASIS, cache_bytes=10**8
    )
    fit = fit_glm(design, ridge=1.0)
    found = uncertainty.errors_of_fit(design, fit, BASIS, ridge=1.0, link="softplus").inflation
    assert found is not None
    assert found[2, :2].min() > 5
    assert found[:2, 2].max() < 1.1
    free = torch.ones(3, design.n_features, dtype=torch.bool)
    free[2, 2:4] = False  # unit 1 is known not to send to unit 2
    one = uncertainty.errors_of_fit(design, fit, BASIS, ridge=1.0, link="softplus", free=free).inflation
    assert one is not None
    assert torch.isnan(one[2, 1])
    assert one[2, 0] < 1.1
