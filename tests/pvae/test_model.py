"""The parts of the network against closed forms, enumeration and SciPy."""

import numpy as np
import pytest
import scipy.stats
import torch

from spikefit.fitting.pvae.apply import encode, heldout_bound, predict
from spikefit.fitting.pvae.data import windows_of
from spikefit.fitting.pvae.objective import bound, soft_draws, whole_draws
from spikefit.models.pvae import DECODERS, ENCODERS, OBSERVATIONS
from spikefit.models.pvae.parts import bumps
from spikefit.prob import get_estimator, poisson_kl


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_divergence_is_that_of_two_poisson_laws(network):
    model = network()
    residual = torch.randn(2, 3, 5, generator=seeded())
    prior = model.log_prior.exp()[:, None].expand(2, 3, 5)
    torch.testing.assert_close(model.divergence(residual), poisson_kl(model.expected(residual), prior))
    assert (model.divergence(torch.zeros(2, 3, 5)) == 0).all()


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_windows_change_nothing_and_nothing_crosses_a_gap(encoder, decoder, network, counts):
    model, data = network(encoder=encoder, decoder=decoder), counts(lengths=(60, 200))
    whole = predict(model, data)
    cut = windows_of(data, model, core_bins=17)
    from spikefit.fitting.pvae import apply

    parts = torch.cat(
        [apply.mean_prediction(model, *apply.parts(batch), None).transpose(1, 2)[0, :n] for batch, n in
         ((cut.batch(torch.tensor([k])), int(cut.lengths[k])) for k in range(len(cut)))]
    )  # fmt: skip
    np.testing.assert_allclose(parts.detach().numpy(), whole, rtol=2e-4, atol=1e-6)
    # Other spikes beyond the gap are not felt; the same spikes inside the segment are.
    other = counts(lengths=(60, 200))
    other.counts[60:] = 3
    np.testing.assert_array_equal(encode(model, other)[:60], encode(model, data)[:60])
    assert not np.array_equal(encode(model, other)[60:], encode(model, data)[60:])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_unit_that_is_not_shown_is_not_seen(encoder, network, counts):
    model, data, other = network(encoder=encoder), counts(lengths=(80,)), counts(lengths=(80,))
    other.counts[:, 2] += 4
    shown = [k != 2 for k in range(8)]
    np.testing.assert_array_equal(encode(model, other, present=shown), encode(model, data, present=shown))
    assert not np.array_equal(encode(model, other), encode(model, data))


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_observations_are_the_laws_of_scipy(name):
    law = OBSERVATIONS[name](3, "softplus")
    drive = torch.randn(2, 3, 4, generator=seeded(1))
    values = torch.poisson(torch.full((2, 3, 4), 1.5), generator=seeded(2))
    mean = law.mean(drive).detach().numpy()
    expected = {
        "poisson": lambda: scipy.stats.poisson.logpmf(values.numpy(), mean),
        "negative-binomial": lambda: scipy.stats.nbinom.logpmf(values.numpy(), 5.0, 5.0 / (5.0 + mean)),
        "gaussian": lambda: scipy.stats.norm.logpdf(values.numpy(), mean, 1.0),
    }[name]()
    np.testing.assert_allclose(law.log_prob(drive, values).detach().numpy(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.statistical
@pytest.mark.parametrize(("observation", "link"), [("gaussian", "softplus"), ("poisson", "exp")])
def test_the_closed_form_is_the_mean_over_draws(observation, link, network, counts):
    """20,000 draws; 5 standard errors, a false alarm in about two million runs."""
    model = network(decoder="linear", observation=observation, link=link)
    batch = windows_of(counts(lengths=(20,)), model).batch(torch.tensor([0]))
    with torch.no_grad():
        exact = bound(model, batch, None).log_likelihood.item()
        drawn = bound(model, batch, whole_draws(20_000, seeded(3))).log_likelihood[:, 0].double()
    error = (drawn.std() / len(drawn) ** 0.5).item()
    assert abs(drawn.mean().item() - exact) < 5 * error
    assert abs(drawn.mean().item() - 1.05 * exact) > 5 * error  # and 5 % would have been seen


def test_there_is_no_closed_form_where_none_is_known(network, counts):
    for changes in ({"decoder": "mlp"}, {"decoder": "linear", "observation": "negative-binomial", "link": "exp"}):
        model = network(**changes)
        assert not model.has_closed_form
        with pytest.raises(ValueError, match="linear decoder"):
            bound(model, windows_of(counts(lengths=(30,)), model).batch(torch.tensor([0])), None)


@pytest.mark.parametrize("name", ["eat-cubic", "eat-sigmoid", "gsm", "score"])
def test_every_estimator_gives_a_gradient_like_the_exact_one(name, network, counts):
    model = network(decoder="linear", observation="gaussian")
    batch = windows_of(counts(lengths=(12,)), model).batch(torch.tensor([0]))

    def gradient(draw):
        found = bound(model, batch, draw)
        (part,) = torch.autograd.grad(found.log_likelihood.mean(0).sum() + found.correction, model.log_prior)
        return part

    exact = gradient(None)
    n = 5_000 if name == "score" else 1000
    drawn = gradient(soft_draws(get_estimator(name, temperature=0.1), n, seeded(4)))
    assert torch.cosine_similarity(exact, drawn, dim=0) > 0.95


def test_excitatory_networks_only_excite(network):
    for decoder in DECODERS:
        model = network(decoder=decoder, excitatory=True)
        assert (model.decoder.weights() >= 0).all()
        assert (network(decoder=decoder).decoder.weights() < 0).any()


def test_bumps_are_bumps():
    shapes = bumps(15, 9)
    torch.testing.assert_close(shapes.sum(1), torch.ones(9))
    torch.testing.assert_close(shapes, shapes.flip(0, 1))
    assert torch.equal(bumps(2, 9), torch.eye(5))


def test_iwae_is_not_below_the_elbo_and_one_draw_is_the_elbo(network, counts):
    model, data = network(), counts(lengths=(12,) * 6)
    many = heldout_bound(model, data, n_draws=64, seed=0)
    one = heldout_bound(model, data, n_draws=1, seed=0)
    assert many.iwae > many.elbo
    assert one.iwae == pytest.approx(one.elbo)


def test_the_iwae_bound_reaches_the_likelihood_of_a_network_that_can_be_enumerated(network, counts):
    """One bin, one latent, one unit: the sum over the latent's counts is exact; 4,000 draws come within 1 %."""
    model = network(n_units=1, n_latents=1, decoder="linear")
    data = counts(n_units=1, lengths=(1,), seed=3)
    data.counts[:] = 2
    prior = model.log_prior.exp().item()
    z = torch.arange(60.0)[:, None, None]
    with torch.no_grad():
        fit = model.observation.log_prob(model.drive(z), torch.tensor([[[2.0]]]))[:, 0, 0].double()
    exact = torch.logsumexp(fit + torch.from_numpy(scipy.stats.poisson.logpmf(np.arange(60), prior)), 0).item()
    found = heldout_bound(model, data, n_draws=4_000, seed=1)
    assert found.iwae == pytest.approx(exact, rel=0.01)
    assert found.elbo < exact
