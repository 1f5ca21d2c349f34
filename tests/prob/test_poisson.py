"""The Poisson law against SciPy, at its edges and in its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from spikefit.prob import poisson_kl, poisson_log_prob, sample_poisson

RATES = torch.tensor([1e-30, 1e-4, 0.3, 2.0, 50.0, 1e6], dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64])
def test_log_prob_is_scipys(dtype: torch.dtype) -> None:
    counts = torch.tensor([0, 1, 2, 9, 200], dtype=dtype)
    found = poisson_log_prob(RATES[:, None], counts)
    expected = stats.poisson.logpmf(counts.numpy()[None], RATES.numpy()[:, None])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_log_prob_at_zero_rate() -> None:
    rate = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    log_prob = poisson_log_prob(rate, torch.tensor([0, 0]))
    assert log_prob.tolist() == [0.0, 0.0]
    log_prob.sum().backward()
    assert rate.grad is not None
    assert rate.grad.tolist() == [-1.0, -1.0]
    assert poisson_log_prob(torch.zeros(1), torch.tensor([2])).item() == -float("inf")


def test_log_prob_derivatives_in_rate_and_soft_count() -> None:
    rate = RATES[1:4].clone().requires_grad_()
    counts = torch.tensor([0.2, 1.7, 4.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(poisson_log_prob, (rate, counts))


def test_kl_is_the_sum_over_counts() -> None:
    q, p = torch.tensor([0.4, 3.0], dtype=torch.float64), torch.tensor([1.1, 2.0], dtype=torch.float64)
    counts = torch.arange(80)[:, None]
    log_q, log_p = poisson_log_prob(q, counts), poisson_log_prob(p, counts)
    torch.testing.assert_close(poisson_kl(q, p), (log_q.exp() * (log_q - log_p)).sum(0), rtol=1e-12, atol=1e-12)


def test_kl_at_zero() -> None:
    q = torch.tensor([0.0, 0.0, 2.0], requires_grad=True)
    p = torch.tensor([0.0, 1.5, 0.0])
    kl = poisson_kl(q, p)
    assert kl.tolist() == [0.0, 1.5, float("inf")]
    kl[:2].sum().backward()
    assert q.grad is not None
    assert torch.isfinite(q.grad[:2]).all()


def test_samples_follow_the_law(seeded, assert_mean) -> None:
    rate = torch.full((200_000,), 1.7, requires_grad=True)
    counts = sample_poisson(rate, seeded(3))
    assert not counts.requires_grad
    assert_mean(counts, 1.7)
    with pytest.raises(AssertionError):
        assert_mean(counts, 1.75)
    observed = np.bincount(counts.long().numpy(), minlength=8)[:8]
    expected = 200_000 * stats.poisson.pmf(np.arange(8), 1.7)
    assert stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), 8) > 1e-6  # false alarms: one in a million


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (torch.tensor([0.5, -1.0]), ValueError, r"expected_count must lie in \[0, 1e\+09\], got -1"),
        (torch.tensor([float("nan")]), ValueError, "got nan"),
        (torch.tensor([float("inf")]), ValueError, "got inf"),
        (torch.tensor([1, 2]), TypeError, "float32 or float64, got torch.int64"),
        (torch.empty(0, 3), ValueError, r"expected_count is empty \(shape \(0, 3\)\)"),
    ],
)
def test_bad_rates_are_named(bad: torch.Tensor, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        sample_poisson(bad)
