"""The shared design of all units, made block by block.

Every unit's drive is read from the same features, the convolved history of all visible units and, behind them, the
traces of the common drive where there are some. They are made for a few
thousand bins at a time from counts in their compact type, kept where a memory budget allows, and made again where not.
Of many units that fire rarely they are hardly made at all: products with them go by spikes (`products.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.lost import LostBins
from spikefit.fitting.memory import halving
from spikefit.fitting.processes import own_ranges, place
from spikefit.models.coupling import history_features
from spikefit.models.long_sums import sum_over_bins
from spikefit.models.products import Bands, DenseProducts, Products, SpikeProducts, by_spikes
from spikefit.models.spike_gram import spike_gram

T = TypeVar("T")

BLOCK_BINS, FEWEST_BLOCK_BINS = 4096, 64


@dataclass(frozen=True)
class _Block:
    """A stretch of bins and which of them are scored (None: all)."""

    start: int
    stop: int
    scored: Tensor | None


class Design:
    """Features and targets of the scored bins of a recording, in blocks.

    Args:
        counts: (unit, bin), in any whole-number type, on the device of the computation.
        ranges: scored `[start, stop)` bins, shape (n, 2), each preceded by a whole history inside its segment.
        basis: (lag, basis), on the same device; its dtype is the dtype of the computation.
        covariates: further features of every bin of the recording, the same for all units; (covariate, bin).
        cache_bytes: how much of the features, and of the places of spikes, may be kept between passes.
        block_bins: bins whose features are made at a time.
        n_coupling_functions: functions of the basis that couplings are made of, the others being for own history; None for all.
        lost: bins in which single units were not observed, where their counts are zero; None where there are none. The features
            then have what stands in for them, and `lost` says block after block which targets do not count.
    """

    def __init__(
        self,
        counts: Integer[Tensor, "unit bin"],
        ranges: NDArray[np.int64],
        basis: Float[Tensor, "lag basis"],
        *,
        covariates: Float[Tensor, "covariate bin"] | None = None,
        cache_bytes: int = 0,
        block_bins: int = BLOCK_BINS,
        n_coupling_functions: int | None = None,
        lost: LostBins | None = None,
    ) -> None:
        self._counts = counts
        self._lost = lost
        self._covariates = covariates
        self._basis = basis
        self._ranges, self._block_bins = ranges, block_bins
        self._cache: dict[int, tuple[Tensor, Tensor]] = {}
        self._places: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._spikes: dict[int, tuple[SpikeProducts, Tensor, Tensor, Tensor]] = {}
        self._cache_bytes = cache_bytes
        self.n_units = counts.shape[0]
        self.n_couplings = self.n_units * basis.shape[1]
        self.n_features = self.n_couplings + (0 if covariates is None else len(covariates))
        self.n_coupling_functions = basis.shape[1] if n_coupling_functions is None else n_coupling_functions
        self.n_bins = int(np.diff(ranges, axis=1).sum()) if len(ranges) else 0
        self._bands: Bands | None = None
        n_spikes = sum(int(sum_over_bins(counts, start, stop).sum()) for start, stop in ranges.tolist())
        spikes_per_bin = n_spikes / max(1, self.n_bins)
        if lost is not None:  # a stand-in costs as much as a spike
            spikes_per_bin += float(lost.n_lost(ranges).sum()) / max(1, self.n_bins)
        if by_spikes(self.n_units, spikes_per_bin, len(basis), counts.device):
            self._bands = Bands(basis)
        self._blocks = _make_blocks(ranges, self._block_bins, counts.device)

    def own_part(self) -> Design:
        """The design of those bins that this process of several computes; of all where there is one."""
        if place()[1] == 1:
            return self
        return Design(
            self._counts,
            own_ranges(self._ranges),
            self._basis,
            covariates=self._covariates,
            cache_bytes=self._cache_bytes,
            block_bins=self._block_bins,
            n_coupling_functions=self.n_coupling_functions,
            lost=self._lost,
        )

    def within_memory(self, work: Callable[[], T]) -> T:
        """Do some work over the blocks; each time that the memory is not enough, with blocks of half the size and none kept.

        Raises:
            DeviceError: if not even the smallest blocks fit.
        """

        def attempt(block_bins: int) -> T:
            if block_bins != self._block_bins:
                self._block_bins, self._cache_bytes = block_bins, 0
                self._cache.clear()
                self._places.clear()
                self._spikes.clear()
                self._blocks = _make_blocks(self._ranges, block_bins, self._counts.device)
            return work()

        least = min(FEWEST_BLOCK_BINS, self._block_bins)
        done, _ = halving(attempt, self._block_bins, least=least, what="the fit without hidden units")
        return done

    @property
    def own_features(self) -> Bool[Tensor, " feature"] | None:
        """Which features are for own history alone; None where none are."""
        n_functions = self._basis.shape[1]
        if self.n_coupling_functions == n_functions:
            return None
        is_own = torch.arange(self.n_features, device=self.device) % n_functions >= self.n_coupling_functions
        is_own[self.n_couplings :] = False
        return is_own

    @property
    def n_lags(self) -> int:
        return self._basis.shape[0]

    @property
    def device(self) -> torch.device:
        return self._basis.device

    @property
    def dtype(self) -> torch.dtype:
        return self._basis.dtype

    def spikes(self, every: int = 1) -> Iterator[tuple[Products, Tensor, Tensor, Tensor]]:
        """Blocks by their spikes: products with the features, then unit, bin and count of every occupied bin.

        Args:
            every: give each so-many-th block alone.
        """
        if self._bands is None:
            for key, (features, counts) in zip(self._keys(every), self.blocks(every), strict=True):
                places = self._places.get(key)
                if places is None:
                    places = _occupied(counts)
                    if self._may_keep(sum(part.nbytes for part in places)):
                        self._places[key] = places
                yield DenseProducts(features), *places
            return
        for key in self._keys(every):
            found = self._spikes.get(key)
            if found is None:
                block = self._blocks[key]
                seen = self._seen(block.start - self.n_lags, block.stop)
                products = SpikeProducts(seen, self._bands, block.scored, self._covariates_of(block))
                counts = self._counts[:, block.start : block.stop]
                counts = counts if block.scored is None else counts[:, block.scored]
                unit, bin_, count = _occupied(counts)
                found = products, unit, bin_, count.to(self.dtype)
                if self._may_keep(products.nbytes + sum(part.nbytes for part in found[1:])):
                    self._spikes[key] = found
            yield found

    def _may_keep(self, n_bytes: int) -> bool:
        """Whether so much may still be kept between passes; if so, it is taken off."""
        if n_bytes > self._cache_bytes:
            return False
        self._cache_bytes -= n_bytes
        return True

    def feature_sums(self) -> Float[Tensor, " feature"]:
        """Sum of every feature over the scored bins, from sums of counts; float64."""
        total = torch.zeros(self.n_features, dtype=torch.float64, device=self.device)
        basis = self._basis.double()
        for start, stop in self._ranges.tolist():
            by_lag = _sums_by_lag(self._counts, start, stop, self.n_lags)
            if self._lost is not None:
                n_lost = _sums_by_lag(self._lost.mask, start, stop, self.n_lags)
                by_lag = by_lag + self._lost.stand_in[:, None] * n_lost
            total[: self.n_couplings] += (by_lag @ basis).reshape(-1)
            if self._covariates is not None:
                total[self.n_couplings :] += self._covariates[:, start:stop].sum(1, dtype=torch.float64)
        return total

    def count_sums(self) -> Float[Tensor, " unit"]:
        """Spikes of every unit in the scored bins; float64."""
        total = torch.zeros(self.n_units, dtype=torch.int64, device=self.device)
        for start, stop in self._ranges.tolist():
            total += sum_over_bins(self._counts, start, stop)
        return total.double()

    def own_bins(self) -> int | Float[Tensor, " unit"]:
        """Scored bins in which each unit was observed, at least one; the same number for all where none is lost."""
        if self._lost is None:
            return self.n_bins
        return (self.n_bins - self._lost.n_lost(self._ranges)).clamp(min=1.0)

    def lost(self, every: int = 1) -> Iterator[Bool[Tensor, "unit bin"] | None]:
        """Where units are lost in the scored bins, block after block as `blocks` and `spikes` give them; None where none is."""
        for key in self._keys(every):
            if self._lost is None:
                yield None
                continue
            block = self._blocks[key]
            own = self._lost.mask[:, block.start : block.stop]
            yield own if block.scored is None else own[:, block.scored]

    @property
    def any_lost(self) -> bool:
        """Whether some unit is lost in some bin of the recording."""
        return self._lost is not None

    def gram(self, centre: Float[Tensor, " feature"], every: int) -> tuple[Float[Tensor, "feature feature"], Tensor]:
        """Sum of outer products of the features less `centre`, and its number of bins: of each so-many-th block, or of all by spikes."""
        if self._bands is not None:
            return self._gram_by_spikes(centre), torch.tensor(float(self.n_bins), dtype=torch.float64)
        size = self.n_features
        total, n_seen = torch.zeros(size, size, dtype=torch.float64, device=self.device), 0
        middle = centre.to(self.dtype)[:, None]
        for features, _ in self.blocks(every):
            # Centred before the product: μμᵀ subtracted afterwards would cost float32 its digits.
            centred = features - middle
            total += centred @ centred.T
            n_seen += features.shape[1]
        return total, torch.tensor(float(n_seen), dtype=torch.float64, device=self.device)

    def _gram_by_spikes(self, centre: Float[Tensor, " feature"]) -> Float[Tensor, "feature feature"]:
        """Float64 throughout, so the centre may come off afterwards."""
        couplings = spike_gram(self._seen, self._ranges, self._basis)
        n_further = self.n_features - self.n_couplings
        total = torch.nn.functional.pad(couplings, (0, n_further, 0, n_further)) if n_further else couplings
        if n_further:
            for (products, *_), block in zip(self.spikes(), self._blocks, strict=True):
                covariates = self._covariates_of(block)
                assert covariates is not None
                total[self.n_couplings :] += products.against(covariates).double()
            total[: self.n_couplings, self.n_couplings :] = total[self.n_couplings :, : self.n_couplings].T
        sums = self.feature_sums()
        total -= torch.outer(sums, centre)
        total -= torch.outer(centre, sums - self.n_bins * centre)
        return total

    def _seen(self, start: int, stop: int) -> Tensor:
        """Counts from bin to bin as other units see them, with stand-ins where units are lost; (unit, bin)."""
        counts = self._counts[:, start:stop]
        return counts if self._lost is None else self._lost.filled(counts.to(self.dtype), start, stop)

    def _keys(self, every: int) -> range:
        return range(0, len(self._blocks), every)

    def _covariates_of(self, block: _Block) -> Tensor | None:
        if self._covariates is None:
            return None
        own = self._covariates[:, block.start : block.stop].to(self.dtype)
        return own if block.scored is None else own[:, block.scored]

    def blocks(self, every: int = 1) -> Iterator[tuple[Float[Tensor, "feature bin"], Float[Tensor, "unit bin"]]]:
        """Features and counts of the scored bins, block after block; with `every`, of each so-many-th block."""
        n_lags = self._basis.shape[0]
        for key in self._keys(every):
            if key in self._cache:
                yield self._cache[key]
                continue
            block = self._blocks[key]
            padded = self._counts[:, block.start - n_lags : block.stop].to(self.dtype)
            targets = padded[:, n_lags:]
            if self._lost is not None:
                padded = self._lost.filled(padded, block.start - n_lags, block.stop)
            features = history_features(padded, self._basis)
            if self._covariates is not None:
                features = torch.cat([features, self._covariates[:, block.start : block.stop].to(features)])
            if block.scored is not None:
                features, targets = features[:, block.scored], targets[:, block.scored]
            else:
                targets = targets.contiguous()
            if self._bands is None and self._may_keep(features.nbytes + targets.nbytes):
                self._cache[key] = features, targets
            yield features, targets

    def reached(self) -> Iterator[tuple[Float[Tensor, "unit bin"], Float[Tensor, "unit bin"]]]:
        """Whether each unit has fired within the lags before each scored bin (1 or 0), and counts, block after block."""
        for block in self._blocks:
            padded = self._counts[:, block.start - self.n_lags : block.stop].to(self.dtype)
            fired = (padded[None, :, :-1] > 0).to(self.dtype)
            lately = torch.nn.functional.max_pool1d(fired, self.n_lags, stride=1)[0]
            counts = padded[:, self.n_lags :]
            yield (lately, counts) if block.scored is None else (lately[:, block.scored], counts[:, block.scored])

    def spans(self) -> list[tuple[int, int, Tensor | None]]:
        """Of every block its first bin, the end of its last, and which bins between are scored (None: all)."""
        return [(block.start, block.stop, block.scored) for block in self._blocks]

    @property
    def n_blocks(self) -> int:
        return len(self._blocks)


def _sums_by_lag(counts: Tensor, start: int, stop: int, n_lags: int) -> Float[Tensor, "unit lag"]:
    """Sums of counts over the bins from `start` to `stop`, all moved back by 1 to `n_lags` bins."""
    window = sum_over_bins(counts, start - 1, stop - 1)
    sums = [window]
    for lag in range(1, n_lags):  # one bin earlier: a bin joins in front, one leaves behind
        window = window + counts[:, start - 1 - lag].long() - counts[:, stop - 1 - lag].long()
        sums.append(window)
    return torch.stack(sums, dim=1).double()


def _occupied(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit, bin and count of every bin that holds a spike."""
    unit, bin_ = counts.nonzero(as_tuple=True)
    return unit, bin_, counts[unit, bin_]


def _make_blocks(ranges: NDArray[np.int64], block_bins: int, device: torch.device) -> list[_Block]:
    """Cut long ranges, and pool short ones into a span where most of the span is scored."""
    pieces: list[tuple[int, int]] = []
    for start, stop in ranges.tolist():
        n_pieces = -(-(stop - start) // block_bins)
        edges = np.linspace(start, stop, n_pieces + 1).round().astype(int).tolist()
        pieces.extend(itertools.pairwise(edges))
    blocks: list[_Block] = []
    pool: list[tuple[int, int]] = []

    def close() -> None:
        start, stop = pool[0][0], pool[-1][1]
        if sum(b - a for a, b in pool) == stop - start:
            blocks.append(_Block(start, stop, None))
        else:
            index = torch.cat([torch.arange(a - start, b - start) for a, b in pool])
            blocks.append(_Block(start, stop, index.to(device)))
        pool.clear()

    for start, stop in pieces:
        if pool:
            span = stop - pool[0][0]
            scored = stop - start + sum(b - a for a, b in pool)
            if span > block_bins or 2 * scored < span:
                close()
        pool.append((start, stop))
    if pool:
        close()
    return blocks
