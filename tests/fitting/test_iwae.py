"""The importance-weighted bound against enumeration of everything that hidden units can do in a few bins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special

from spikefit.fitting import iwae as module
from spikefit.fitting.iwae import iwae_nats
from spikefit.fitting.scores import poglm_nats
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork

LARGEST = {"categorical": 1, "poisson": 8}  # hidden counts are enumerated from 0 to here; P(more) < 1e-7 at these rates
N_CORE = 2


class Tiny:
    """Two visible units and a hidden one, one lag, two scored bins; the hidden bins that matter are those and the one before."""

    def __init__(self, make_model: Callable[..., POGLMNetwork], family: str) -> None:
        self.model = make_model(2, 1, n_lags=1, n_functions=1, size=0.8, seed=1, family=family)
        with torch.no_grad():
            self.model.posterior.offset.fill_(-2.0)
            self.model.hidden_weights.mul_(2.0)
        counts = np.array([[0, 1, 0, 2, 1], [1, 0, 0, 1, 0]], dtype=np.uint8)
        self.counts = counts
        ranges = np.array([[2, 2 + N_CORE]])
        offsets = np.array([0, counts.shape[1]])
        self.windows = Windows(
            torch.from_numpy(counts), offsets, ranges, context=self.model.context, core_bins=10, dtype=torch.float64
        )

    def configurations(self) -> tuple[np.ndarray, np.ndarray]:
        """Probability under the posterior and log w of all hidden counts in bins 1 to 3, written out number by number."""
        model = self.model
        batch = self.windows.batch(torch.tensor([0]))
        with torch.no_grad():
            rate = model.posterior(model.posterior.features(batch.counts))[0, 0, 0].exp().numpy()
            baseline = model.baseline[0].numpy()
            visible, hidden = model.visible_weights[0].numpy(), model.hidden_weights[0, :, 0].numpy()
        visible, hidden = visible * model.basis.item(), hidden * model.basis.item()
        largest = LARGEST[model.family]
        q, log_w = [], []
        for z in itertools.product(range(largest + 1), repeat=1 + N_CORE):
            probabilities = [self._q(rate[k], z[k]) for k in range(1 + N_CORE)]
            total = 0.0
            for k in range(1, 1 + N_CORE):
                t = 1 + k  # bin of the recording
                drive = baseline + visible @ self.counts[:, t - 1] + hidden * z[k - 1]
                expected = np.log1p(np.exp(drive))
                x = self.counts[:, t]
                total += float((x * np.log(expected[:2]) - expected[:2]).sum())
                total += z[k] * math.log(expected[2]) - expected[2] - special.gammaln(z[k] + 1)
                total -= math.log(probabilities[k])
            q.append(math.prod(probabilities))
            log_w.append(total)
        return np.array(q), np.array(log_w)

    def _q(self, rate: float, z: int) -> float:
        if self.model.family == "categorical":
            return 1 - math.exp(-rate) if z else math.exp(-rate)
        return math.exp(z * math.log(rate) - rate - special.gammaln(z + 1))

    def bound(self, n_draws: int) -> float:
        """E[ log mean w ] over all tuples of configurations."""
        q, log_w = self.configurations()
        likely = q > 1e-9
        q, log_w = q[likely], log_w[likely]
        tuples, sums = q, log_w
        for _ in range(n_draws - 1):
            tuples, sums = np.outer(tuples, q).ravel(), np.logaddexp.outer(sums, log_w).ravel()
        return float((tuples * (sums - math.log(n_draws))).sum())

    def evidence(self) -> float:
        q, log_w = self.configurations()
        return float(special.logsumexp(log_w, b=q))


@pytest.fixture(scope="module", params=["categorical", "poisson"])
def tiny(make_model: Callable[..., POGLMNetwork], request: pytest.FixtureRequest) -> Tiny:
    return Tiny(make_model, request.param)


def test_the_exact_bound_rises_with_the_draws_and_stays_below_the_evidence(tiny: Tiny) -> None:
    q, _ = tiny.configurations()
    assert q.sum() == pytest.approx(1, abs=1e-6)
    one, two = tiny.bound(1), tiny.bound(2)
    assert one + 0.01 < two < tiny.evidence()


@pytest.mark.statistical
@pytest.mark.parametrize("n_draws", [1, 2])
def test_it_is_the_enumerated_bound_on_average(tiny: Tiny, n_draws: int, assert_mean: Callable[..., None]) -> None:
    """Six standard errors: one false alarm in five hundred million; the bound of one draw more is told apart."""
    draws = repeated(tiny, n_draws, 30_000)
    assert_mean(draws, torch.tensor(tiny.bound(n_draws)))
    with pytest.raises(AssertionError, match="standard errors"):
        assert_mean(draws, torch.tensor(tiny.bound(3 - n_draws)))


@pytest.mark.statistical
def test_more_draws_come_closer_to_the_evidence(tiny: Tiny) -> None:
    """Each step up is at least three standard errors; nothing lies above the evidence by more than that."""
    means, errors = [], []
    for n_draws in (1, 4, 16, 64):
        values = repeated(tiny, n_draws, 4000)
        means.append(values.mean().item())
        errors.append(values.std().item() / 4000**0.5)
    steps = np.diff(means) / np.hypot(errors[1:], errors[:-1])
    assert (steps > 3).all()
    assert means[-1] < tiny.evidence() + 3 * errors[-1]
    assert tiny.evidence() - means[-1] < 0.1 * (tiny.evidence() - means[0])


def test_one_draw_is_the_evidence_lower_bound(tiny: Tiny) -> None:
    values = repeated(tiny, 1, 30_000)
    error = values.std().item() / len(values) ** 0.5
    bound = poglm_nats(tiny.model, tiny.windows, n_draws=30_000).item()
    assert abs(values.mean().item() - bound) < 6 * error


def test_how_many_draws_are_made_at_a_time_changes_nothing(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = iwae_nats(tiny.model, tiny.windows, n_draws=50).item()
    monkeypatch.setattr(module, "DRAWS_AT_A_TIME", 50)
    assert iwae_nats(tiny.model, tiny.windows, n_draws=50).item() == pytest.approx(whole, rel=1e-12)
    assert iwae_nats(tiny.model, tiny.windows, n_draws=49).item() != pytest.approx(whole, rel=1e-12)


def repeated(tiny: Tiny, n_draws: int, n_times: int) -> torch.Tensor:
    """Independent values of the bound: one draw of many copies of the window."""
    ranges = np.repeat([[2, 2 + N_CORE]], n_times, axis=0)
    copies = Windows(
        torch.from_numpy(tiny.counts),
        np.array([0, tiny.counts.shape[1]]),
        ranges,
        context=tiny.model.context,
        core_bins=10,
        dtype=torch.float64,
    )
    return iwae_nats(tiny.model, copies, n_draws=n_draws, seed=7)[:, 0]
