"""The shared design of all units, made block by block.

Every unit's drive is read from the same features, the convolved history of all visible units and, behind them, the
traces of the common drive where there are some. They are made for a few
thousand bins at a time from counts in their compact type, kept where a memory budget allows, and made again where not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from torch import Tensor

from spikefit.models.coupling import history_features

BLOCK_BINS = 4096


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
        cache_bytes: how much of the features may be kept between passes.
    """

    def __init__(
        self,
        counts: Integer[Tensor, "unit bin"],
        ranges: NDArray[np.int64],
        basis: Float[Tensor, "lag basis"],
        *,
        covariates: Float[Tensor, "covariate bin"] | None = None,
        cache_bytes: int = 0,
    ) -> None:
        self._counts = counts
        self._covariates = covariates
        self._basis = basis
        self._blocks = _make_blocks(ranges, counts.device)
        self._cache: dict[int, tuple[Tensor, Tensor]] = {}
        self._spikes: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._cache_bytes = cache_bytes
        self.n_units = counts.shape[0]
        self.n_couplings = self.n_units * basis.shape[1]
        self.n_features = self.n_couplings + (0 if covariates is None else len(covariates))
        self.n_bins = int(np.diff(ranges, axis=1).sum()) if len(ranges) else 0

    @property
    def n_lags(self) -> int:
        return self._basis.shape[0]

    @property
    def device(self) -> torch.device:
        return self._basis.device

    @property
    def dtype(self) -> torch.dtype:
        return self._basis.dtype

    def spikes(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Blocks with the place of their spikes: features, counts, then unit, bin and count of every occupied bin."""
        for key, (features, counts) in enumerate(self.blocks()):
            if key not in self._spikes:
                unit, bin_ = counts.nonzero(as_tuple=True)
                self._spikes[key] = unit, bin_, counts[unit, bin_]
            yield features, counts, *self._spikes[key]

    def blocks(self, every: int = 1) -> Iterator[tuple[Float[Tensor, "feature bin"], Float[Tensor, "unit bin"]]]:
        """Features and counts of the scored bins, block after block; with `every`, of each so-many-th block."""
        n_lags = self._basis.shape[0]
        for key in range(0, len(self._blocks), every):
            if key in self._cache:
                yield self._cache[key]
                continue
            block = self._blocks[key]
            padded = self._counts[:, block.start - n_lags : block.stop].to(self.dtype)
            features, targets = history_features(padded, self._basis), padded[:, n_lags:]
            if self._covariates is not None:
                features = torch.cat([features, self._covariates[:, block.start : block.stop].to(features)])
            if block.scored is not None:
                features, targets = features[:, block.scored], targets[:, block.scored]
            else:
                targets = targets.contiguous()
            size = features.nbytes + targets.nbytes
            if size <= self._cache_bytes:
                self._cache_bytes -= size
                self._cache[key] = features, targets
            yield features, targets

    def spans(self) -> list[tuple[int, int, Tensor | None]]:
        """Of every block its first bin, the end of its last, and which bins between are scored (None: all)."""
        return [(block.start, block.stop, block.scored) for block in self._blocks]

    @property
    def n_blocks(self) -> int:
        return len(self._blocks)


def _make_blocks(ranges: NDArray[np.int64], device: torch.device) -> list[_Block]:
    """Cut long ranges, and pool short ones into a span where most of the span is scored."""
    pieces: list[tuple[int, int]] = []
    for start, stop in ranges.tolist():
        n_pieces = -(-(stop - start) // BLOCK_BINS)
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
            if span > BLOCK_BINS or 2 * scored < span:
                close()
        pool.append((start, stop))
    if pool:
        close()
    return blocks
