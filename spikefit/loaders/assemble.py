"""From what a file says to a recording that can be trusted: seconds, observed intervals, checks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from spikefit.covariates import Covariates
from spikefit.errors import RecordingError, UsageError, did_you_mean
from spikefit.intervals import Intervals
from spikefit.loaders.checks import CheckLimits, check_numbers, check_whole_numbers, named
from spikefit.loaders.doubts import doubts_about
from spikefit.loaders.observed import settle_intervals
from spikefit.loaders.raw import RawRecording, SourceFile, in_seconds
from spikefit.spikes import SpikeTrains


def assemble(
    raw: RawRecording,
    path: SourceFile,
    limits: CheckLimits,
    *,
    time_unit: str | None = None,
    t_start_s: float | None = None,
    t_stop_s: float | None = None,
    clip: bool = False,
    drop_units: Iterable[str] = (),
    covariates: Covariates | None = None,
    observed: str = "per-unit",
) -> SpikeTrains:
    """Turn a raw recording into checked spike trains in seconds.

    Args:
        raw: what the file says; it is used up.
        path: the file.
        limits: thresholds of the checks.
        time_unit: the unit that the times are in, where the user knows better than the file.
        t_start_s: start of the recording in seconds, where the user knows better.
        t_stop_s: its end.
        clip: leave spikes outside the observed intervals out instead of refusing them.
        drop_units: ids of units to leave out before anything is checked.
        covariates: what else was measured; it is passed on as it is.
        observed: what to do where units were observed at different times, `per-unit` or `common`.

    Raises:
        RecordingError: if the times cannot be used as they are, or no unit has a spike.
        UsageError: for a time unit or a unit id that does not exist.
    """
    name = path.name
    if not raw.n_units:
        raise RecordingError(f"{name}: there are no units{_in(raw)}.", hint="was the file saved before sorting?")
    _drop(raw, name, [str(unit_id) for unit_id in drop_units])
    if not raw.times.size:
        raise RecordingError(
            f"{name}: all {raw.n_units} units{_in(raw)} are without spikes.",
            hint="was the file saved before sorting, or is another table meant (--units-table)?",
        )
    check_numbers(raw, name)
    _convert(raw, time_unit)
    warnings = list(raw.warnings)
    _clean_epochs(raw, warnings)
    rounding_s = _rounding_s(raw)
    if rounding_s > 1e-4:
        warnings.append(
            f"times are stored as {raw.stored_digits}: near the end of the recording they are rounded to {rounding_s * 1e3:.2g} ms."
        )
    # Times that are not seconds are found out before their intervals are judged: one fault, one message.
    if time_unit is None:
        check_whole_numbers(_whole(raw, path, None), limits, name)
    if raw.unit_intervals is None and t_start_s is None:
        warnings += _before_the_start(raw, limits.min_time_s)
    intervals_s, lost_s = settle_intervals(
        raw, name, t_start_s=t_start_s, t_stop_s=t_stop_s, clip=clip, warnings=warnings, observed=observed
    )
    if not raw.times.size:
        raise RecordingError(
            f"{name}: no spike lies inside the observed time.", hint="look at the times and the intervals in the file"
        )
    trains = dataclasses.replace(_whole(raw, path, intervals_s), lost_s=lost_s)
    warnings += _doubtful_epochs(trains)
    warnings += doubts_about(trains, limits, unit_was_given=time_unit is not None)
    return dataclasses.replace(trains, warnings=tuple(warnings), covariates={} if covariates is None else covariates)


def _whole(raw: RawRecording, path: SourceFile, intervals_s: Intervals | None) -> SpikeTrains:
    if intervals_s is None:
        intervals_s = np.array([[raw.times.min(), np.nextafter(raw.times.max(), np.inf)]])
    return SpikeTrains(
        spike_times_s=raw.times,
        offsets=raw.offsets,
        unit_ids=raw.unit_ids,
        intervals_s=intervals_s,
        unit_columns=raw.unit_columns,
        epochs=raw.epochs,
        name=path.stem if path.is_file() else path.name,
        source=str(path),
        format=raw.format,
        session=raw.session,
    )


def _drop(raw: RawRecording, name: str, drop_units: list[str]) -> None:
    if not drop_units:
        return
    for unit_id in drop_units:
        if unit_id not in raw.unit_ids:
            raise UsageError(
                f"{name}: there is no unit {unit_id!r} to leave out.", hint=did_you_mean(unit_id, raw.unit_ids)
            )
    dropped = set(drop_units)
    kept = [row for row, unit_id in enumerate(raw.unit_ids) if unit_id not in dropped]
    if not kept:
        raise UsageError(f"{name}: all {raw.n_units} units were left out.", hint="keep at least two")
    pieces = [raw.times[raw.offsets[row] : raw.offsets[row + 1]] for row in kept]
    if raw.unit_intervals is not None and len(raw.unit_intervals) > 1:
        raw.unit_intervals = [raw.unit_intervals[row] for row in kept]
    raw.times = np.concatenate(pieces)
    raw.offsets = np.concatenate([[0], np.cumsum([p.size for p in pieces])]).astype(np.int64)
    raw.unit_ids = tuple(raw.unit_ids[row] for row in kept)
    raw.unit_columns = {key: column[kept] for key, column in raw.unit_columns.items()}


def _convert(raw: RawRecording, time_unit: str | None) -> None:
    """Times in seconds. The user's unit is meant for the spikes; intervals that then fit as they stand are left alone."""
    unit = time_unit if time_unit is not None else raw.time_unit or "s"
    last = float(raw.times.max())
    raw.times = in_seconds(raw.times, unit)
    last_s = float(raw.times.max())

    def converted(rows: Intervals) -> Intervals:
        # Files whose spike times are in milliseconds against the rules often keep the rules for their intervals.
        ends = rows[np.isfinite(rows)]
        in_seconds_already = time_unit is not None and ends.size and _nearer(float(ends.max()), last_s, last)
        return rows if in_seconds_already or not len(rows) else in_seconds(rows, unit)

    if raw.unit_intervals is not None:
        raw.unit_intervals = [converted(rows) for rows in raw.unit_intervals]
    raw.invalid_intervals = converted(raw.invalid_intervals)
    raw.epochs = {key: converted(rows) for key, rows in raw.epochs.items()}


def _clean_epochs(raw: RawRecording, warnings: list[str]) -> None:
    n_bad = 0
    for key, rows in list(raw.epochs.items()):
        good = np.isfinite(rows).all(axis=1) & (rows[:, 1] > rows[:, 0]) if len(rows) else np.empty(0, dtype=bool)
        n_bad += int(np.count_nonzero(~good))
        if good.any():
            raw.epochs[key] = rows[good]
        else:
            del raw.epochs[key]
    if n_bad:
        warnings.append(f"{n_bad} epochs or trials do not run forward in time and were left out.")


def _nearer(value: float, first: float, second: float) -> bool:
    """Whether `value` is nearer to `first` than to `second` as a ratio."""
    size, a, b = (abs(v) + 1e-12 for v in (value, first, second))
    return bool(abs(np.log(size / a)) < abs(np.log(size / b)))


def _rounding_s(raw: RawRecording) -> float:
    """How coarsely the largest time was stored, in seconds."""
    if raw.stored_digits is None:
        return 0.0
    largest = float(np.abs(raw.times).max())
    return float(largest * np.finfo(np.dtype(raw.stored_digits)).eps)


def _doubtful_epochs(trains: SpikeTrains) -> list[str]:
    outside = [
        key
        for key, rows in trains.epochs.items()
        if len(rows) and (rows[:, 1].max() <= trains.t_start_s or rows[:, 0].min() >= trains.t_stop_s)
    ]
    if not outside:
        return []
    shown = ", ".join(repr(key) for key in outside[:5])
    return [
        f"{'epochs' if len(outside) > 1 else 'the epoch'} {shown} {'lie' if len(outside) > 1 else 'lies'} wholly outside the "
        f"recording ({trains.t_start_s:.6g} s to {trains.t_stop_s:.6g} s)."
    ]


def _before_the_start(raw: RawRecording, start_s: float) -> list[str]:
    early = [
        (row, int(np.count_nonzero(train < start_s)), float(train[0]))
        for row, (a, b) in enumerate(itertools.pairwise(raw.offsets.tolist()))
        if (train := raw.times[a:b]).size and train[0] < start_s
    ]
    if not early:
        return []
    return [
        f"{sum(n for _, n, _ in early)} spikes of {named(raw.unit_ids, [row for row, _, _ in early])} lie before {start_s:g} s "
        f"(the first at {min(first for *_, first in early):.6g} s): if the recording started at {start_s:g} s, pass "
        f"--t-start {start_s:g} --clip."
    ]


def _in(raw: RawRecording) -> str:
    return f" in {raw.where}" if raw.where else ""
