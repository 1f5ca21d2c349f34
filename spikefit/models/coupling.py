"""Spike history as features: counts convolved with a causal basis.

Everything here keeps time last, `(…, unit, bin)`: that is how counts are stored, and how a convolution wants them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

BAND_BINS = 32  # wider wastes products with zero, narrower makes small products
FEATURE_BINS = 16  # the same where all stretches are one product
MOST_STRETCHES = 4096  # of all rows at a time, so that what is copied is still in the caches


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


def times_features(
    weights: Float[Tensor, "row feature"], features: Float[Tensor, "window feature bin"]
) -> Float[Tensor, "window row bin"]:
    """Weighted sums of the features in every bin: one product for all windows, because features lie window behind window."""
    n_windows, n_features, n_bins = features.shape
    together = features.transpose(0, 1).reshape(n_features, n_windows * n_bins)
    return (weights @ together).view(len(weights), n_windows, n_bins).transpose(0, 1)


def _features(counts: Tensor, taps: Tensor) -> Tensor:
    """Sliding products of every unit's counts with every column of the taps, in unit-major order.

    Of several windows the memory holds all of the first feature, then all of the second: see `times_features`.
    """
    (n_taps, n_columns), (*batch, n_units, n_bins) = taps.shape, counts.shape
    n_out = n_bins - n_taps + 1
    if counts.device.type == "cpu" and not (torch.is_grad_enabled() and counts.requires_grad):
        if len(batch) != 1:
            out = _by_bands(counts.reshape(-1, n_bins), taps)
            return out.view(*batch, n_units * n_columns, n_out)
        unit_first = counts.transpose(0, 1)
        space = counts.new_empty(n_units, n_columns, *batch, n_out)
        _by_bands(unit_first.reshape(-1, n_bins), taps, out=space.transpose(1, 2))
        return space.view(n_units * n_columns, *batch, n_out).transpose(0, 1)
    flat = counts.reshape(-1, 1, n_bins)
    out = torch.nn.functional.conv1d(flat, taps.T[:, None, :])
    return out.reshape(*batch, n_units * n_columns, n_out)


def _by_bands(
    rows: Float[Tensor, "row in_bin"],
    taps: Float[Tensor, "tap column"],
    out: Float[Tensor, "unit window column out_bin"] | None = None,
) -> Tensor:
    """Sliding products as products with a banded matrix, some bins at a time.

    A convolution of one channel is a long way from what a CPU can do, and a product for every few bins is mostly calls: here
    all stretches of `FEATURE_BINS` bins are rows of one matrix.
    """
    (n_taps, n_columns), n_bins = taps.shape, rows.shape[1] - taps.shape[0] + 1
    if out is None:
        out = rows.new_empty(len(rows), 1, n_columns, n_bins)
    wide = min(FEATURE_BINS, n_bins)
    band = _band(taps, wide).transpose(0, 1)  # (in, column, out)
    whole = n_bins - n_bins % wide
    together = max(1, MOST_STRETCHES // max(1, len(rows))) * wide
    for first in range(0, whole, together):
        stop = min(whole, first + together)
        stretches = rows[:, first : stop + n_taps - 1].unfold(1, wide + n_taps - 1, wide)
        product = stretches.reshape(-1, wide + n_taps - 1) @ band.flatten(1)
        by_stretch = product.view(*out.shape[:2], (stop - first) // wide, n_columns, wide).transpose(2, 3)
        out[..., first:stop].unflatten(-1, (-1, wide)).copy_(by_stretch)
    if whole < n_bins:
        left = n_bins - whole
        product = rows[:, whole:] @ band[: left + n_taps - 1, :, :left].flatten(1)
        out[..., whole:] = product.view(*out.shape[:3], left)
    return out


def history_adjoint(
    by_features: Float[Tensor, "row feature bin"], basis: Float[Tensor, "lag basis"]
) -> Float[Tensor, "row unit padded_bin"]:
    """The gradient in the counts, from that in their `history_features`; the last bin acts on none of them."""
    n_rows, _, n_bins = by_features.shape
    n_lags, n_functions = basis.shape
    by_unit = by_features.reshape(-1, n_functions, n_bins)
    n_out = n_bins + n_lags - 1
    wide = min(BAND_BINS, n_out)
    # Bins before and behind the features have none.
    around = by_unit.new_zeros(len(by_unit), n_functions, n_out + n_lags - 1)
    around[..., n_lags - 1 : n_lags - 1 + n_bins] = by_unit
    band = _band(basis, wide).flatten(0, 1)  # (function · in, out): s reads s, …, s + lag − 1 of a stretch
    out = by_unit.new_zeros(len(by_unit), n_out + 1)
    n_in = wide + n_lags - 1
    for first in range(0, n_out, wide):
        n = min(wide, n_out - first)
        rows = around[..., first : first + n + n_lags - 1]
        if n < wide:
            rows = torch.nn.functional.pad(rows, (0, n_in - rows.shape[-1]))
        out[:, first : first + n] = (rows.flatten(1) @ band)[:, :n]
    return out.view(n_rows, -1, n_out + 1)


def _band(basis: Float[Tensor, "lag basis"], wide: int) -> Float[Tensor, "basis in_bin out_bin"]:
    """Each function's banded matrix: output s weighs inputs s, …, s + lag − 1 by it."""
    n_lags, n_functions = basis.shape
    out = basis.new_zeros(n_functions, wide + n_lags - 1, wide)
    for s in range(wide):
        out[:, s : s + n_lags, s] = basis.T
    return out


def filters_from_weights(
    weights: Float[Tensor, "*batch post feature"], basis: Float[Tensor, "lag basis"]
) -> Float[Tensor, "*batch post pre lag"]:
    """Coupling filters over lags from weights on features in unit-major order."""
    by_sender: Tensor = weights.unflatten(-1, (-1, basis.shape[1]))
    return by_sender @ basis.T
