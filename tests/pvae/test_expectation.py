"""What is expected of the units over the whole posterior, against a closed form, enumeration and draws."""

import numpy as np
import pytest
import scipy.stats
import torch

from spikefit.models.pvae.expectation import expected_value, poisson_quantile


def rates(*shape, seed=0):
    return 0.02 + 0.6 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def at_mean(model, expected, inside):
    return model.observation.mean(model.drive(model.fill(expected, inside)))


@pytest.mark.parametrize("decoder", ["linear", "conv"])
def test_it_is_the_closed_form_of_the_exponential_link(decoder, network):
    """E[exp(w z)] = exp(λ (e^w − 1)) of every latent spike within reach; the mean at the mean is off by far more."""
    model = network(decoder=decoder, link="exp")
    with torch.no_grad():
        model.decoder.loadings.mul_(5 if decoder == "conv" else 1.5)  # so that one spike matters
    expected, inside = rates(2, 3, 30), torch.ones(2, 1, 30)
    inside[0, :, :4] = 0
    reach = model.decoder.reach
    found = expected_value(model, expected, inside).double()
    kernels = model.decoder.kernels().flip(1).double()
    effect = model.decoder.loadings.detach().double()[:, :, None] * kernels  # unit, latent, lag
    log_value = model.decoder.baseline.detach().double()[:, None].expand(8, 30 - 2 * reach).clone().repeat(2, 1, 1)
    prior = model.log_prior.detach().double().exp()
    for lag in range(2 * reach + 1):
        here = slice(lag, 30 - 2 * reach + lag)
        own = torch.einsum("nk,bkt->bnt", torch.expm1(effect[:, :, lag]), (expected * inside)[:, :, here].double())
        beyond = torch.einsum(
            "nk,bkt->bnt", effect[:, :, lag] * prior, (1 - inside)[:, :, here].expand(2, 3, -1).double()
        )
        log_value += own + beyond
    exact = log_value.exp()
    off = float((found / exact).log().abs().max())
    off_at_mean = float((at_mean(model, expected, inside).detach().double() / exact).log().abs().max())
    assert off < 0.02
    assert off_at_mean > 0.1


@pytest.mark.parametrize("decoder", ["linear", "mlp"])
def test_it_is_the_sum_over_the_counts_of_one_latent(decoder, network):
    model = network(n_latents=1, decoder=decoder)
    expected, inside = torch.tensor([[[0.05, 0.4, 1.5]]]), torch.ones(1, 1, 3)
    counts = torch.arange(40.0)
    with torch.no_grad():
        values = model.observation.mean(model.drive(counts[None, None]))[0].double().numpy()
    exact = values @ scipy.stats.poisson.pmf(np.arange(40)[:, None], expected[0, 0].double().numpy())
    np.testing.assert_allclose(expected_value(model, expected, inside)[0].numpy(), exact, rtol=0.03)


def test_an_edge_is_the_priors_mean_and_no_draw(network):
    model = network()
    inside = torch.zeros(1, 1, 20)
    value = expected_value(model, rates(1, 3, 20), inside)
    torch.testing.assert_close(value, at_mean(model, rates(1, 3, 20), inside).detach())


def test_gaussian_values_have_the_mean_of_their_drive(network):
    model = network(observation="gaussian")
    expected, inside = rates(1, 3, 20), torch.ones(1, 1, 20)
    torch.testing.assert_close(expected_value(model, expected, inside), at_mean(model, expected, inside).detach())


def test_quantiles_are_scipys():
    expected = torch.tensor([0.01, 0.3, 2.0, 40.0])[:, None]
    probability = torch.linspace(0.013, 0.987, 50)
    known = scipy.stats.poisson.ppf(probability.double().numpy(), expected.double().numpy())
    np.testing.assert_array_equal(poisson_quantile(expected.expand(4, 50), probability).numpy(), known)
