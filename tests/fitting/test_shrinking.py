"""The proximal step in Adam's metric against a plain minimiser, and training that comes to rest where it should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from spikefit.fitting.shrinking import adam_steps, shrink_groups


@pytest.mark.parametrize("penalty", [0.0, 0.3, 1.0, 3.0])
def test_the_step_minimises_what_it_should(penalty: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(40, 3, dtype=torch.float64, generator=generator)
    steps = 2.0 ** torch.randint(-4, 3, (40, 3), generator=generator).double()
    out = shrink_groups(weights, steps, torch.full((40,), penalty, dtype=torch.float64)).numpy()
    for w, a, u in zip(weights.numpy(), steps.numpy(), out, strict=True):

        def cost(v: np.ndarray, w: np.ndarray = w, a: np.ndarray = a) -> float:
            return float(((v - w) ** 2 / (2 * a)).sum() + penalty * np.linalg.norm(v))

        best = min(
            minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}).fun
            for start in (w, 0.3 * w)
        )
        best = min(best, cost(np.zeros(3)))
        assert cost(u) <= best + 1e-8
        plain = w * max(0.0, 1 - a.mean() * penalty / np.linalg.norm(w))  # one length for all weights is another step
        if penalty and np.ptp(a) > 1 and np.linalg.norm(u) > 0:
            assert cost(plain) > best + 1e-6


def test_zeros_and_tiny_steps_are_taken_in_stride() -> None:
    weights = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [1.0, -1.0]])
    steps = torch.tensor([[1e-9, 1.0], [1e-3, 1e-3], [1e-9, 1e-9]])
    out = shrink_groups(weights, steps, torch.ones(3))
    assert torch.isfinite(out).all()
    assert (out[:2] == 0).all()
    torch.testing.assert_close(out[2], weights[2], atol=1e-6, rtol=0)


def test_adam_comes_to_rest_where_the_gradient_balances_the_penalty() -> None:
    """½ (w − target)ᵀ H (w − target) + λ Σ ‖pair‖ with curvatures far apart, as Adam likes to rescale them."""
    curvature = torch.tensor([[100.0, 1.0], [50.0, 0.5]])
    target = torch.tensor([[0.3, 2.0], [0.01, 0.1]])
    penalty = torch.tensor([1.5, 1.5])
    weights = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for k in range(1200):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * (1 - k / 1200)
        optimizer.zero_grad()
        (0.5 * curvature * (weights - target).square()).sum().backward()
        optimizer.step()
        with torch.no_grad():
            steps = adam_steps(optimizer.state[weights], optimizer.param_groups[0]["lr"])
            if steps.max() > 0:
                weights.copy_(shrink_groups(weights, steps, penalty))
    w = weights.detach()
    assert (w[1] == 0).all()  # its pull at zero, ‖H target‖ = 0.5, is below λ
    gradient = curvature * (w - target)
    torch.testing.assert_close(gradient[0], -1.5 * w[0] / w[0].norm(), atol=0.05, rtol=0)
