"""What is known of the couplings beforehand, in the shape that the solvers and the training need it.

Everything here speaks of pairs of recorded units, (post, pre). Hidden units have no ids to name them by; what is held for
them is a setting of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Structure:
    """Held throughout a fit.

    Attributes:
        forbidden: pairs whose filter is zero at every lag.
        required: pairs that no penalty acts on.
    """

    forbidden: Bool[Tensor, "post pre"]
    required: Bool[Tensor, "post pre"]

    @classmethod
    def none(cls, n_units: int, device: torch.device | None = None) -> Structure:
        """Nothing is known."""
        no = torch.zeros(n_units, n_units, dtype=torch.bool, device=device)
        return cls(no, no)

    def to(self, device: torch.device) -> Structure:
        return Structure(self.forbidden.to(device), self.required.to(device))

    def counted(self) -> dict[str, int]:
        """How much is known, for the record."""
        return {"n_forbidden_pairs": int(self.forbidden.sum()), "n_required_pairs": int(self.required.sum())}

    def hold(self, weights: Float[Tensor, "restart unit feature"], n_functions: int) -> None:
        """Put forbidden weights of a network with hidden units back to zero, in place; units behind the recorded ones are free."""
        free = self.free(weights.shape[2], n_functions)
        if free is not None:
            weights[:, : len(free)].mul_(free)

    def unpenalised(self, weights: Float[Tensor, "restart unit feature"], n_functions: int) -> Float[Tensor, ""]:
        """Σ weights² of the required pairs of a network with hidden units."""
        n_units = len(self.required)
        by_pair = weights[:, :n_units].unflatten(-1, (n_units, n_functions)).square().sum(-1)
        return (by_pair * self.required).sum()

    def free(self, n_features: int, n_functions: int) -> Bool[Tensor, "post feature"] | None:
        """Which weights may differ from zero; features behind the couplings may. None where all may."""
        if not bool(self.forbidden.any()):
            return None
        return _by_feature(~self.forbidden, n_features, n_functions, behind=True)

    def ridge(self, ridge: float, n_features: int, n_functions: int) -> float | Float[Tensor, "post feature"]:
        """The penalty of every weight; features behind the couplings pay it."""
        if not bool(self.required.any()):
            return ridge
        return ridge * _by_feature(~self.required, n_features, n_functions, behind=True).double()


def _by_feature(pairs: Tensor, n_features: int, n_functions: int, *, behind: bool) -> Tensor:
    """A value per pair for each of the pair's weights, in unit-major order, and one for all features behind them."""
    couplings = pairs.repeat_interleave(n_functions, dim=1)
    return torch.nn.functional.pad(couplings, (0, n_features - couplings.shape[1]), value=behind)
