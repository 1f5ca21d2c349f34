"""The bound over windows: against enumeration of the hidden counts, and unmoved by how the recording is cut."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.loop import judge
from spikefit.fitting.objective import elbo, hard_draws
from spikefit.fitting.scores import glm_nats, poglm_nats
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.coupling import history_features
from spikefit.models.hidden_draws import DrawHidden, EstimatorDraws
from spikefit.models.likelihood import hidden_divergence
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.posteriors import POSTERIORS
from spikefit.prob import Estimator, get_estimator, poisson_correction, poisson_log_prob
from spikefit.prob.chain import categorical_estimator
from spikefit.prob.estimators import PathwiseDraws
from spikefit.prob.single import occupancy
from spikefit.spikes import Counts

MakeModel = Callable[..., POGLMNetwork]
MakeCounts = Callable[..., Counts]


def windows_of(model: POGLMNetwork, counts: Counts, core_bins: int, offsets: np.ndarray | None = None) -> Windows:
    """Windows over all bins with a whole history; `offsets` pretends other segments."""
    usable = np.stack([counts.segment_offsets[:-1] + model.n_lags, counts.segment_offsets[1:]], axis=1)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    return Windows(
        by_unit,
        counts.segment_offsets if offsets is None else offsets,
        usable,
        context=model.context,
        core_bins=core_bins,
        dtype=model.basis.dtype,
    )


class ExpectedAsDrawn:
    """The expected counts themselves for draws: nothing is left to chance."""

    n_draws = 1

    def __call__(self, expected: Tensor) -> PathwiseDraws:
        return PathwiseDraws(expected[None])

    def turns(self, like: Tensor, *, with_slopes: bool) -> ExpectedAsDrawn:
        return self

    def counts(self, bin_: int, rate: Tensor) -> Tensor:
        return rate

    def slopes(self, rates: Tensor) -> Tensor:
        return torch.ones_like(rates)

    def gather(self, counts: Tensor, rate: Tensor) -> PathwiseDraws:
        return PathwiseDraws(counts)


expected_as_drawn = ExpectedAsDrawn()


def totals(model: POGLMNetwork, windows: Windows) -> Tensor:
    """Bound of every window with nothing left to chance."""
    parts = [elbo(model, batch, expected_as_drawn).total[0] for batch in windows.batches(7)]
    return torch.cat(parts).detach()


# -- how the recording is cut ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", ["forward-backward", "forward"])
def test_the_objective_does_not_move_with_the_length_of_the_windows(
    make_model: MakeModel, segmented: MakeCounts, posterior: str
) -> None:
    model = make_model(3, 2, n_lags=4, n_restarts=2, posterior=posterior)
    counts = segmented([700, 90, 1301])
    whole = totals(model, windows_of(model, counts, 10_000)).sum(0)
    for core_bins in (650, 325, 50, 7):
        cut = totals(model, windows_of(model, counts, core_bins)).sum(0)
        torch.testing.assert_close(cut, whole, rtol=1e-11, atol=0)
    # Were each window cut off from its true context, the objective would move by far more.
    edges = windows_of(model, counts, 50).starts - model.n_lags
    islands = np.append(np.unique(edges), counts.segment_offsets[-1])
    cut_off = totals(model, windows_of(model, counts, 50, offsets=islands)).sum(0)
    assert ((cut_off - whole).abs() > 1.0).all()


def test_hidden_units_that_see_themselves_forget_how_their_window_began(
    make_model: MakeModel, segmented: MakeCounts
) -> None:
    """They start silent, one history window ahead of the scored bins; what is left of it there is small."""
    model = make_model(3, 2, n_lags=4, n_restarts=2, posterior="forward-self")
    counts = segmented([700, 90, 1301])
    whole = totals(model, windows_of(model, counts, 10_000)).sum(0)
    moved = [
        (totals(model, windows_of(model, counts, core_bins)).sum(0) / whole - 1).abs().max().item()
        for core_bins in (650, 325, 7)
    ]
    assert moved[0] < 0.001
    assert moved[1] < 0.003
    assert moved[2] > 0.03  # with hardly anything but beginnings it would show


@pytest.mark.statistical
def test_with_random_draws_it_moves_no_further_than_monte_carlo_error(
    make_model: MakeModel, segmented: MakeCounts
) -> None:
    """Means over 400 draws at two window lengths, five standard errors apart at most: one false alarm in 10⁶."""
    model = make_model(3, 2, n_lags=4)
    counts = segmented([600])
    estimator = get_estimator("eat-cubic", temperature=0.5)
    generator = torch.Generator().manual_seed(1)

    def by_draw(core_bins: int) -> Tensor:
        windows = windows_of(model, counts, core_bins)
        batch = windows.batch(torch.arange(len(windows)))
        bound = elbo(model, batch, lambda rate: estimator.draw(rate, n_draws=400, generator=generator))
        return bound.total.detach().sum((1, 2))

    long, short = by_draw(1000), by_draw(40)
    error = (long.var() / len(long) + short.var() / len(short)).sqrt()
    assert (long.mean() - short.mean()).abs() < 5 * error
    assert error < 0.002 * long.mean().abs()  # fine enough to see what matters


def test_training_windows_of_one_bin_and_of_all_bins_have_the_same_gradient(
    make_model: MakeModel, segmented: MakeCounts
) -> None:
    counts = segmented([150], n_units=2)
    gradients = []
    for core_bins in (1000, 20):
        model = make_model(2, 1, n_lags=3, seed=5)
        windows = windows_of(model, counts, core_bins)
        elbo(model, windows.batch(torch.arange(len(windows))), expected_as_drawn).total.sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-9)


# -- gaps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["elbo", "posterior", "glm"])
def test_what_happens_in_one_segment_leaves_the_next_bit_for_bit(
    make_model: MakeModel, segmented: MakeCounts, score: str
) -> None:
    model = make_model(3, 2, n_lags=4)
    counts = segmented([300, 400])
    other = segmented([300, 400])
    other.counts[:300] = segmented([300], seed=9, expected=1.0).counts
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, 3 * model.basis.shape[1], dtype=torch.float64, generator=generator)
    glm = GLMFit(weights, torch.full((3,), -2.0, dtype=torch.float64), torch.zeros(3), converged=True)

    def of_second(recording: Counts, offsets: np.ndarray | None) -> Tensor:
        windows = windows_of(model, recording, 100, offsets)
        second = torch.from_numpy(np.flatnonzero(windows.starts >= 300))
        if score == "elbo":
            return totals(model, windows)[second]
        if score == "glm":
            return glm_nats(glm, windows, model.basis, "softplus")[second]
        return model.posterior(model.posterior.features(windows.batch(second).counts)).detach()

    assert torch.equal(of_second(counts, None), of_second(other, None))
    if score == "glm":  # its history alone never leaves the scored range's own segment
        return
    # The twin: as one segment, what was before the gap reaches behind it.
    merged = np.array([0, 700])
    assert not torch.equal(of_second(counts, merged), of_second(other, merged))


def test_the_future_does_not_reach_back_over_a_gap(make_model: MakeModel, segmented: MakeCounts) -> None:
    model = make_model(3, 2, n_lags=4)
    counts, other = segmented([300, 400]), segmented([300, 400])
    other.counts[300:] = segmented([400], seed=9, expected=1.0).counts

    def of_first(recording: Counts, offsets: np.ndarray | None) -> Tensor:
        windows = windows_of(model, recording, 100, offsets)
        return totals(model, windows)[torch.from_numpy(np.flatnonzero(windows.starts < 300))]

    assert torch.equal(of_first(counts, None), of_first(other, None))
    merged = np.array([0, 700])
    assert not torch.equal(of_first(counts, merged), of_first(other, merged))


# -- without hidden effects ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["poisson", "categorical"])
def test_hidden_units_without_effect_leave_the_glm_less_their_divergence(
    make_model: MakeModel, segmented: MakeCounts, family: str
) -> None:
    model = make_model(3, 2, n_lags=4, family=family)
    with torch.no_grad():
        model.hidden_weights[:, :3] = 0  # on visible units; on one another they may act
        model.hidden_weights[:, 3:] = 0
    counts = segmented([500, 200])
    windows = windows_of(model, counts, 60)
    glm = GLMFit(model.visible_weights[0, :3], model.baseline[0, :3], torch.zeros(3), converged=True)
    likelihood = glm_nats(glm, windows, model.basis, "softplus")
    batch = windows.batch(torch.arange(len(windows)))
    bound = elbo(model, batch, hard_draws(model, 5, torch.Generator().manual_seed(0)))
    for draw in bound.visible[..., 0].detach():
        torch.testing.assert_close(draw, likelihood, rtol=1e-12, atol=1e-12)
    # The divergence is closed form, and no draw moves it.
    history_end = batch.counts.shape[-1] - model.context[1]
    history = history_features(batch.counts[..., model.n_lags : history_end], model.basis)
    log_rate = model.posterior(model.posterior.features(batch.counts))[..., model.n_lags :]
    prior = model.visible_drive(history)[None, ..., 3:, :]
    divergence = hidden_divergence(log_rate, prior, batch.scored, link="softplus", family=family)
    torch.testing.assert_close(bound.divergence, divergence.expand(5, -1, -1, -1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        bound.total[:, :, 0], (likelihood - divergence[0, :, 0].sum(-1)).expand(5, -1), rtol=1e-11, atol=1e-11
    )


# -- against enumeration ---------------------------------------------------------------------------------------------

LARGEST = 9  # hidden counts are enumerated from 0 to here; P(more) < 1e-9 at these expected counts


@dataclasses.dataclass
class Tiny:
    """One lag, two scored bins: the hidden bins that matter are the one before and the first, for every hidden unit."""

    model: POGLMNetwork
    batch: WindowBatch

    @property
    def rate(self) -> Tensor:
        """(configuration, hidden, bin), given the configuration: one bin of context and the two scored ones."""
        posterior = self.model.posterior
        log_rate, _ = posterior.draw(posterior.features(self.batch.counts), Given(self.table()))
        return log_rate.expand(len(self.configurations()), 1, 1, -1, -1)[:, 0, 0].exp()

    def table(self) -> Tensor:
        """The configurations as draws, (draw, hidden, bin); nothing in the last bin, which acts on nothing."""
        return torch.nn.functional.pad(self.configurations(), (0, 1))

    def configurations(self) -> Tensor:
        """All counts of the hidden units in the bin before and in the first scored bin; (configuration, hidden, 2)."""
        n, largest = self.model.n_hidden, self.model.max_count if self.model.family == "categorical" else LARGEST
        table = list(itertools.product(range(largest + 1), repeat=2 * n))
        return torch.tensor(table, dtype=torch.float64).reshape(-1, n, 2)

    def weights(self) -> Tensor:
        """q of every configuration."""
        rate, z = self.rate[:, :, :2], self.configurations()
        if self.model.family == "categorical":
            return chain(z, rate, self.model.max_count).prod(2).prod(1)
        return poisson_log_prob(rate, z).sum((1, 2)).exp()


def chain(z: Tensor, rate: Tensor, largest: int) -> Tensor:
    """Probability of categorical counts (…, hidden, bin), whose rates have `largest` rows per hidden unit: spike after spike."""
    by_step = rate.unflatten(-2, (-1, largest))
    one, out = torch.ones_like(z), 1.0
    for k in range(largest):
        another, no_more = -torch.expm1(-by_step[..., k, :]), torch.exp(-by_step[..., k, :])
        out = out * torch.where(z > k, another * one, torch.where(z == k, no_more * one, one))
    return torch.as_tensor(out)


@dataclasses.dataclass
class Given:
    """Counts from a table, one draw a row, whatever their rates; all at once or bin by bin."""

    table: Tensor

    @property
    def n_draws(self) -> int:
        return len(self.table)

    def __call__(self, rate: Tensor) -> PathwiseDraws:
        return PathwiseDraws(self.table[:, None, None])

    def turns(self, like: Tensor, *, with_slopes: bool) -> Given:
        return self

    def counts(self, bin_: int, rate: Tensor) -> Tensor:
        return self.table[None, ..., bin_]

    def slopes(self, rates: Tensor) -> None:
        return None

    def gather(self, counts: Tensor, rate: Tensor) -> PathwiseDraws:
        return PathwiseDraws(counts)


def make_tiny(make_model: MakeModel, family: str, posterior: str = "forward-backward") -> Tiny:
    family, _, largest = family.partition("≤")
    model = make_model(
        2,
        2,
        n_lags=1,
        n_functions=1,
        size=0.7,
        seed=11,
        family=family,
        posterior=posterior,
        max_count=int(largest or 1),
    )
    with torch.no_grad():
        model.posterior.offset.fill_(-0.7)
    counts = torch.tensor([[[1.0, 0, 2, 1, 0], [0, 1, 0, 3, 1]]], dtype=torch.float64)
    assert model.context == (2, 1)
    return Tiny(model, WindowBatch(counts, None, 2))


@pytest.fixture
def tiny(make_model: MakeModel) -> Tiny:
    return make_tiny(make_model, "poisson")


KINDS = ["poisson", "categorical", "categorical≤3"]


@pytest.fixture(params=KINDS)
def tiny_of_a_family(make_model: MakeModel, request: pytest.FixtureRequest) -> Tiny:
    return make_tiny(make_model, request.param)


@pytest.fixture(params=list(itertools.product(KINDS, POSTERIORS)), ids="-".join)
def tiny_of_a_kind(make_model: MakeModel, request: pytest.FixtureRequest) -> Tiny:
    return make_tiny(make_model, *request.param)


def written_out(tiny: Tiny) -> tuple[float, float]:
    """The bound and the log-evidence of the two scored bins, from the model's definition, in NumPy."""
    model = tiny.model
    x = tiny.batch.counts[0].numpy()
    filters = model.coupling_filters()[0, :, :, 0].detach().numpy()
    baseline = model.baseline[0].detach().numpy()
    rate = tiny.rate.detach().numpy()
    binary = model.family == "categorical"
    n = model.n_visible
    z = tiny.configurations().numpy()
    value = np.zeros(len(z))

    def law(x: np.ndarray, own: np.ndarray) -> np.ndarray:
        if not binary:
            return stats.poisson.pmf(x, own)
        return chain(torch.from_numpy(x + 0.0)[..., None], torch.from_numpy(own)[..., None], model.max_count)[
            ..., 0
        ].numpy()

    weight = law(z[:, :, 0], rate[:, :, 0]).prod(axis=1)
    joint = weight.copy()
    weight = weight * law(z[:, :, 1], rate[:, :, 1]).prod(axis=1)
    for place in range(2):  # the first scored bin is bin 2 of x
        past = np.concatenate([np.broadcast_to(x[:, 1 + place], (len(z), n)), z[:, :, place]], axis=1)
        expected = np.logaddexp(0, baseline + past @ filters.T)
        seen, prior, own = x[:, 2 + place], expected[:, n:], rate[:, :, 1 + place]
        log_visible = (stats.poisson.logpmf(seen, expected[:, :n]) + special.gammaln(seen + 1)).sum(axis=1)
        possible = np.arange(model.max_count + 1 if binary else 40)[:, None, None]
        q = law(np.broadcast_to(possible, (len(possible), *prior.shape)), own)
        value += log_visible - (q * (np.log(q) - stats.poisson.logpmf(possible, prior))).sum(axis=(0, 2))
        joint *= np.exp(log_visible)
        if place == 0:  # spikes in the last bin act on nothing that is scored, and sum to one
            joint *= stats.poisson.pmf(z[:, :, 1], prior).prod(axis=1)
    return float(weight @ value), float(np.log(joint.sum()))


def at_configurations(tiny: Tiny) -> Tensor:
    """The bound of every configuration by the code that trains."""
    return elbo(tiny.model, tiny.batch, Given(tiny.table())).total[:, 0, 0]


def exact_gradient(tiny: Tiny) -> Tensor:
    """Of the bound in all parameters, through every hidden count weighed by its probability."""
    (tiny.weights() * at_configurations(tiny)).sum().backward()
    return take_gradient(tiny.model)


def take_gradient(model: POGLMNetwork) -> Tensor:
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    model.zero_grad()
    return torch.cat([part.flatten() for part in parts])


def test_the_bound_equals_its_definition_and_lies_below_the_evidence(tiny_of_a_kind: Tiny) -> None:
    tiny = tiny_of_a_kind
    bound, evidence = written_out(tiny)
    enumerated = (tiny.weights() * at_configurations(tiny)).sum().item()
    assert tiny.weights().sum().item() == pytest.approx(1, abs=1e-8)
    assert enumerated == pytest.approx(bound, abs=1e-6)
    assert bound < evidence - 0.01
    if tiny.model.posterior_name == "forward-self":  # the twin: as if no hidden spike were seen by the posterior
        with torch.no_grad():
            tiny.model.posterior.get_parameter("own").zero_()
        assert abs(written_out(tiny)[0] - bound) > 0.001


@pytest.mark.statistical
def test_hard_draws_estimate_the_bound(tiny_of_a_kind: Tiny, assert_mean: Callable[..., None]) -> None:
    """Six standard errors: one false alarm in five hundred million."""
    tiny = tiny_of_a_kind
    bound, evidence = written_out(tiny)
    draws = (
        elbo(tiny.model, tiny.batch, hard_draws(tiny.model, 40_000, torch.Generator().manual_seed(2)))
        .total[:, 0, 0]
        .detach()
    )
    assert_mean(draws, torch.tensor(bound))
    with pytest.raises(AssertionError, match="standard errors"):
        assert_mean(draws, torch.tensor(evidence))


def sampled_gradients(tiny: Tiny, draw: DrawHidden, n_batches: int) -> Tensor:
    """Gradients of independent batches of many copies of the window, per copy."""
    copies = 400
    batch = WindowBatch(tiny.batch.counts.expand(copies, -1, -1).contiguous(), None, 2 * copies)
    out = []
    for _ in range(n_batches):
        bound = elbo(tiny.model, batch, draw)
        (bound.total.mean(0).sum() + bound.correction).backward()
        out.append(take_gradient(tiny.model) / copies)
    return torch.stack(out)


def estimator_for(model: POGLMNetwork, name: str, temperature: float = 0.5) -> Estimator:
    if model.family == "categorical":
        return categorical_estimator(name, temperature=temperature, max_count=model.max_count)
    return get_estimator(name, temperature=temperature)


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["score", "exact"])
def test_the_unbiased_estimators_have_the_enumerated_gradient(
    tiny_of_a_kind: Tiny, assert_mean: Callable[..., None], name: str
) -> None:
    """Every parameter within six standard errors: one false alarm in ten million."""
    tiny = tiny_of_a_kind
    if name == "exact" and tiny.model.posterior_name == "forward-self":
        pytest.skip("refused: a spike changes the later posterior")
    exact = exact_gradient(tiny)
    generator = torch.Generator().manual_seed(3)
    estimator = estimator_for(tiny.model, name)
    found = sampled_gradients(
        tiny, EstimatorDraws(estimator, tiny.model.family, 4, generator, tiny.model.max_count), 60
    )
    moving = found.std(0) > 1e-12
    torch.testing.assert_close(found.mean(0)[~moving], exact[~moving], rtol=1e-6, atol=1e-6)
    assert_mean(found[:, moving], exact[moving])
    # Without its correction the gradient of the posterior is wrong, and that is seen.
    plain = sampled_gradients(tiny, hard_draws(tiny.model, 4, generator), 60)
    with pytest.raises(AssertionError, match="standard errors"):
        assert_mean(plain[:, moving], exact[moving])


@dataclasses.dataclass
class Enumerated:
    """Every configuration as one draw, with its weight through the mean over draws: nothing is left to chance."""

    counts: Tensor
    mean: Tensor
    weights: Tensor
    needs_effect: bool = True

    def correction(self, objective: Tensor, effect: Tensor | None = None) -> Tensor:
        assert effect is not None
        weights = self.weights * len(self.weights)
        return poisson_correction(self.mean, effect * weights.reshape(-1, *(1,) * (effect.ndim - 1)))


@pytest.mark.parametrize("twisted", [False, True])
def test_the_exact_gradient_agrees_with_enumeration_to_ten_digits(tiny_of_a_family: Tiny, twisted: bool) -> None:
    tiny = tiny_of_a_family
    with torch.no_grad():
        tiny.model.posterior.offset.fill_(-3.0)  # so few spikes that what the table of counts cuts off is below 1e-12
    weights = tiny.weights().detach()
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)

    def draw(rate: Tensor) -> Enumerated:
        n = tiny.model.n_hidden
        table = torch.cat([tiny.configurations(), torch.zeros(len(weights), n, 1).double()], dim=2)[:, None, None]
        if tiny.model.max_count > 1:
            steps = occupancy(rate).unflatten(-2, (n, -1))  # chances of one more, whose products are those of so many
            return Enumerated(table, steps if twisted else steps.cumprod(-2), weights)
        poisson = tiny.model.family == "poisson"
        return Enumerated(table, rate if poisson != twisted else occupancy(rate), weights)

    bound = elbo(tiny.model, tiny.batch, draw)
    ((weights * bound.total[:, 0, 0]).sum() + bound.correction).backward()
    found = take_gradient(tiny.model)
    (tiny.weights() * at_configurations(tiny)).sum().backward()
    expected = take_gradient(tiny.model)
    close = bool((found - expected).abs().max() < 1e-10)
    # The derivative in another parameter than the effect belongs to is the twin that must fail.
    assert close == (not twisted)


@pytest.mark.parametrize(("family", "largest"), [("poisson", 1), ("categorical", 1), ("categorical", 3)])
def test_the_effect_of_a_spike_is_what_trying_it_shows(
    make_model: MakeModel, segmented: MakeCounts, family: str, largest: int
) -> None:
    """Several lags, windows of unequal length, two restarts, several draws; every latent tried, in float64."""
    model = make_model(3, 2, n_lags=4, n_restarts=2, family=family, max_count=largest)
    windows = windows_of(model, segmented([40, 27]), 30)
    batch = windows.batch(torch.arange(len(windows)))
    assert batch.scored is not None
    seen: list[Tensor] = []

    class Listening(Enumerated):
        def correction(self, objective: Tensor, effect: Tensor | None = None) -> Tensor:
            assert effect is not None
            seen.append(effect)
            return objective.new_zeros(())

    rate = model.posterior(model.posterior.features(batch.counts[..., : batch.counts.shape[-1]])).exp().detach()
    counts = hard_draws(model, 2, torch.Generator().manual_seed(1))(rate).counts
    elbo(model, batch, lambda rate: Listening(counts, rate, rate))

    def bound_of(z: Tensor) -> Tensor:
        # Each window and restart by itself: trying a spike in one leaves the others.
        return elbo(model, batch, lambda _: PathwiseDraws(z)).total.detach()

    before = bound_of(counts)
    for hidden, place in itertools.product(range(2), range(counts.shape[-1])):
        if largest > 1:
            given = []
            for k in range(largest + 1):
                counts_k = counts.clone()
                counts_k[..., hidden, place] = k
                given.append(bound_of(counts_k))
            torch.testing.assert_close(
                seen[0][..., hidden, :, place], torch.stack(given).diff(dim=0).movedim(0, -1), rtol=0, atol=1e-10
            )
            continue
        more, none = counts.clone(), counts.clone()
        if family == "poisson":
            more[..., hidden, place] += 1
        else:
            more[..., hidden, place], none[..., hidden, place] = 1.0, 0.0
        tried = bound_of(more) - (before if family == "poisson" else bound_of(none))
        torch.testing.assert_close(seen[0][..., hidden, place], tried, rtol=0, atol=1e-10)


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["eat-cubic", "eat-sigmoid"])
def test_soft_counts_come_close_to_the_enumerated_gradient(tiny_of_a_kind: Tiny, name: str) -> None:
    """Soft counts are biased by design; at a sharp edge little is left of it."""
    tiny = tiny_of_a_kind
    # Of the posterior's own parameters: the others hardly need the path through the draws.
    of_posterior = sum(p.numel() for n, p in tiny.model.named_parameters() if n.startswith("posterior."))
    exact = exact_gradient(tiny)[-of_posterior:]
    estimator = estimator_for(tiny.model, name, 0.1)
    generator = torch.Generator().manual_seed(5)

    def error(draw: DrawHidden, n_batches: int) -> tuple[float, float]:
        found = sampled_gradients(tiny, draw, n_batches).mean(0)[-of_posterior:]
        cosine = torch.nn.functional.cosine_similarity(found, exact, dim=0).item()
        return cosine, ((found - exact).norm() / exact.norm()).item()

    cosine, off = error(EstimatorDraws(estimator, tiny.model.family, 4, generator, tiny.model.max_count), 60)
    assert cosine > 0.999
    assert off < 0.05
    _, off = error(hard_draws(tiny.model, 4, generator), 20)
    assert off > 0.1


# -- judging ---------------------------------------------------------------------------------------------------------


def test_judging_repeats_bit_for_bit_and_restarts_do_not_mix(make_model: MakeModel, segmented: MakeCounts) -> None:
    model = make_model(3, 2, n_lags=4, n_restarts=2)
    windows = windows_of(model, segmented([500]), 100)
    first = judge(model, windows)
    assert torch.equal(first, judge(model, windows))
    assert first.shape == (len(windows), 2)
    assert first.dtype == torch.float64
    with torch.no_grad():
        model.baseline[1] -= 1.0
    second = judge(model, windows)
    assert not torch.equal(first[:, 1], second[:, 1])


@pytest.mark.statistical
def test_the_score_of_a_model_is_its_expected_bound(make_model: MakeModel, segmented: MakeCounts) -> None:
    """Eight draws against four hundred, within six standard errors of the eight."""
    model = make_model(3, 1, n_lags=4)
    windows = windows_of(model, segmented([800]), 100)
    batch = windows.batch(torch.arange(len(windows)))
    many = elbo(model, batch, hard_draws(model, 400, torch.Generator().manual_seed(6))).total[..., 0].detach().sum(1)
    score = poglm_nats(model, windows).sum()
    assert (score - many.mean()).abs() < 6 * many.std() / 8**0.5
