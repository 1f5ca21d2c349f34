"""The features of own history apart from those that all units share, for whatever is made from the features' covariance.

A feature of own history is used by one unit alone, and says nearly what that unit's coupling features say. A covariance of
all features together is then close to singular in directions that no unit can take; so all units share the covariance of
the coupling features, and each has a small block of its own history beside it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.design import Design


class OwnBlocks:
    """Which features are shared, and each unit's own; without own history all are shared.

    Args:
        design: whose features.
    """

    def __init__(self, design: Design) -> None:
        own = design.own_features
        places = torch.arange(design.n_features, device=design.device)
        self.shared = places if own is None else places[~own]
        self.own = places[:0].expand(design.n_units, 0) if own is None else places[own].reshape(design.n_units, -1)

    @property
    def any(self) -> bool:
        return self.own.shape[1] > 0

    def split(self, covariance: Float[Tensor, "feature feature"]) -> tuple[Tensor, Tensor | None]:
        """The covariance of the shared features, and that of each unit's own: (unit, own, own), None where there are none."""
        if not self.any:
            return covariance, None
        return covariance[self.shared][:, self.shared], covariance[self.own[:, :, None], self.own[:, None, :]]
