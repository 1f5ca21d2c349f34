"""Spikes moved in time: what a recording would look like if one unit's timing meant nothing to the others.

* `jitter`: every spike anywhere in its own cell of time, cells being `CELL_WINDOWS` history windows long. Counts per cell stay, so
  whatever changes more slowly than a cell stays, shared rhythms included.
* `shift`: a unit's whole train turned round in time, by at least one window. Its own structure stays; everything that it
  shares with others goes, the slow with the fast.
* `trials`: a unit's trials in another order. What is locked to the trial stays; what differs from trial to trial goes.

Sources: Amarasingham, Harrison, Hatsopoulos and Geman, "Conditional modeling and the jitter method of spike resampling" (J
Neurophysiol 2012), for the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError

Counts = NDArray[np.integer[Any]]


KINDS = ("jitter", "shift", "trials")
CELL_WINDOWS = (
    2  # in cells of one window a moved spike often still lies behind the sender's, and edges look like chance
)
BURST_SHARE = 0.9  # of a unit's spikes in so small a part of the recording are one burst: there is one timing to move
BURST_PART = 0.05
FEWEST_TRIALS = 5  # fewer have too few orders to draw from
FEWEST_SPIKES = 10  # a unit with fewer has no burst to speak of


@dataclass(frozen=True, eq=False)
class Move:
    """What makes moved spikes, every unit by itself; each call draws anew.

    Attributes:
        unit: of every spike, a bin with two named twice; they never change.
        n_units, n_bins: of the recording.
        bins: draws a new bin for every spike.
    """

    unit: NDArray[np.int64]
    n_units: int
    n_bins: int
    bins: Callable[[np.random.Generator], NDArray[np.int64]]

    def __call__(self, rng: np.random.Generator) -> Counts:
        """Moved counts, (unit, bin)."""
        to = self.unit * self.n_bins + self.bins(rng)
        return np.bincount(to, minlength=self.n_units * self.n_bins).reshape(self.n_units, self.n_bins)


def mover(
    kind: str, counts: Counts, segment_offsets: NDArray[np.int64], *, n_lags: int, unit_ids: tuple[str, ...]
) -> Move:
    """What moves spikes in one of the ways.

    Args:
        kind: one of `KINDS`.
        counts: (unit, bin).
        segment_offsets: first bin of each segment and the end of the last.
        n_lags: history window in bins.
        unit_ids: to be named in refusals.

    Raises:
        UsageError: if moving spikes in that way could not break their timing.
    """
    if kind == "trials":
        return _trials(counts, segment_offsets)
    _refuse_bursts(kind, counts, n_lags, unit_ids)
    return _jitter(counts, segment_offsets, n_lags) if kind == "jitter" else _shift(counts, n_lags)


def _refuse_bursts(kind: str, counts: Counts, n_lags: int, unit_ids: tuple[str, ...]) -> None:
    n_bins = counts.shape[1]
    stretch = max(n_lags, round(BURST_PART * n_bins))
    running = np.zeros((len(counts), n_bins + 1), dtype=np.int64)
    np.cumsum(counts, axis=1, out=running[:, 1:])
    total = running[:, -1]
    busiest = (running[:, min(stretch, n_bins) :] - running[:, : n_bins + 1 - min(stretch, n_bins)]).max(axis=1)
    bad = np.flatnonzero((total >= FEWEST_SPIKES) & (busiest >= BURST_SHARE * total))
    if bad.size:
        unit = int(bad[0])
        more = f" (and {bad.size - 1} more units)" if bad.size > 1 else ""
        raise UsageError(
            f"--significance {kind}: {busiest[unit] / total[unit]:.0%} of the spikes of unit {unit_ids[unit]!r}{more} lie in one stretch of "
            f"{stretch / n_bins:.0%} of the recording. One long burst has one timing: moving its spikes cannot show what chance would make of it.",
            hint="leave such units out with --units, choose another part of the recording, or take --significance null",
        )


def _jitter(counts: Counts, segment_offsets: NDArray[np.int64], n_lags: int) -> Move:
    cell = CELL_WINDOWS * n_lags
    longest = int(np.diff(segment_offsets).max(initial=0))
    if longest < cell:
        raise UsageError(
            f"--significance jitter: spikes move inside cells of {CELL_WINDOWS} history windows ({cell} bins), and the longest stretch of the recording "
            f"has {longest} bins.",
            hint="pass a shorter --window, or choose longer stretches",
        )
    # Cells are counted from the start of every segment; the last of a segment may be short.
    n_bins = counts.shape[1]
    start = np.repeat(segment_offsets[:-1], np.diff(segment_offsets))
    stop = np.repeat(segment_offsets[1:], np.diff(segment_offsets))
    bin_ = np.arange(n_bins)
    first = start + (bin_ - start) // cell * cell
    length = np.minimum(first + cell, stop) - first
    unit, at = _spikes(counts)
    first, length = first[at], length[at]

    def bins(rng: np.random.Generator) -> NDArray[np.int64]:
        return first + (rng.random(unit.size, dtype=np.float32) * length).astype(np.int64)

    return Move(unit, len(counts), counts.shape[1], bins)


def _shift(counts: Counts, n_lags: int) -> Move:
    n_bins = counts.shape[1]
    if n_bins < 3 * n_lags:
        raise UsageError(
            f"--significance shift: a train must move by at least the history window ({n_lags} bins), and the recording "
            f"({n_bins} bins) leaves {max(0, n_bins - 2 * n_lags)} places to move it to, fewer than the window is long.",
            hint="pass a shorter --window or a longer recording",
        )

    unit, at = _spikes(counts)

    def bins(rng: np.random.Generator) -> NDArray[np.int64]:
        to = at + rng.integers(n_lags, n_bins - n_lags + 1, len(counts))[unit]
        return np.where(to < n_bins, to, to - n_bins)

    return Move(unit, len(counts), counts.shape[1], bins)


def _trials(counts: Counts, segment_offsets: NDArray[np.int64]) -> Move:
    lengths = np.diff(segment_offsets)
    if len(lengths) < FEWEST_TRIALS:
        found = "is one stretch of time" if len(lengths) == 1 else f"are {len(lengths)} stretches of time"
        raise UsageError(
            f"--significance trials: there {found}, and fewer than {FEWEST_TRIALS} trials have too few orders to "
            "compare with.",
            hint="name the trials with --epochs (`spikefit inspect` lists the epochs), or take --significance jitter",
        )
    if lengths.max() - lengths.min() > 1:  # one bin more or less is rounding
        raise UsageError(
            f"--significance trials: trials are from {lengths.min()} to {lengths.max()} bins long; only trials of one length "
            "can change places.",
            hint="choose equal intervals with --interval, or take --significance jitter",
        )
    common = int(lengths.min())
    unit, at = _spikes(counts)
    trial = np.searchsorted(segment_offsets, at, side="right") - 1
    inside = at - segment_offsets[trial]
    moves = inside < common  # a bin more than the shortest trial has stays

    def bins(rng: np.random.Generator) -> NDArray[np.int64]:
        # Trial `order[unit, j]` takes the place of trial j, so that spikes go where their own trial's number stands.
        order = np.stack([rng.permutation(len(lengths)) for _ in range(len(counts))])
        to = segment_offsets[np.argsort(order, axis=1)[unit, trial]] + inside
        return np.where(moves, to, at)

    return Move(unit, len(counts), counts.shape[1], bins)


def _spikes(counts: Counts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Unit and bin of every spike, a bin with two named twice."""
    unit, bin_ = np.nonzero(counts)
    n = counts[unit, bin_]
    return np.repeat(unit, n), np.repeat(bin_, n)
