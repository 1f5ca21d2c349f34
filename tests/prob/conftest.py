"""What the tests of `spikefit.prob` share: seeded generators, and checks of random numbers that can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Several threads on tensors this small would only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def seeded() -> Callable[[int], torch.Generator]:
    """A fresh generator with a seed."""
    return lambda seed: torch.Generator().manual_seed(seed)


@pytest.fixture(scope="session")
def assert_mean() -> Callable[..., None]:
    """Checks a mean against the truth within `n_sigma` standard errors: at 5, one false alarm in two million."""

    def check(draws: Tensor, expected: float, n_sigma: float = 5.0) -> None:
        draws = draws.detach().double()
        error = float(draws.std()) / draws.numel() ** 0.5
        difference = float(draws.mean()) - expected
        z = difference / error if error > 0 else (0.0 if abs(difference) < 1e-12 else np.inf)
        assert abs(z) < n_sigma, f"mean {float(draws.mean()):.6g} lies {z:+.1f} standard errors from {expected:.6g}"

    return check


@pytest.fixture(scope="session")
def assert_same_law() -> Callable[..., None]:
    """Two-sample test of laws over several numbers per draw, `(draw, number)`, with a stated false-alarm rate.

    Zeros are counted (a test of proportions) and the rest compared by Kolmogorov–Smirnov, for every number and for
    sums and differences of their ranks, which see the dependence between them. Bonferroni divides the rate.
    """

    def check(first: Tensor, second: Tensor, false_alarm: float = 1e-5) -> None:
        a, b = _with_dependence(first, second)
        level = false_alarm / (2 * a.shape[1])
        for column in range(a.shape[1]):
            x, y = a[:, column], b[:, column]
            zeros = np.array([[(x == 0).sum(), (x != 0).sum()], [(y == 0).sum(), (y != 0).sum()]])
            if zeros[:, 0].sum() > 0 and zeros[:, 1].sum() > 0:
                p_zero = stats.fisher_exact(zeros).pvalue
                assert p_zero > level, (
                    f"number {column}: zeros {zeros[:, 0]} of {len(x)} and {len(y)}, p = {p_zero:.2g}"
                )
            x, y = x[x != 0], y[y != 0]
            if len(x) > 1 and len(y) > 1:
                p = stats.ks_2samp(x, y, method="asymp").pvalue
                assert p > level, f"number {column}: the laws differ, p = {p:.2g}"

    return check


def _with_dependence(first: Tensor, second: Tensor) -> tuple[np.ndarray, np.ndarray]:
    a, b = first.double().numpy(), second.double().numpy()
    # Rounding of sums in different orders must not tell draws of the same law apart.
    a, b = np.round(a, 9), np.round(b, 9)
    both = np.concatenate([a, b])
    ranks = np.stack([stats.rankdata(column, method="average") for column in both.T], axis=1) / len(both)
    empty = (both == 0).all(1)
    added, subtracted = ranks.sum(1), ranks @ np.array([1.0, -1.0]) + 2.0
    added[empty] = subtracted[empty] = 0.0
    both = np.column_stack([both, added, subtracted])
    return both[: len(a)], both[len(a) :]
