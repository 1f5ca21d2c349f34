"""Which bins train a latent model, which decide when it is done, and which judge it.

Segments are cut into blocks, trials that are short stay whole, and some blocks are held out. Every block becomes a
segment of its own: no context reaches from a block that trains into one that judges, exactly as none crosses a gap, so
that nothing need be thrown away between them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.spikes import Counts

N_BLOCKS = 20  # held-out blocks: enough for an idea of the spread
MOST_BLOCK_BINS = 2000  # a longer recording has more blocks, not longer ones: bounds are drawn block by block
MOST_FIT_BINS, MOST_CHOOSE_BINS = 100_000, 20_000  # that read-outs and simpler methods learn and are chosen from
STRETCH_BINS = 1000
CHOOSE_SHARE = 0.12  # of the training blocks


@dataclass(frozen=True, eq=False)
class Folds:
    """One recording cut for fitting and scoring; every block is a segment of its own.

    Attributes:
        fit: bins that train.
        choose: bins set aside from training, on which settings are chosen.
        heldout: bins that are scored.
    """

    fit: Counts
    choose: Counts
    heldout: Counts


@dataclass(frozen=True, eq=False)
class FoldRanges:
    """The same as `[start, stop)` bins of the recording; shape (n, 2) each."""

    fit: NDArray[np.int64]
    choose: NDArray[np.int64]
    heldout: NDArray[np.int64]

    def of(self, counts: Counts) -> Folds:
        """The counts themselves; of a long recording stretches of what trains and chooses, and all that is held out."""
        return Folds(
            take(counts, thinned(self.fit, MOST_FIT_BINS)),
            take(counts, thinned(self.choose, MOST_CHOOSE_BINS)),
            take(counts, self.heldout),
        )


def cut_folds(segment_offsets: NDArray[np.int64], *, shortest: int, heldout: float, seed: int) -> FoldRanges:
    """Choose the blocks.

    Args:
        segment_offsets: first bin of each segment and the end of the last.
        shortest: a segment is not cut into blocks of fewer bins than about this.
        heldout: share of the bins to hold out.
        seed: places the first held-out block.

    Raises:
        UsageError: if there are too few blocks to train and to judge.
    """
    n_bins = int(segment_offsets[-1])
    block = max(shortest, min(MOST_BLOCK_BINS, round(n_bins * heldout / N_BLOCKS)))
    rows, owners = [], []
    for owner, (start, stop) in enumerate(itertools.pairwise(segment_offsets)):
        # A trial is one of many and stays whole; a long stretch is cut.
        is_trial = (stop - start) * N_BLOCKS <= n_bins
        n_blocks = 1 if is_trial else max(1, round((stop - start) / block))
        edges = np.linspace(start, stop, n_blocks + 1).round().astype(np.int64)
        rows.append(np.stack([edges[:-1], edges[1:]], axis=1))
        owners.append(np.full(n_blocks, owner))
    blocks, owner_of = np.concatenate(rows), np.concatenate(owners)
    phases = np.random.default_rng([seed, 3]).random(2)
    judges = _every_so_many(len(blocks), heldout, phases[0])
    trains = np.flatnonzero(~judges)
    chooses = trains[_every_so_many(len(trains), CHOOSE_SHARE, phases[1])]
    if len(chooses) == 0 and len(trains) > 2:
        chooses = trains[len(trains) // 2 :][:1]
    fits = np.setdiff1d(trains, chooses)
    if not judges.any() or not len(chooses) or not len(fits):
        raise UsageError(
            f"the recording is too short to hold out {heldout:.0%} of it: {n_bins} bins make {len(blocks)} blocks of "
            f"about {block} bins, and at least 4 are needed.",
            hint="pass a shorter --context, narrower bins with --bin, or a longer recording",
        )
    return FoldRanges(_merged(blocks, owner_of, fits), blocks[chooses], blocks[judges])


def take(counts: Counts, ranges: NDArray[np.int64]) -> Counts:
    """Some bins of a recording, each `[start, stop)` range a segment of its own."""
    # Range after range into its place: an index of all bins would be larger than the counts.
    offsets = np.concatenate([[0], np.cumsum(np.diff(ranges, axis=1).ravel())])
    values = np.empty((int(offsets[-1]), counts.n_units), dtype=counts.counts.dtype, order="F")
    for (start, stop), place in zip(ranges.tolist(), offsets[:-1].tolist(), strict=True):
        values[place : place + stop - start] = counts.counts[start:stop]
    owner = np.searchsorted(counts.segment_offsets, ranges[:, 0], side="right") - 1
    within = ranges[:, 0] - counts.segment_offsets[owner]
    return Counts(
        counts=values,
        bin_width_s=counts.bin_width_s,
        segment_offsets=offsets,
        segment_start_s=counts.segment_start_s[owner] + within * counts.bin_width_s,
        unit_ids=counts.unit_ids,
    )


def thinned(ranges: NDArray[np.int64], most_bins: int) -> NDArray[np.int64]:
    """The ranges themselves, or stretches of them, evenly spread, that hold about so many bins."""
    n_bins = int(np.diff(ranges, axis=1).sum())
    if n_bins <= most_bins:
        return ranges
    stretches = []
    for start, stop in ranges.tolist():
        edges = np.linspace(start, stop, max(1, round((stop - start) / STRETCH_BINS)) + 1).round().astype(np.int64)
        stretches.append(np.stack([edges[:-1], edges[1:]], axis=1))
    all_of_them = np.concatenate(stretches)
    return all_of_them[_every_so_many(len(all_of_them), most_bins / n_bins, 0.5)]


def _every_so_many(n: int, share: float, phase: float) -> NDArray[np.bool_]:
    return np.asarray(np.diff(np.floor(np.arange(n + 1) * share + phase)) > 0)


def _merged(blocks: NDArray[np.int64], owners: NDArray[np.int64], kept: NDArray[np.int64]) -> NDArray[np.int64]:
    """Neighbouring blocks of one segment joined: an edge less."""
    rows: list[list[int]] = []
    for place, k in enumerate(kept.tolist()):
        start, stop = blocks[k].tolist()
        follows = place > 0 and kept[place - 1] == k - 1 and owners[k - 1] == owners[k]
        if follows:
            rows[-1][1] = stop
        else:
            rows.append([start, stop])
    return np.array(rows, dtype=np.int64).reshape(-1, 2)
