"""The score-function gradient with a leave-one-out baseline.

∂E[f(z)] = E[f(z) ∂log p(z)] needs no derivative of f and is exact in the mean. Its noise is tamed by subtracting from
each draw's f the mean of the other draws' (Kool, van Hoof & Welling 2019, "Buy 4 REINFORCE samples, get a baseline for
free"), which leaves the mean as it is.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def leave_one_out(objective: Float[Tensor, "draw *batch"]) -> Float[Tensor, "draw *batch"]:
    """Each draw's objective minus the mean of the other draws'.

    Raises:
        ValueError: if there is only one draw.
    """
    n_draws = objective.shape[0]
    if n_draws < 2:
        raise ValueError(
            f"the score estimator compares draws with each other and needs n_draws of at least 2, got {n_draws}"
        )
    return (objective - objective.mean(0)) * (n_draws / (n_draws - 1))


def score_correction(
    objective: Float[Tensor, "draw *batch"], log_prob: Float[Tensor, "draw *shape"]
) -> Float[Tensor, ""]:
    """A number that is zero and whose derivative is the score-function gradient of `objective.mean(0).sum()`.

    Args:
        objective: f of each draw; no derivative is taken through it.
        log_prob: log-probability of each latent's count, with the axes of `objective` first. Latents that share an
            entry of the objective have their log-probabilities added; if an entry depends on a subset of the latents
            only, keeping those apart as batch axes makes the gradient less noisy.
    """
    advantage = leave_one_out(objective.detach())
    joint = log_prob.flatten(objective.dim()).sum(-1) if log_prob.dim() > objective.dim() else log_prob
    weighted = (advantage * joint).sum() / objective.shape[0]
    return weighted - weighted.detach()
