"""Rates averaged over trials of one type: what was counted, what a latent model expects, and its latents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.intervals import EDGE_TOLERANCE_S, Intervals
from spikefit.spikes import Counts

Floats = NDArray[np.floating[Any]]

LEAST_TRIALS = 5  # of a type; fewer have no average worth showing
MOST_TYPES = 6
MOST_POINTS = 60  # of an average over time
ALIKE = 1.5  # intervals whose longest is longer than so many of their median are no trials


@dataclass(frozen=True, eq=False)
class Trials:
    """Where the trials of every type lie, all cut to one length.

    Attributes:
        first_bin: of each trial by type, in the bins of all sessions behind one another.
        n_bins: of every trial.
    """

    first_bin: Mapping[str, NDArray[np.int64]]
    n_bins: int


@dataclass(frozen=True, eq=False)
class TrialAverages:
    """Averages over trials; c types, p points in time.

    Attributes:
        n_trials: of every type.
        time_s: middle of each point from the start of the trial, (p,).
        counted_hz: what was counted, (c, p, unit).
        expected_hz: what the model expects, (c, p, unit).
        latent_hz: posterior rates of the latents, (c, p, latent).
    """

    n_trials: Mapping[str, int]
    time_s: Floats
    counted_hz: Floats
    expected_hz: Floats
    latent_hz: Floats


def trial_types(epochs: Mapping[str, Intervals]) -> dict[str, Intervals]:
    """The epochs that are trials, by type.

    Those named `trials/left`, say, are types; without such names `trials` is the only one, and without that every epoch of
    at least five intervals of about one length.
    """
    named = {name.removeprefix("trials/"): rows for name, rows in epochs.items() if name.startswith("trials/")}
    if named:
        return named
    if "trials" in epochs:
        return {"trials": epochs["trials"]}
    return {name: rows for name, rows in epochs.items() if len(rows) >= LEAST_TRIALS and _are_alike(rows)}


def find_trials(sessions: Sequence[Counts], epochs: Sequence[Mapping[str, Intervals]]) -> Trials | None:
    """Trials of several sessions in their bins; None where there are none.

    A trial counts where it was observed whole; all are as long as the shorter ones, their tenth percentile.

    Args:
        sessions: counts.
        epochs: named intervals of each.
    """
    types = [trial_types(each) for each in epochs]
    rows_of_all = [rows for each in types for rows in each.values() if len(rows)]
    if not rows_of_all:
        return None
    lengths = np.diff(np.concatenate(rows_of_all), axis=1).ravel()
    n_bins = int((np.quantile(lengths, 0.1, method="lower") + EDGE_TOLERANCE_S) / sessions[0].bin_width_s)
    if n_bins < 2:
        return None
    found: dict[str, list[NDArray[np.int64]]] = {}
    before = 0
    for counts, each in zip(sessions, types, strict=True):
        time_s = counts.time_s
        segment = np.repeat(np.arange(counts.n_segments), np.diff(counts.segment_offsets))
        for name, rows in each.items():
            first = np.searchsorted(time_s, rows[:, 0] - EDGE_TOLERANCE_S)
            first = first[first + n_bins <= counts.n_bins]
            whole = segment[first] == segment[first + n_bins - 1]
            # A trial that begins where nothing was observed finds a bin that is not its own.
            starts = rows[: len(first), 0]
            own = time_s[first] < starts + counts.bin_width_s - EDGE_TOLERANCE_S
            found.setdefault(name, []).append(before + first[whole & own])
        before += counts.n_bins
    joined = {name: np.concatenate(each) for name, each in found.items()}
    kept = sorted((n for n in joined if len(joined[n]) >= LEAST_TRIALS), key=lambda n: -len(joined[n]))[:MOST_TYPES]
    return Trials({name: joined[name] for name in sorted(kept)}, n_bins) if kept else None


def average_over_trials(
    trials: Trials,
    bin_width_s: float,
    pieces: Iterator[tuple[int, Floats, Floats, Floats]],
) -> TrialAverages:
    """Add up a recording piece by piece.

    Args:
        trials: where they lie.
        bin_width_s: of the bins.
        pieces: first bin, then counts, expected counts and latents of some bins, (bin, unit) or (bin, latent); together
            they hold every bin of a trial once.
    """
    step = -(-trials.n_bins // MOST_POINTS)
    n_points = trials.n_bins // step
    sums: list[list[Floats]] = []
    for first, *values in pieces:
        if not sums:
            sums = [[np.zeros((n_points, part.shape[1])) for part in values] for _ in trials.first_bin]
        for row, starts in zip(sums, trials.first_bin.values(), strict=True):
            bins = starts[:, None] + np.arange(n_points * step)
            here = (bins >= first) & (bins < first + len(values[0]))
            point = np.broadcast_to(np.arange(n_points * step) // step, bins.shape)[here]
            for total, part in zip(row, values, strict=True):
                np.add.at(total, point, part[bins[here] - first])
    n_trials = {name: len(starts) for name, starts in trials.first_bin.items()}
    scale = 1 / (np.array(list(n_trials.values())) * step * bin_width_s)
    counted, expected, latent = (np.stack([row[k] * by for row, by in zip(sums, scale, strict=True)]) for k in range(3))
    time_s = bin_width_s * step * (np.arange(n_points) + 0.5)
    return TrialAverages(n_trials, time_s, counted, expected, latent)


def _are_alike(rows: Intervals) -> bool:
    lengths = np.diff(rows, axis=1).ravel()
    return bool(lengths.max() <= ALIKE * np.median(lengths))
