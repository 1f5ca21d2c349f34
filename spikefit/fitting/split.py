"""Which bins train the model, which judge it, and which are only looked at.

Time is cut into cells; every so many cells one is held out. Training bins within one history window of a held-out cell
are purged: their history, or the posterior that looks ahead from them, would see the bins that judge. The first
`n_lags` bins of every segment have no whole history and are never scored, so history never crosses a gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError, UsageError

N_HELDOUT_CELLS = 20  # enough blocks for a standard error, few enough that purging costs little
SHORTEST_CELL_IN_WINDOWS = 10
FEWEST_CELLS = 4
MOST_HELDOUT = 0.5


@dataclass(frozen=True, eq=False)
class Split:
    """Scored bins as `[start, stop)` ranges into the binned recording, each inside one segment; shape (n, 2).

    Attributes:
        train: bins that train the model.
        heldout: bins that judge it.
        everything: all bins with a whole history, purged ones included.
    """

    train: NDArray[np.int64]
    heldout: NDArray[np.int64]
    everything: NDArray[np.int64]

    @property
    def n_train(self) -> int:
        return int(np.diff(self.train, axis=1).sum())

    @property
    def n_heldout(self) -> int:
        return int(np.diff(self.heldout, axis=1).sum())


def split_bins(
    segment_offsets: NDArray[np.int64], *, n_lags: int, heldout: float, seed: int, bin_width_s: float | None = None
) -> Split:
    """Choose the held-out cells.

    Args:
        segment_offsets: first bin of each segment and the end of the last; shape (n_segments + 1,).
        n_lags: length of the history window in bins.
        heldout: share of the scored bins to hold out, between 0 and 0.5; with 0 nothing is held out.
        seed: places the first held-out cell.
        bin_width_s: for messages; without it they are in bins alone.

    Raises:
        UsageError: if no segment is longer than the window, or too little is left to hold something out.
        RecordingError: if that would be so with the shortest window, too.
    """
    usable = np.stack([segment_offsets[:-1] + n_lags, segment_offsets[1:]], axis=1)
    usable = usable[usable[:, 1] > usable[:, 0]]
    n_usable = int(np.diff(usable, axis=1).sum())
    longest = int(np.diff(segment_offsets).max(initial=0))
    n_bins = int(segment_offsets[-1] - segment_offsets[0])
    if heldout > 0 and n_bins <= FEWEST_CELLS * SHORTEST_CELL_IN_WINDOWS:
        raise RecordingError(
            f"the recording has {n_bins} bins, too few to train a fit and to judge it even with a history window of a single bin: nothing can be said of it.",
            hint="take more of the recording, or narrower bins (--bin)",
        )
    if not n_usable:
        raise UsageError(
            f"no stretch of the recording is longer than the history window ({longest} bins against {n_lags}"
            f"{_in_seconds(longest, n_lags, bin_width_s=bin_width_s)}).",
            hint="pass a shorter --window (a bare number is seconds: 100ms, not 100), or choose longer epochs or trials",
        )
    if heldout == 0:
        return Split(usable, np.empty((0, 2), dtype=np.int64), usable)
    cell = max(SHORTEST_CELL_IN_WINDOWS * n_lags, round(n_usable * heldout / N_HELDOUT_CELLS))
    cells, owners = _cut(usable, cell)
    phase = np.random.default_rng([seed, 3]).random()
    steps = np.floor(np.arange(len(cells) + 1) * heldout + phase)
    is_heldout = np.diff(steps) > 0
    if is_heldout.sum() < 2 or (~is_heldout).sum() < 2:
        # As many blocks as hold out two whatever the seed; each is ten windows long, and the first window is history alone.
        fits = n_bins // (SHORTEST_CELL_IN_WINDOWS * math.ceil(2 / heldout) + 1)
        ways = [f"pass a --window of {fits} bins at most"] if fits else []
        ways += [f"hold out a larger share (--heldout {MOST_HELDOUT})"] if len(cells) >= FEWEST_CELLS else []
        raise UsageError(
            f"the recording is too short to hold out {heldout:.0%} of it: {n_usable} bins make {len(cells)} block{'' if len(cells) == 1 else 's'} of "
            f"{cell} bins (ten windows{_in_seconds(n_usable, cell, bin_width_s=bin_width_s)}), and at least two must train and two must judge.",
            hint=", or ".join(("take more of the recording", *ways)),
        )
    train: list[list[int]] = []
    for k in np.flatnonzero(~is_heldout):
        start, stop = cells[k]
        if k > 0 and is_heldout[k - 1] and owners[k - 1] == owners[k]:
            start += n_lags
        if k + 1 < len(cells) and is_heldout[k + 1] and owners[k + 1] == owners[k]:
            stop -= n_lags
        if stop > start:
            if train and train[-1][1] == start and owners[k - 1] == owners[k]:
                train[-1][1] = stop
            else:
                train.append([start, stop])
    return Split(np.array(train, dtype=np.int64), cells[is_heldout], usable)


def _in_seconds(*n_bins: int, bin_width_s: float | None) -> str:
    """The same numbers of bins in seconds, where the bin width is known."""
    if bin_width_s is None:
        return ""
    return "; " + " and ".join(f"{bin_width_s * n:.4g} s" for n in n_bins)


def only_where(split: Split, known: NDArray[np.bool_]) -> Split:
    """The same split without the bins in which something that the fit needs is not known.

    Args:
        split: of the whole recording.
        known: which of its bins may be scored; (bin,).

    Raises:
        UsageError: if too little is left to train on or to judge.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.view(np.int8), [0]])))
    inside = np.stack([edges[::2], edges[1::2]], axis=1).astype(np.int64)
    out = Split(*(_intersection(ranges, inside) for ranges in (split.train, split.heldout, split.everything)))
    if not out.n_train or (split.n_heldout and not out.n_heldout):
        raise UsageError(
            f"the covariates are known in only {int(known.sum())} of {known.size} bins, too few to train on and to judge.",
            hint="leave the covariate out, or choose a part of the recording that it covers",
        )
    return out


def _intersection(ranges: NDArray[np.int64], inside: NDArray[np.int64]) -> NDArray[np.int64]:
    """What two ordered lists of `[start, stop)` have in common; edges of both are kept."""
    rows = []
    for start, stop in ranges.tolist():
        first = int(np.searchsorted(inside[:, 1], start, side="right"))
        for a, b in inside[first:].tolist():
            if a >= stop:
                break
            rows.append([max(a, start), min(b, stop)])
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def _cut(usable: NDArray[np.int64], cell: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut each range into about equal cells near the wanted length; also say which range each came from."""
    cells, owners = [], []
    for owner, (start, stop) in enumerate(usable):
        n_cells = max(1, round((stop - start) / cell))
        edges = np.linspace(start, stop, n_cells + 1).round().astype(np.int64)
        cells.append(np.stack([edges[:-1], edges[1:]], axis=1))
        owners.append(np.full(n_cells, owner))
    return np.concatenate(cells), np.concatenate(owners)
