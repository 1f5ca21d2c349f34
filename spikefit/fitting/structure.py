"""What is known of the couplings beforehand, in the shape that the solvers and the training need it.

Everything here speaks of pairs of recorded units, (post, pre). Hidden units have no ids to name them by; what is held for
them is a setting of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spikefit.fitting.corners import Corners
from spikefit.pair_rules import PairRule, pair_tables

SIGNS = {"excitatory": 1, "inhibitory": -1}


@dataclass(frozen=True, eq=False)
class Structure:
    """Held throughout a fit.

    Attributes:
        forbidden: pairs whose filter is zero at every lag.
        required: pairs that no penalty acts on.
        sign: what a sender does to all units but itself: 1 excites, −1 inhibits, 0 either.
        undecided: senders whose sign is one of the two, and still to be chosen.
        group_lasso: λ of the penalty λ · Σ ‖weights of a pair‖ over pairs of different units, in nats on the whole data.
    """

    forbidden: Bool[Tensor, "post pre"]
    required: Bool[Tensor, "post pre"]
    sign: Int[Tensor, " pre"]
    undecided: Bool[Tensor, " pre"]
    group_lasso: float = 0.0

    @classmethod
    def of(
        cls,
        unit_ids: Sequence[str],
        rules: Sequence[PairRule] = (),
        signs: Sequence[str] | None = None,
        group_lasso: float = 0.0,
    ) -> Structure:
        """From rules, and a word for each unit: `excitatory`, `inhibitory`, `auto` or `any`."""
        forbidden, required = (torch.from_numpy(table) for table in pair_tables(rules, unit_ids))
        words = ["any"] * len(unit_ids) if signs is None else list(signs)
        sign = torch.tensor([SIGNS.get(word, 0) for word in words], dtype=torch.int8)
        undecided = torch.tensor([word == "auto" for word in words], dtype=torch.bool)
        return cls(forbidden, required, sign, undecided, group_lasso)

    def to(self, device: torch.device) -> Structure:
        """The same on another device."""
        return Structure(
            self.forbidden.to(device),
            self.required.to(device),
            self.sign.to(device),
            self.undecided.to(device),
            self.group_lasso,
        )

    @property
    def has_corners(self) -> bool:
        """Whether a fit without hidden units needs the solver for problems that are not smooth."""
        return self.group_lasso > 0 or bool((self.sign != 0).any())

    def smooth(self) -> Structure:
        """The same without group lasso and signs."""
        return replace(self, sign=torch.zeros_like(self.sign), group_lasso=0.0)

    def decide(self, excites: Bool[Tensor, " pre"]) -> Structure:
        """The same with a sign for the senders that have none yet."""
        chosen = torch.where(excites, 1, -1).to(self.sign)
        return replace(
            self,
            sign=torch.where(self.undecided, chosen, self.sign),
            undecided=torch.zeros_like(self.undecided),
        )

    def counted(self) -> dict[str, Any]:
        """How much is known, for the record."""
        return {"n_forbidden_pairs": int(self.forbidden.sum()), "n_required_pairs": int(self.required.sum())}

    # -- without hidden units ------------------------------------------------------------------------------------

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

    def corners(self, share: float, n_functions: int) -> Corners:
        """Penalties and signs pair by pair, for a share of the data; a unit's own history has neither."""
        off = 1 - torch.eye(len(self.sign), dtype=torch.float64, device=self.sign.device)
        lasso = self.group_lasso * share * off * ~self.required
        return Corners(lasso, (self.sign[None, :] * off).to(torch.int8), n_functions)

    # -- with hidden units ---------------------------------------------------------------------------------------

    def hold(self, weights: Float[Tensor, "restart unit feature"], n_functions: int) -> None:
        """Put forbidden weights, and those on the wrong side of zero, back to zero, in place; (restart, unit, feature).

        Units behind the recorded ones are free of the table, not of a sender's sign.
        """
        free = self.free(weights.shape[2], n_functions)
        if free is not None:
            weights[:, : len(free)].mul_(free)
        if bool((self.sign != 0).any()):
            by_pair = weights.unflatten(-1, (len(self.sign), n_functions))
            sign = self.sign[None, None, :, None].expand(1, weights.shape[1], -1, 1).clone()
            sign[:, : len(self.sign)].diagonal(dim1=1, dim2=2).zero_()
            by_pair.masked_fill_(by_pair * sign < 0, 0.0)

    def unpenalised(self, weights: Float[Tensor, "restart unit feature"], n_functions: int) -> Float[Tensor, ""]:
        """Σ weights² of the required pairs of a network with hidden units."""
        n_units = len(self.required)
        by_pair = weights[:, :n_units].unflatten(-1, (n_units, n_functions)).square().sum(-1)
        return (by_pair * self.required).sum()


def _by_feature(pairs: Tensor, n_features: int, n_functions: int, *, behind: bool) -> Tensor:
    """A value per pair for each of the pair's weights, in unit-major order, and one for all features behind them."""
    couplings = pairs.repeat_interleave(n_functions, dim=1)
    return torch.nn.functional.pad(couplings, (0, n_features - couplings.shape[1]), value=behind)
