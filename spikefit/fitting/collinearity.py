"""How well a coupling could be told if its sender were the only one: what the other senders cost it.

Two senders that fire together say nearly the same, and then neither coupling is known well, however many spikes there are. The
variance of a coupling in the whole model over its variance with no other sender in the model (its receiver's baseline and the
penalty stay) is its variance inflation: 1 where nothing else in the model goes with the sender's spikes, and large where the
others, own history, common drive and covariates included, nearly make up what the sender adds.

Source of the idea: Marquardt, "Generalized inverses, ridge regression, biased linear estimation" (Technometrics 12, 1970).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def variance_alone(
    information: Float[Tensor, "parameter parameter"],
    row: Float[Tensor, " basis"],
    n_senders: int,
    free: Bool[Tensor, " parameter"] | None = None,
) -> Float[Tensor, " pre"]:
    """Variance of each sender's weighted sum of weights where it is the only sender of one receiver's model.

    Args:
        information: of one receiver's weights, sender after sender, further features behind them and the baseline last.
        row: what the weights of a sender are multiplied with.
        n_senders: senders.
        free: which weights were fitted, None for all; a sender with none of its own has variance 0.
    """
    n_functions = len(row)
    places = torch.arange(n_senders * n_functions, device=information.device).reshape(n_senders, n_functions)
    baseline = torch.full((n_senders, 1), len(information) - 1, device=information.device)
    places = torch.cat([places, baseline], dim=1)
    own = information[places[:, :, None], places[:, None, :]]
    column = torch.nn.functional.pad(row, (0, 1)).to(information).expand(n_senders, -1)
    if free is not None:
        kept = free[places]
        kept[:, -1] = True
        both = kept[:, :, None] & kept[:, None, :]
        own = torch.where(both, own, torch.eye(n_functions + 1).to(information))
        column = column * kept
    solved = torch.linalg.solve(own, column[:, :, None])[:, :, 0]
    return (solved * column).sum(1)


def shared_variance_alone(
    covariance: Float[Tensor, "pre basis basis"],
    row: Float[Tensor, " basis"],
    total: Float[Tensor, "post 1"],
    ridge: float | Float[Tensor, "post 1"],
) -> Float[Tensor, "post pre"]:
    """The same for all receivers, from one covariance of each sender's features about their means.

    Args:
        covariance: of the features of each sender.
        row: what the weights of a sender are multiplied with.
        total: information of each receiver's drive over the recording.
        ridge: the penalty, of each receiver or of all.
    """
    scales, rotation = torch.linalg.eigh(covariance)
    squared = (rotation.transpose(1, 2) @ row.to(covariance)).square()
    penalty = ridge[:, :, None] if isinstance(ridge, Tensor) else ridge
    return (squared / (total[:, :, None] * scales.clamp(min=0) + penalty)).sum(2)


def inflation(variance: Tensor, alone: Tensor) -> Tensor:
    """Variance in the whole model over the variance alone; NaN where there is none. Rounding aside it is never below 1."""
    return torch.where(alone > 0, variance / alone.clamp(min=1e-300), torch.nan).clamp(min=1.0)
