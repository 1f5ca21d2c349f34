"""What visible counts do to all units and to the posterior: one pass over the counts for both, by features or by spikes.

The generative side reads the past of the scored bins, the posterior the past, present and future of these and of one window
of lags before them. Both read the same past, so their weights stand above one another in one product. Of many units that fire
rarely the features are never made: products go by spikes, as in `spikefit.models.products`. The gradients of the weights
come from one pass as well; counts have none.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikefit.models.coupling import future_features, history_features
from spikefit.models.products import CHUNK_BINS, MOST_COLUMNS, Bands, bags, by_spikes

Spikes = tuple[Int[Tensor, " spike"], Int[Tensor, " spike"], Int[Tensor, " spike"]]


@dataclass(frozen=True, eq=False)
class InputWeights:
    """Weights on the visible counts, rows of all restarts one behind the other.

    Attributes:
        generative: on the past of the scored bins.
        past: of the posterior.
        present: of the posterior; None where it does not see the bin itself.
        future: of the posterior; None where it does not look ahead.
    """

    generative: Float[Tensor, "row feature"]
    past: Float[Tensor, "read_row feature"]
    present: Float[Tensor, "read_row visible"] | None = None
    future: Float[Tensor, "read_row feature"] | None = None


@runtime_checkable
class VisibleInput(Protocol):
    """Visible counts of some windows, ready for products with weights."""

    def drive(
        self, weights: InputWeights
    ) -> tuple[Float[Tensor, "window row core_bin"], Float[Tensor, "window read_row bin"]]:
        """Weighted sums of the past in the scored bins; and of past, present and future in these and those before them."""
        ...

    def against(
        self,
        on_core: Float[Tensor, "window row core_bin"],
        on_read: Float[Tensor, "window read_row bin"],
        like: InputWeights,
    ) -> InputWeights:
        """Sums over windows and bins of the values times what each weight of `like` is multiplied with."""
        ...


def visible_input(
    counts: Float[Tensor, "window visible padded_bin"],
    basis: Float[Tensor, "lag basis"],
    n_core: int,
    spikes: Spikes | None = None,
) -> VisibleInput:
    """The way to the products that takes less time.

    Args:
        counts: with `n_lags` bins of context on both sides of the bins that the posterior reads.
        basis: (lag, basis).
        n_core: scored bins, the last of those that the posterior reads.
        spikes: of all occupied bins, as `occupied` gives them; found here where None.
    """
    n_windows, n_units, n_bins = counts.shape
    if by_spikes(n_units, 0.0, len(basis), counts.device):
        spikes = occupied(counts) if spikes is None else spikes
        if by_spikes(n_units, len(spikes[0]) / max(1, n_windows * n_bins), len(basis), counts.device):
            return SpikeInput(counts, spikes, basis, n_core)
    return FeatureInput(counts, basis, n_core)


def occupied(counts: Float[Tensor, "window unit bin"]) -> Spikes:
    """Window, unit and bin of every occupied bin, sorted in this order."""
    if counts.device.type != "cpu":
        window, unit, bin_ = counts.nonzero(as_tuple=True)
        return window, unit, bin_
    # Of truth values NumPy finds the places in half of torch's time.
    flat = torch.from_numpy(np.flatnonzero(counts.bool().numpy()))
    flat = flat.int() if counts.numel() < 2**31 else flat
    _, n_units, n_bins = counts.shape
    row = flat // n_bins
    return row // n_units, row % n_units, flat % n_bins


def visible_drive(visible: VisibleInput, weights: InputWeights) -> tuple[Tensor, Tensor]:
    """`visible.drive(weights)`, with gradients in the weights."""
    core, read = _Drive.apply(visible, weights.generative, weights.past, weights.present, weights.future)  # type: ignore[no-untyped-call]
    return core, read


class _Drive(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        visible: VisibleInput,
        generative: Tensor,
        past: Tensor,
        present: Tensor | None,
        future: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        ctx.visible, ctx.weights = visible, InputWeights(generative, past, present, future)
        return visible.drive(ctx.weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, on_core: Tensor, on_read: Tensor) -> tuple[Tensor | None, ...]:
        sums = ctx.visible.against(on_core, on_read, ctx.weights)
        return None, sums.generative, sums.past, sums.present, sums.future


def by_bins(
    window: Int[Tensor, " spike"], unit: Int[Tensor, " spike"], bin_: Int[Tensor, " spike"], shape: torch.Size
) -> Spikes:
    """Spikes sorted by window, bin and unit, where they were sorted by unit before bin; as they are on a GPU."""
    if bin_.device.type != "cpu":
        return window, unit, bin_
    order = _order(window * shape[2] + bin_, shape[0] * shape[2])
    return window[order], unit[order], bin_[order]


def _order(keys: Int[Tensor, " spike"], n_keys: int) -> Int[Tensor, " spike"]:
    """What puts whole numbers below `n_keys` in order, equal ones as they were; short ones are sorted digit by digit."""
    return torch.from_numpy(np.argsort(keys.numpy().astype(np.min_scalar_type(n_keys)), kind="stable"))


class FeatureInput:
    """Products with features, which lie feature after feature, window behind window."""

    def __init__(self, counts: Tensor, basis: Tensor, n_core: int) -> None:
        self.counts, self.basis, self.n_lags = counts, basis, len(basis)
        self.n_bins = counts.shape[-1] - 2 * self.n_lags
        self.first = self.n_bins - n_core
        self.past = _flat(history_features(counts[..., : counts.shape[-1] - self.n_lags], basis))

    @functools.cached_property
    def present(self) -> Float[Tensor, "visible window_bin"]:
        return _flat(self.counts[..., self.n_lags : self.n_lags + self.n_bins])

    @functools.cached_property
    def future(self) -> Float[Tensor, "feature window_bin"]:
        return _flat(future_features(self.counts[..., self.n_lags :], self.basis))

    def drive(self, weights: InputWeights) -> tuple[Tensor, Tensor]:
        both = torch.cat([weights.generative, weights.past]) @ self.past
        core, read = both.split([len(weights.generative), len(weights.past)])
        if weights.present is not None:
            read.addmm_(weights.present, self.present)
        if weights.future is not None:
            read.addmm_(weights.future, self.future)
        shape = (-1, len(self.counts), self.n_bins)
        return core.view(shape)[..., self.first :].transpose(0, 1), read.view(shape).transpose(0, 1)

    def against(self, on_core: Tensor, on_read: Tensor, like: InputWeights) -> InputWeights:
        n_rows, n_read = len(like.generative), len(like.past)
        values = on_core.new_empty(n_rows + n_read, len(self.counts), self.n_bins)
        values[:n_rows, :, : self.first] = 0
        values[:n_rows, :, self.first :] = on_core.transpose(0, 1)
        values[n_rows:] = on_read.transpose(0, 1)
        flat = values.flatten(1)
        by_past = flat @ self.past.T
        return InputWeights(
            by_past[:n_rows],
            by_past[n_rows:],
            None if like.present is None else flat[n_rows:] @ self.present.T,
            None if like.future is None else flat[n_rows:] @ self.future.T,
        )


class SpikeInput:
    """Products by spikes, window after window, so that what is added up stays in the caches."""

    def __init__(self, counts: Tensor, spikes: Spikes, basis: Tensor, n_core: int) -> None:
        self.counts, self.n_lags, self.n_functions = counts, *basis.shape
        self.n_windows, self.n_units, n_padded = counts.shape
        self.n_bins = n_padded - 2 * self.n_lags
        self.first = self.n_bins - n_core
        # Sums over lags are made for a whole number of chunks; one more bin than any looks at holds zeros.
        self.n_chunks = -(-(self.n_bins + self.n_lags) // CHUNK_BINS)
        self.look, self.mirrored = Bands(basis), Bands(basis.flip(0))
        window, self.unit_by_unit, self.bin_by_unit = spikes
        self.times_by_unit = counts[spikes]
        order = _order(window * n_padded + self.bin_by_unit, counts.shape[0] * n_padded)
        self.unit_by_bin, self.times_by_bin = self.unit_by_unit[order], self.times_by_unit[order]
        n_rows = self.n_chunks * CHUNK_BINS + 2 * self.n_lags
        self.first_of_bin = _first_of_each(window * n_rows + self.bin_by_unit, self.n_windows, n_rows)
        self.first_of_unit = _first_of_each(window * self.n_units + self.unit_by_unit, self.n_windows, self.n_units)
        self.first_spike = [*self.first_of_unit[:, 0].tolist(), len(window)]
        n_sums = self.n_bins + self.n_lags - 1
        self.row_of_past = torch.where(self.bin_by_unit < n_sums, self.bin_by_unit, n_sums)
        ahead = self.bin_by_unit - (self.n_lags + 1)
        self.row_of_future = torch.where((ahead >= 0) & (ahead < n_sums), ahead, n_sums)

    @property
    def present(self) -> Float[Tensor, "window visible bin"]:
        return self.counts[..., self.n_lags : self.n_lags + self.n_bins]

    def drive(self, weights: InputWeights) -> tuple[Tensor, Tensor]:
        n_rows = len(weights.generative)
        rows = torch.cat([weights.generative, weights.past])
        parts = [self._sum(part, self.look.back, 0) for part in rows.split(self._rows_at_a_time)]
        out = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        core, read = out[:, self.first :, :n_rows], out[..., n_rows:]
        if weights.future is not None:
            read += self._sum(weights.future, self.mirrored.back, self.n_lags + 1)
        if weights.present is not None:
            read += self.present.transpose(1, 2) @ weights.present.T
        return core.transpose(1, 2), read.transpose(1, 2)

    def against(self, on_core: Tensor, on_read: Tensor, like: InputWeights) -> InputWeights:
        n_rows = len(like.generative)
        on_past = self._around(n_rows + len(like.past), on_read)
        inner = self._inner(on_past)
        inner[:, self.first :, :n_rows] = on_core.transpose(1, 2)
        inner[..., n_rows:] = on_read.transpose(1, 2)
        parts = [
            self._spread(part, self.look.ahead, self.row_of_past) for part in on_past.split(self._rows_at_a_time, dim=2)
        ]
        by_past = torch.cat(parts) if len(parts) > 1 else parts[0]
        present = future = None
        if like.present is not None:
            present = (on_read @ self.present.transpose(1, 2)).sum(0)
        if like.future is not None:
            on_future = self._around(len(like.future), on_read)
            self._inner(on_future).copy_(on_read.transpose(1, 2))
            future = self._spread(on_future, self.mirrored.ahead, self.row_of_future)
        return InputWeights(by_past[:n_rows], by_past[n_rows:], present, future)

    def _around(self, n_rows: int, like: Tensor) -> Float[Tensor, "window chunked_bin row"]:
        """Zeros for values of all bins and, around them, of those that sums over lags reach as well."""
        return like.new_zeros(self.n_windows, self.n_chunks * CHUNK_BINS + self.n_lags - 1, n_rows)

    def _inner(self, around: Tensor) -> Float[Tensor, "window bin row"]:
        return around[:, self.n_lags - 1 : self.n_lags - 1 + self.n_bins]

    @property
    def _rows_at_a_time(self) -> int:
        return max(1, 2 * MOST_COLUMNS // self.n_functions)

    def _sum(self, weights: Float[Tensor, "row feature"], band: Tensor, first: int) -> Float[Tensor, "window bin row"]:
        """Sums over spikes of the weights, then over lags, the furthest of which is `first` bins into the context."""
        n_rows, wide = len(weights), CHUNK_BINS * self.n_functions * len(weights)
        table = weights.T.reshape(self.n_units, self.n_functions * n_rows)
        out = weights.new_empty(self.n_windows, self.n_chunks * CHUNK_BINS, n_rows)
        chunks = (self.n_chunks, band.shape[1], n_rows)
        for window in range(self.n_windows):
            own = slice(*self.first_spike[window : window + 2])
            sums = bags(self.unit_by_bin[own], table, self.first_of_bin[window] - own.start, self.times_by_bin[own])
            rows = sums.as_strided(chunks, (wide, n_rows, 1), first * table.shape[1])
            torch.bmm(band.expand(self.n_chunks, -1, -1), rows, out=out[window].view(self.n_chunks, CHUNK_BINS, n_rows))
        return out[:, : self.n_bins]

    def _spread(
        self, values: Float[Tensor, "window chunked_bin row"], band: Tensor, row: Tensor
    ) -> Float[Tensor, "row feature"]:
        """Sums of the values over the spikes that act on them, each from the row of the sums over lags that it belongs to."""
        n_rows, per_bin = values.shape[2], values.stride(1)
        n_in = CHUNK_BINS + self.n_lags - 1
        sums = values.new_empty(self.n_chunks, len(band), n_rows)
        total = values.new_zeros(self.n_units, self.n_functions * n_rows)
        for window in range(self.n_windows):
            inside = values[window]
            chunks = inside.as_strided(
                (self.n_chunks, n_in, n_rows), (CHUNK_BINS * per_bin, per_bin, 1), inside.storage_offset()
            )
            torch.bmm(band.expand(self.n_chunks, -1, -1), chunks, out=sums)
            own = slice(*self.first_spike[window : window + 2])
            table = sums.view(-1, total.shape[1])
            total += bags(row[own], table, self.first_of_unit[window] - own.start, self.times_by_unit[own])
        return total.view(self.n_units * self.n_functions, n_rows).T


def _first_of_each(group: Tensor, n_windows: int, n_groups: int) -> Int[Tensor, "window group"]:
    """Where the spikes of each group of each window begin, once they are sorted."""
    sizes = torch.bincount(group, minlength=n_windows * n_groups)
    return (sizes.cumsum(0) - sizes).int().view(n_windows, n_groups)


def _flat(features: Float[Tensor, "window feature bin"]) -> Float[Tensor, "feature window_bin"]:
    """Windows behind one another; no copy of features that lie so already."""
    return features.transpose(0, 1).reshape(features.shape[1], -1)
