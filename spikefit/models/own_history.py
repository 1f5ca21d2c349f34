"""A basis of its own for what a unit's own spikes do to it: refractoriness is sharp where couplings are smooth.

The functions for a unit's own history stand behind those for couplings, as further columns of one basis. Every unit's
history goes through all of them, so that the design stays the same for all units; which weights may differ from zero says
who uses what: coupling functions between two units, own functions on the diagonal.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from spikefit.models.basis import Basis, make_basis

SAME = "same"  # as couplings


def joined_basis(
    coupling: Basis, name: str, *, window_s: float, bin_width_s: float, n_functions: int
) -> tuple[Basis, int]:
    """The coupling basis with the functions for own history behind it, and how many of all are for couplings.

    Args:
        coupling: (lag, function).
        name: of the basis for own history; `same` adds nothing.
        window_s: how far own history is looked at in this way; no further than couplings are.
        bin_width_s: bin width in seconds.
        n_functions: for own history.

    Raises:
        UsageError: if the window is shorter than one bin.
        ValueError: if it is longer than that of the couplings.
    """
    if name == SAME:
        return coupling, coupling.shape[1]
    own = make_basis(name, window_s=window_s, bin_width_s=bin_width_s, n_functions=n_functions)
    if len(own) > len(coupling):
        raise ValueError(f"own history of {len(own)} bins is longer than that of couplings, {len(coupling)}")
    padded = np.pad(own, ((0, len(coupling) - len(own)), (0, 0)))
    return np.concatenate([coupling, padded], axis=1), coupling.shape[1]


def may_use(
    n_post: int, senders: range, n_functions: int, n_coupling: int, device: torch.device | None = None
) -> Bool[Tensor, "post feature"]:
    """Which weights may differ from zero, features in unit-major order.

    Args:
        n_post: receivers, all units in their order.
        senders: places of the senders among them.
        n_functions: of the joined basis.
        n_coupling: those of them that are for couplings.
        device: of the mask.
    """
    own = torch.arange(n_post, device=device)[:, None] == torch.tensor(list(senders), device=device)
    is_own_function = torch.arange(n_functions, device=device) >= n_coupling
    return (own[:, :, None] == is_own_function).reshape(n_post, -1)
