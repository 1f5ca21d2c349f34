"""Spikes that were stored as counts per bin, put back in time.

Where in its bin a spike stood is lost, so the spikes of a bin are spread evenly over it: binning the recording again at the
same width, or a multiple of it, gives back the same counts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.raw import RawRecording, SourceFile, from_trains
from spikefit.units_of_time import format_time

# Names of attributes that say how wide the bins are, with their unit in seconds.
BIN_WIDTHS = {
    "bin_width_s": 1.0, "bin_size_s": 1.0, "dt_s": 1.0, "bin_width": 1.0, "bin_size": 1.0, "binsize": 1.0, "binwidth": 1.0,
    "dt": 1.0, "bin_width_ms": 1e-3, "bin_size_ms": 1e-3, "dt_ms": 1e-3,
}  # fmt: skip


def from_counts(
    counts: NDArray[Any],
    bin_width_s: float | None,
    path: SourceFile,
    where: str,
    *,
    format_name: str,
    unit_ids: Sequence[str] | None = None,
    t_start_s: float = 0.0,
) -> RawRecording:
    """A recording from a matrix of counts.

    Args:
        counts: whole numbers, shape (n_bins, n_units) or (n_trials, n_bins, n_units). If the units are named, the axis that has
            as many entries as there are names is that of the units.
        bin_width_s: bin width in seconds, if the file states it.
        path: the file.
        where: the place in it, for messages.
        format_name: the name of the format.
        unit_ids: names of the units.
        t_start_s: start of the first bin. Trials follow each other without a gap and are kept apart.

    Raises:
        RecordingError: if there is no bin width, or these are no counts.
    """
    file = path.name
    if bin_width_s is None or not (math.isfinite(bin_width_s) and bin_width_s > 0):
        found = "no bin width" if bin_width_s is None else f"a bin width of {bin_width_s!r}"
        raise RecordingError(
            f"{file}: {where} holds counts but {found}.",
            hint="state the width in seconds beside the counts as `bin_width_s`",
        )
    table = _units_last(np.asarray(counts), unit_ids)
    if table.size and not (np.isfinite(table).all() and np.array_equal(table, np.rint(table)) and table.min() >= 0):
        raise RecordingError(
            f"{file}: {where} holds fractions or numbers below zero, expected counts of spikes.",
            hint="are these rates? spike times or counts are needed",
        )
    n_trials, n_bins, n_units = table.shape
    length_s = n_bins * bin_width_s
    trains = []
    for unit in range(n_units):
        flat = table[:, :, unit].reshape(-1).astype(np.int64)
        full = np.flatnonzero(flat)
        sizes = flat[full]
        rank = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        within = (rank + 0.5) / np.repeat(sizes, sizes)
        trains.append(t_start_s + (np.repeat(full, sizes) + within) * bin_width_s)
    edges = t_start_s + length_s * np.arange(n_trials + 1)
    intervals = np.stack([edges[:-1], edges[1:]], axis=1)
    width = format_time(bin_width_s)
    return from_trains(
        trains,
        tuple(unit_ids) if unit_ids is not None else tuple(str(k) for k in range(n_units)),
        format=format_name,
        where=where,
        time_unit="s",
        unit_intervals=[intervals] if n_bins else None,
        epochs={"trials": intervals} if n_trials > 1 and n_bins else {},
        warnings=[f"spikes were stored as counts in bins of {width}: use --bin {width} or a multiple of it."],
    )


def from_triplets(
    bins: NDArray[Any],
    units: NDArray[Any],
    counts: NDArray[Any],
    bin_width_s: float | None,
    path: SourceFile,
    where: str,
    *,
    format_name: str,
    unit_ids: Sequence[str] | None = None,
) -> RawRecording:
    """A recording from the non-empty bins alone: (bin, unit, count), each of shape (n,).

    Raises:
        RecordingError: as `from_counts`, and if the three do not fit together.
    """
    file = path.name
    if not bins.shape == units.shape == counts.shape:
        raise RecordingError(
            f"{file}: {where} has {bins.size} bins, {units.size} units and {counts.size} counts, expected as many of each.",
            hint="write the three columns again from the same table",
        )
    for values in (bins, units, counts):
        if values.dtype.kind not in "iu" or (values.size and int(values.min()) < 0):
            raise RecordingError(
                f"{file}: {where} must hold whole numbers from 0 up.",
                hint="count bins and units from 0, and write whole numbers",
            )
    n_units = len(unit_ids) if unit_ids is not None else int(units.max()) + 1 if units.size else 0
    if bin_width_s is None or not (math.isfinite(bin_width_s) and bin_width_s > 0):
        raise RecordingError(
            f"{file}: {where} holds counts but no bin width.",
            hint="state the width in seconds beside the counts as `bin_width_s`",
        )
    if units.size and int(units.max()) >= min(n_units, 1_000_000):
        raise RecordingError(
            f"{file}: {where} counts unit {int(units.max())}, but there are {n_units} units.", hint="count units from 0"
        )
    total = float(counts.sum(dtype=np.float64))
    if total > 1e10:
        raise RecordingError(
            f"{file}: {where} counts {total:.3g} spikes, more than any recording holds.", hint="is it damaged?"
        )
    order = np.lexsort((bins, units))
    bins, units, counts = (values.astype(np.int64)[order] for values in (bins, units, counts))
    owner = np.repeat(units, counts)
    rank = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    times = (np.repeat(bins, counts) + (rank + 0.5) / np.repeat(counts, counts)) * bin_width_s
    edges = np.searchsorted(owner, np.arange(n_units + 1))
    width = format_time(bin_width_s)
    return from_trains(
        [times[a:b] for a, b in itertools.pairwise(edges.tolist())],
        tuple(unit_ids) if unit_ids is not None else tuple(str(k) for k in range(n_units)),
        format=format_name,
        where=where,
        time_unit="s",
        # The last bins may all have been empty, and then nothing says so: the end is that of the last full one.
        unit_intervals=[np.array([[0.0, (int(bins.max()) + 1) * bin_width_s]])] if bins.size else None,
        warnings=[f"spikes were stored as counts in bins of {width}: use --bin {width} or a multiple of it."],
    )


def _units_last(counts: NDArray[Any], unit_ids: Sequence[str] | None) -> NDArray[Any]:
    """Counts as (trial, bin, unit)."""
    table = counts[None] if counts.ndim == 2 else counts
    if unit_ids is not None and table.shape[2] != len(unit_ids) and table.shape[1] == len(unit_ids):
        table = table.swapaxes(1, 2)
    return table
