"""Spike history as features: counts convolved with a causal basis.

Everything here keeps time last, `(…, unit, bin)`: that is how counts are stored, and how a convolution wants them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

BAND_BINS = 32  # wider wastes products with zero, narrower makes small products


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
    # A sliding product meets the earliest bin first; the last bin has no future to act on.
    return _features(counts[..., :-1], basis.flip(0))


def future_features(
    counts: Float[Tensor, "*batch unit padded_bin"], basis: Float[Tensor, "lag basis"]
) -> Float[Tensor, "*batch feature bin"]:
    """Convolve counts with every basis function, looking ahead: the mirror image of `history_features`.

    Args:
        counts: spikes per bin, followed by `n_lags` bins of context.
        basis: (lag, basis); row `l` weighs the bin `l + 1` bins ahead.
    """
    return _features(counts[..., 1:], basis)


def _features(counts: Tensor, taps: Tensor) -> Tensor:
    """Sliding products of every unit's counts with every column of the taps, in unit-major order."""
    (n_taps, n_columns), (*batch, n_units, n_bins) = taps.shape, counts.shape
    flat = counts.reshape(-1, n_bins)
    if counts.device.type == "cpu" and not (torch.is_grad_enabled() and counts.requires_grad):
        out = _by_bands(flat, taps)
    else:
        out = torch.nn.functional.conv1d(flat[:, None, :], taps.T[:, None, :])
    return out.reshape(*batch, n_units * n_columns, n_bins - n_taps + 1)


def _by_bands(
    rows: Float[Tensor, "row in_bin"], taps: Float[Tensor, "tap column"]
) -> Float[Tensor, "row column out_bin"]:
    """Sliding products as products with a banded matrix, some bins at a time.

    A convolution of one channel is a long way from what a CPU can do: this takes a quarter of conv1d's time.
    """
    (n_taps, n_columns), n_bins = taps.shape, rows.shape[1] - taps.shape[0] + 1
    wide = min(BAND_BINS, n_bins)
    # Rows of taps and zeros, read with a row length one shorter, each begin one place later than the last.
    padded = taps.new_zeros(wide, wide + n_taps, n_columns)
    padded[:, :n_taps] = taps
    shifted = padded.view(-1, n_columns)[: wide * (wide + n_taps - 1)].view(wide, -1, n_columns)
    band = shifted.permute(1, 2, 0).contiguous()  # (in, column, out)
    out = rows.new_empty(len(rows), n_columns, n_bins)
    for first in range(0, n_bins, wide):
        n = min(wide, n_bins - first)
        some = band[: n + n_taps - 1, :, :n].flatten(1)
        product = rows[:, first : first + n + n_taps - 1] @ some
        out[:, :, first : first + n] = product.view(len(rows), n_columns, n)
    return out


def filters_from_weights(
    weights: Float[Tensor, "*batch post feature"], basis: Float[Tensor, "lag basis"]
) -> Float[Tensor, "*batch post pre lag"]:
    """Coupling filters over lags from weights on features in unit-major order."""
    by_sender: Tensor = weights.unflatten(-1, (-1, basis.shape[1]))
    return by_sender @ basis.T
