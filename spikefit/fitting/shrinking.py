"""The group lasso while a network with hidden units is trained: a proximal step after each of Adam's.

Adam takes a step of its own length in each weight, αₖ = rate / (√v̂ₖ + ε). The proximal step must be taken in that same metric,

    argmin over u:  Σ (uₖ − wₖ)² / (2 αₖ) + λ ‖u‖,

or a fit would come to rest somewhere else than where the gradient balances the penalty. u is zero where ‖w / α‖ ≤ λ;
elsewhere uₖ = wₖ ρ / (ρ + αₖ λ), with ρ = ‖u‖ the root of Σ (wₖ / (ρ + αₖ λ))² = 1.

Source: Yun, Lozano and Yang, "Adaptive proximal gradient methods for structured neural networks" (NeurIPS 2021).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

ROOT_STEPS = 10


def shrink_groups(
    weights: Float[Tensor, "*group member"], steps: Float[Tensor, "*group member"], penalty: Float[Tensor, "*group"]
) -> Float[Tensor, "*group member"]:
    """The proximal step of `penalty · ‖weights‖` for every group.

    Args:
        weights: w.
        steps: α, above zero.
        penalty: λ, zero or more.
    """
    lost = steps * penalty[..., None]
    gone = (weights / steps).norm(dim=-1) <= penalty
    size = weights.norm(dim=-1)
    # From below, Newton's steps on 1/√Σ… − 1 rise to the root and stay below it.
    root = (size - lost.amax(-1)).clamp(min=0)
    for _ in range(ROOT_STEPS):
        ratio = weights / (root[..., None] + lost).clamp(min=torch.finfo(weights.dtype).tiny)
        total = ratio.square().sum(-1)
        slope = (ratio.square() / (root[..., None] + lost).clamp(min=torch.finfo(weights.dtype).tiny)).sum(-1)
        move = total * (total.sqrt() - 1) / slope
        root = torch.where(gone | ~torch.isfinite(move), root, root + move).clamp(min=0)
    share = root[..., None] / (root[..., None] + lost)
    share = torch.where(penalty[..., None] > 0, share, 1.0)
    return torch.where(gone[..., None] & (penalty[..., None] > 0), 0.0, weights * share)


def adam_steps(state: dict[str, Tensor], rate: float, *, beta2: float = 0.999, epsilon: float = 1e-8) -> Tensor:
    """Length of Adam's last step in each weight per unit of its momentum."""
    corrected = state["exp_avg_sq"] / (1 - beta2 ** float(state["step"]))
    return rate / (corrected.sqrt() + epsilon)
