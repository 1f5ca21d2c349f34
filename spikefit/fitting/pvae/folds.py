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
        """The counts themselves."""
        return Folds(*(take(counts, ranges) for ranges in (self.fit, self.choose, self.heldout)))


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
    block = max(shortest, round(n_bins * heldout / N_BLOCKS))
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
    lengths = np.diff(ranges, axis=1).ravel()
    index = np.concatenate([np.arange(start, stop) for start, stop in ranges.tolist()] or [np.empty(0, np.int64)])
    time_s = counts.time_s
    return Counts(
        counts=np.asfortranarray(counts.counts[index]),
        bin_width_s=counts.bin_width_s,
        segment_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        segment_start_s=time_s[ranges[:, 0]],
        unit_ids=counts.unit_ids,
    )


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
