"""Links, the Poisson log-likelihood and the divergence: values against SciPy, gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from spikefit.models.likelihood import hidden_divergence, log_likelihood, posterior_mean
from spikefit.models.link import LINKS, inverse_link
from spikefit.models.pvae.observations import PoissonObservation

LINK_NAMES = sorted(LINKS)
EXACT = {
    "softplus": lambda drive: np.logaddexp(0, drive),
    "exp": np.exp,
    "sigmoid": lambda drive: 5 * special.expit(drive),
}
SHAPE = (2, 3, 2, 4, 5)  # draw, window, restart, unit, bin


def random_case(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Drives, counts and a mask that leaves out bins of some windows."""
    rng = np.random.default_rng(seed)
    drive = torch.from_numpy(rng.normal(size=SHAPE))
    counts = torch.from_numpy(rng.poisson(1.5, (SHAPE[1], *SHAPE[3:])).astype(np.float64))
    scored = torch.ones(SHAPE[1], SHAPE[4], dtype=torch.bool)
    scored[1, 3:] = False
    scored[2, :] = False
    return drive, counts, scored


# -- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", LINK_NAMES)
def test_a_link_and_its_derivative_agree_with_numpy_and_with_finite_differences(link: str) -> None:
    drive = torch.linspace(-30, 30, 601, dtype=torch.float64)
    value, slope = LINKS[link](drive)
    np.testing.assert_allclose(value.numpy(), EXACT[link](drive.numpy()), rtol=1e-12)
    step = 1e-5
    by_difference = (EXACT[link](drive.numpy() + step) - EXACT[link](drive.numpy() - step)) / (2 * step)
    np.testing.assert_allclose(slope.numpy(), by_difference, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("link", LINK_NAMES)
def test_extreme_drives_stay_finite_and_above_zero(link: str, dtype: torch.dtype) -> None:
    drive = torch.tensor([-1e30, -1e4, -700.0, -90.0, 0.0, 90.0, 1e3], dtype=dtype)
    value, slope = LINKS[link](drive)
    assert (value > 0).all()
    for tensor in (value, slope, value.log(), 1 / value, slope / value):
        assert torch.isfinite(tensor).all()


def test_softplus_is_the_identity_far_above_zero() -> None:
    value, slope = LINKS["softplus"](torch.tensor([81.0, 1e4, 1e30]))
    assert value.tolist() == torch.tensor([81.0, 1e4, 1e30]).tolist()
    assert slope.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("link", LINK_NAMES)
def test_a_link_leaves_its_argument_alone(link: str) -> None:
    drive = torch.tensor([-1.0, 2.0])
    LINKS[link](drive)
    assert drive.tolist() == [-1.0, 2.0]


@pytest.mark.parametrize("link", LINK_NAMES)
def test_the_inverse_link_goes_back(link: str) -> None:
    expected = torch.logspace(-8, 0.69 if link == "sigmoid" else 2, 60, dtype=torch.float64)  # 10^0.69 is 4.9 of 5
    value, _ = LINKS[link](inverse_link(link, expected))
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("link", LINK_NAMES)
def test_every_link_means_the_same_in_a_latent_code(link: str) -> None:
    drive = torch.linspace(-10, 4, 30, dtype=torch.float64)[None].requires_grad_()
    expected = PoissonObservation(1, link).mean(drive)
    value, slope = LINKS[link](drive.detach())
    torch.testing.assert_close(expected.detach(), value)
    torch.testing.assert_close(torch.autograd.grad(expected.sum(), drive)[0], slope)


def test_the_bounded_link_has_no_more_than_its_ceiling_to_give() -> None:
    drive = inverse_link("sigmoid", torch.tensor([5.0, 80.0], dtype=torch.float64))
    assert torch.isfinite(drive).all()
    torch.testing.assert_close(
        LINKS["sigmoid"](drive)[0], torch.tensor([5.0, 5.0], dtype=torch.float64), rtol=1e-5, atol=0
    )


def test_an_unknown_link_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="softplus, exp, sigmoid"):
        inverse_link("relu", torch.ones(1))


# -- the log-likelihood ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("link", LINK_NAMES)
def test_the_log_likelihood_is_scipys_without_the_factorials(link: str, masked: bool) -> None:
    drive, counts, scored = random_case(1)
    x = counts.numpy()[None, :, None]
    terms = stats.poisson.logpmf(x, EXACT[link](drive.numpy())) + special.gammaln(x + 1)
    if masked:
        terms = terms * scored.numpy()[None, :, None, None]
    found = log_likelihood(drive, counts, scored if masked else None, link)
    np.testing.assert_allclose(found.numpy(), terms.sum(-1), rtol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("link", LINK_NAMES)
def test_the_gradient_of_the_log_likelihood(link: str, masked: bool) -> None:
    drive, counts, scored = random_case(2)
    mask = scored if masked else None
    assert torch.autograd.gradcheck(lambda d: log_likelihood(d, counts, mask, link), drive.requires_grad_())


@pytest.mark.parametrize("link", LINK_NAMES)
def test_what_lies_in_bins_that_are_not_scored_counts_for_nothing(link: str) -> None:
    drive, counts, scored = random_case(3)
    wild_drive, wild_counts = drive.clone(), counts.clone()
    out = ~scored
    wild_drive.movedim(1, 0)[out[:, None, None, None].expand(drive.movedim(1, 0).shape)] = 1e6
    wild_counts[out[:, None].expand(counts.shape)] = 200.0
    results = []
    for d, c in ((drive, counts), (wild_drive, wild_counts)):
        d.requires_grad_()
        total = log_likelihood(d, c, scored, link)
        total.sum().backward()
        results.append((total.detach(), d.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert (results[0][1][:, 2] == 0).all()
    assert (results[0][1][:, 0] != 0).any()


# -- the divergence --------------------------------------------------------------------------------------------------

FAMILIES = ["poisson", "categorical"]


def law_of(rate: float, family: str) -> np.ndarray:
    """Probability of every count under the posterior."""
    counts = np.arange(400)
    if family == "poisson":
        return stats.poisson.pmf(counts, rate)
    return np.where(counts == 0, np.exp(-rate), np.where(counts == 1, -np.expm1(-rate), 0.0))


def enumerated_divergence(rate: float, prior: float, family: str) -> float:
    """KL of the posterior from a Poisson law as a sum over counts."""
    q = law_of(rate, family)
    seen = q > 0
    return float(
        (q * (np.log(q, where=seen, out=np.zeros(400)) - stats.poisson.logpmf(np.arange(400), prior)))[seen].sum()
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("link", LINK_NAMES)
@pytest.mark.parametrize(("rate", "drive"), [(1e-6, -9.0), (0.01, -2.0), (0.5, 0.3), (3.0, 1.1), (12.0, 2.0)])
def test_the_divergence_equals_the_sum_over_counts(link: str, family: str, rate: float, drive: float) -> None:
    log_rate = torch.full((1, 1, 1, 1), np.log(rate), dtype=torch.float64)
    drives = torch.full((1, 1, 1, 1, 1), drive, dtype=torch.float64)
    found = hidden_divergence(log_rate, drives, None, link=link, family=family)
    expected = enumerated_divergence(rate, float(EXACT[link](drive)), family)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mean_of_the_posterior_is_that_of_its_law(family: str) -> None:
    rates = torch.tensor([1e-6, 0.3, 4.0], dtype=torch.float64)
    expected = [(law_of(float(rate), family) * np.arange(400)).sum() for rate in rates]
    np.testing.assert_allclose(posterior_mean(rates.log(), family).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("link", LINK_NAMES)
def test_the_divergence_is_zero_where_the_posterior_is_the_law_itself(link: str) -> None:
    drive, _, _ = random_case(4)
    log_rate = LINKS[link](drive)[0][0].log()
    found = hidden_divergence(log_rate, drive[:1], None, link=link, family="poisson")
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)
    assert (hidden_divergence(log_rate + 0.3, drive[:1], None, link=link, family="poisson") > 0.01).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("link", LINK_NAMES)
def test_the_gradient_of_the_divergence(link: str, family: str, masked: bool) -> None:
    drive, _, scored = random_case(5)
    log_rate = torch.randn(SHAPE[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    mask = scored if masked else None
    assert torch.autograd.gradcheck(
        lambda q, d: hidden_divergence(q, d, mask, link=link, family=family),
        (log_rate.requires_grad_(), drive.requires_grad_()),
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("link", LINK_NAMES)
def test_the_masked_divergence_is_the_sum_over_scored_bins(link: str, family: str) -> None:
    drive, _, scored = random_case(6)
    log_rate = torch.randn(SHAPE[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    kind = {"link": link, "family": family}
    found = hidden_divergence(log_rate, drive, scored, **kind)
    assert (found[:, 2] == 0).all()
    torch.testing.assert_close(found[:, 0], hidden_divergence(log_rate[:1], drive[:, :1], None, **kind)[:, 0])
    cut = hidden_divergence(log_rate[1:2, ..., :3], drive[:, 1:2, ..., :3], None, **kind)
    torch.testing.assert_close(found[:, 1], cut[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("link", LINK_NAMES)
def test_a_posterior_at_its_extremes_has_finite_divergence_and_gradients(
    link: str, family: str, dtype: torch.dtype
) -> None:
    log_rate = torch.tensor([-16.0, -16.0, 4.0, 4.0], dtype=dtype).reshape(1, 1, 1, 4).requires_grad_()
    drive = torch.tensor([-50.0, 5.0, -50.0, 5.0], dtype=dtype).reshape(1, 1, 1, 1, 4).requires_grad_()
    total = hidden_divergence(log_rate, drive, None, link=link, family=family).sum()
    total.backward()
    for tensor in (total, log_rate.grad, drive.grad):
        assert torch.isfinite(tensor).all()
