"""Spike history as features: counts convolved with a causal basis.

Everything here keeps time last, `(…, unit, bin)`: that is how counts are stored, and how a convolution wants them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def history_features(
    counts: Float[Tensor, "*batch unit padded_bin"], basis: Float[Tensor, "lag basis"]
) -> Float[Tensor, "*batch feature bin"]:
    """Convolve counts with every basis function, looking back.

    Args:
        counts: spikes per bin, preceded by `n_lags` bins of context.
        basis: (lag, basis); row `l` weighs the bin `l + 1` bins back.

    Returns:
        Features of the bins behind the context, `unit * n_basis` of them in unit-major order; a bin never sees itself.
    """
    n_lags, n_basis = basis.shape
    *batch, n_units, n_bins = counts.shape
    # conv1d correlates, so the kernel is turned round; the last bin has no future to act on.
    kernel = basis.T.flip(1)[:, None, :]
    flat = counts[..., :-1].reshape(-1, 1, n_bins - 1)
    return torch.nn.functional.conv1d(flat, kernel).reshape(*batch, n_units * n_basis, n_bins - n_lags)


def future_features(
    counts: Float[Tensor, "*batch unit padded_bin"], basis: Float[Tensor, "lag basis"]
) -> Float[Tensor, "*batch feature bin"]:
    """Convolve counts with every basis function, looking ahead: the mirror image of `history_features`.

    Args:
        counts: spikes per bin, followed by `n_lags` bins of context.
        basis: (lag, basis); row `l` weighs the bin `l + 1` bins ahead.
    """
    n_lags, n_basis = basis.shape
    *batch, n_units, n_bins = counts.shape
    flat = counts[..., 1:].reshape(-1, 1, n_bins - 1)
    return torch.nn.functional.conv1d(flat, basis.T[:, None, :]).reshape(*batch, n_units * n_basis, n_bins - n_lags)


def filters_from_weights(
    weights: Float[Tensor, "*batch post feature"], basis: Float[Tensor, "lag basis"]
) -> Float[Tensor, "*batch post pre lag"]:
    """Coupling filters over lags from weights on features in unit-major order."""
    by_sender: Tensor = weights.unflatten(-1, (-1, basis.shape[1]))
    return by_sender @ basis.T
