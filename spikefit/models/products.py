"""Products with the features of a block: the drive that weights make of them, and what a residual has in common with them.

Where the features are at hand both are matrix products. Of many units only a few fire in any one bin, and the features
need not be made at all. With y the counts and b the basis, a feature is x[m, k, t] = Σ_l b[l, k] y[m, t − 1 − l], so

    Σ_mk w[n, m, k] x[m, k, t] = Σ_l Σ_k b[l, k] a[t − 1 − l, k, n],    a[s, k, n] = Σ_m y[m, s] w[n, m, k]
    Σ_t r[n, t] x[m, k, t]     = Σ_s y[m, s] c[s, k, n],                c[s, k, n] = Σ_t b[t − 1 − s, k] r[n, t]

The sums over y visit spikes alone; those over lags are products with a small banded matrix, some bins at a time. For a
thousand units at a few spikes per second that is about a sixth of the time.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float, Integer
from torch import Tensor

CHUNK_BINS = 32  # bins that share one banded matrix: wider wastes products with zero, narrower makes small products
SPIKE_COST = 3.0  # time of adding up a row for one spike, in products of a unit
WORTH_IT = 2.0  # how much less work by spikes there must be, so that it is less time
MOST_COLUMNS = 128  # rows are taken so many at a time, so that what is added up stays in the caches


class Weights:
    """Weights on the features, (row, feature), in whatever order of memory the products want them."""

    def __init__(self, weights: Float[Tensor, "row feature"]) -> None:
        self.plain = weights
        self._by_sender: list[Tensor] | None = None

    def by_sender(self, n_units: int, n_functions: int) -> list[Float[Tensor, "unit basis_row"]]:
        """The weights of the couplings, sender after sender, for up to `MOST_COLUMNS` rows each; arranged once for all blocks."""
        if self._by_sender is None:
            couplings = self.plain[:, : n_units * n_functions]
            self._by_sender = [part.T.reshape(n_units, -1) for part in couplings.split(MOST_COLUMNS)]
        return self._by_sender


class Products(Protocol):
    """What a solver asks of the features of a block."""

    def drive(self, weights: Weights, offset: Float[Tensor, " row"]) -> Float[Tensor, "row bin"]:
        """Weighted sums of the features in every bin, and an offset."""
        ...

    def against(self, values: Float[Tensor, "row bin"]) -> Float[Tensor, "row feature"]:
        """Sums over bins of the values times the features."""
        ...


class DenseProducts:
    """Products with features that are at hand; (feature, bin)."""

    def __init__(self, features: Float[Tensor, "feature bin"]) -> None:
        self.features = features

    def drive(self, weights: Weights, offset: Tensor) -> Tensor:
        return torch.addmm(offset[:, None], weights.plain, self.features)

    def against(self, values: Tensor) -> Tensor:
        return values @ self.features.T


class Bands:
    """The small banded matrices that carry sums over lags, for up to `CHUNK_BINS` bins at a time.

    Args:
        basis: (lag, basis); its dtype is that of the products.
    """

    def __init__(self, basis: Float[Tensor, "lag basis"]) -> None:
        self.n_lags, self.n_functions = basis.shape
        self.back, self.ahead = _looking_back(basis), _looking_ahead(basis)


class SpikeProducts:
    """Products by spikes.

    Args:
        padded: counts of the block's bins behind `n_lags` bins of context, whole numbers, or numbers of the products' dtype where
            something stands in for counts that are not known; (unit, padded_bin).
        bands: of the basis.
        scored: which bins of the block are asked for; None for all.
        covariates: further features in the scored bins; (covariate, bin).
    """

    def __init__(
        self,
        padded: Integer[Tensor, "unit padded_bin"] | Float[Tensor, "unit padded_bin"],
        bands: Bands,
        scored: Tensor | None,
        covariates: Float[Tensor, "covariate bin"] | None,
    ) -> None:
        self.bands, self.n_lags, self.n_functions = bands, bands.n_lags, bands.n_functions
        self.n_units, self.n_bins = padded.shape[0], padded.shape[1] - self.n_lags
        self.scored, self.covariates = scored, covariates
        # The last bin acts on nobody. Two spikes in a bin are visited twice.
        by_bin = padded[:, :-1].T
        bins, units = by_bin.nonzero(as_tuple=True)
        self.by_time: Tensor | None = None
        if padded.is_floating_point():
            self.by_time, self.units = by_bin[bins, units], units.int()
        else:
            times = by_bin[bins, units].long()
            self.units = units.repeat_interleave(times).int()
            bins = bins.repeat_interleave(times)
        # Bins behind the last hold nothing; with them every banded product is of whole chunks.
        self.n_chunks = -(-self.n_bins // CHUNK_BINS)
        self.first_of_bin = starts(bins, self.n_chunks * CHUNK_BINS + self.n_lags - 1)
        order = self.units.argsort(stable=True)
        self.bins = bins[order].int()
        self.by_unit = None if self.by_time is None else self.by_time[order]
        self.first_of_unit = starts(self.units[order].long(), self.n_units)

    @property
    def nbytes(self) -> int:
        """What the places of the spikes take."""
        held = (self.units, self.bins, self.first_of_bin, self.first_of_unit, self.by_time, self.by_unit)
        return sum(part.nbytes for part in held if part is not None)

    def drive(self, weights: Weights, offset: Tensor) -> Tensor:
        n_functions = self.n_functions
        tables = weights.by_sender(self.n_units, n_functions)
        parts = [self._drive(table, part) for table, part in zip(tables, offset.split(MOST_COLUMNS), strict=True)]
        drive = torch.cat(parts) if len(parts) > 1 else parts[0]
        if self.covariates is not None:
            drive = drive.addmm_(weights.plain[:, self.n_units * n_functions :], self.covariates)
        return drive

    def _drive(self, table: Float[Tensor, "unit basis_row"], offset: Tensor) -> Float[Tensor, "row bin"]:
        n_rows, n_functions = len(offset), self.n_functions
        sums = bags(self.units, table, self.first_of_bin, self.by_time).view(-1, n_rows)  # (padded bin · basis, row)
        chunks = _overlapping(
            sums, self.n_chunks, (CHUNK_BINS + self.n_lags - 1) * n_functions, CHUNK_BINS * n_functions
        )
        back = self.bands.back.expand(self.n_chunks, -1, -1)
        out = torch.baddbmm(offset.view(1, 1, -1), back, chunks).view(-1, n_rows)[: self.n_bins]
        return out.T if self.scored is None else out[self.scored].T

    def against(self, values: Tensor) -> Tensor:
        parts = [self._against(part) for part in values.split(MOST_COLUMNS)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _against(self, values: Tensor) -> Tensor:
        n_rows, n_functions, n_lags = len(values), self.n_functions, self.n_lags
        n_chunks = -(-(self.n_bins + n_lags - 1) // CHUNK_BINS)
        # Bins before and behind the block have no values.
        wide = values.new_zeros(n_chunks * CHUNK_BINS + n_lags - 1, n_rows)
        own = wide[n_lags - 1 : n_lags - 1 + self.n_bins]
        if self.scored is None:
            own.copy_(values.T)
        else:
            own[self.scored] = values.T.contiguous()
        chunks = _overlapping(wide, n_chunks, CHUNK_BINS + n_lags - 1, CHUNK_BINS)
        table = torch.bmm(self.bands.ahead.expand(n_chunks, -1, -1), chunks).view(-1, n_functions * n_rows)
        by_unit = bags(self.bins, table, self.first_of_unit, self.by_unit)  # (unit, basis · row)
        out = by_unit.view(self.n_units * n_functions, n_rows).T
        if self.covariates is None:
            return out
        return torch.cat([out, values @ self.covariates.T], dim=1)


def by_spikes(n_units: int, spikes_per_bin: float, n_lags: int, device: torch.device) -> bool:
    """Whether products by spikes take less time than products with features.

    Args:
        n_units: recorded units.
        spikes_per_bin: of all units together.
        n_lags: bins of history.
        device: of the computation. A GPU has other costs, which were not measured; it keeps to features.
    """
    work = CHUNK_BINS + n_lags - 1 + SPIKE_COST * spikes_per_bin
    return device.type == "cpu" and n_units > WORTH_IT * work


def _overlapping(
    rows: Float[Tensor, "row column"], n_chunks: int, n_rows: int, step: int
) -> Float[Tensor, "chunk chunk_row column"]:
    """Stretches of so many rows, each so many further on, without a copy: one product of all chunks, not one call for each."""
    n_columns = rows.shape[1]
    return rows.as_strided((n_chunks, n_rows, n_columns), (step * n_columns, n_columns, 1))


def bags(index: Tensor, table: Tensor, first: Tensor, times: Tensor | None = None) -> Tensor:
    """Sums of rows of a table, bag after bag, each row so many times."""
    return torch.nn.functional.embedding_bag(index, table, first, mode="sum", per_sample_weights=times)


def starts(sorted_group: Tensor, n_groups: int) -> Tensor:
    """Where each group begins in a sorted list of groups."""
    return torch.searchsorted(sorted_group, torch.arange(n_groups, device=sorted_group.device)).int()


def _looking_back(basis: Tensor) -> Float[Tensor, "bin context_basis"]:
    """Row t reads the bins t, …, t + lag − 1 of a stretch that begins one history before the first bin."""
    n_lags, n_functions = basis.shape
    out = basis.new_zeros(CHUNK_BINS, CHUNK_BINS + n_lags - 1, n_functions)
    for t in range(CHUNK_BINS):
        out[t, t : t + n_lags] = basis.flip(0)
    return out.view(CHUNK_BINS, -1)


def _looking_ahead(basis: Tensor) -> Float[Tensor, "bin_basis context"]:
    """Row (s, k) reads what the bins s + 1, …, s + lag have, of a stretch that begins with bin s + 1 of the first row."""
    n_lags, n_functions = basis.shape
    out = basis.new_zeros(CHUNK_BINS, n_functions, CHUNK_BINS + n_lags - 1)
    for s in range(CHUNK_BINS):
        out[s, :, s : s + n_lags] = basis.T
    return out.view(CHUNK_BINS * n_functions, -1)
