"""When was the recording on? Observed intervals from what the file says, what the user says, and the spikes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError, UsageError
from spikefit.intervals import EDGE_TOLERANCE_S, Intervals, intersection_of, union_of, without
from spikefit.loaders.checks import named
from spikefit.loaders.raw import RawRecording
from spikefit.spikes.sorted_times import take_stretches


def settle_intervals(
    raw: RawRecording,
    name: str,
    *,
    t_start_s: float | None,
    t_stop_s: float | None,
    clip: bool,
    warnings: list[str],
    observed: str = "common",
) -> tuple[Intervals, dict[str, Intervals]]:
    """When the recording was on, in seconds, and when single units were lost in it; spikes outside leave `raw`.

    What the file says of each unit is taken as it is where all units agree. Where they do not, the recording was on
    whenever one of them was observed and the others are lost there (`per-unit`), or only the time common to all is kept
    (`common`). Where the file says nothing, the recording runs from the first spike to just behind the last. `t_start_s` and `t_stop_s`
    overrule either end. Invalid times are cut out last.

    Args:
        raw: the recording in seconds, times sorted; its spikes are replaced where some must go.
        name: what to call the recording in messages.
        t_start_s: start of the recording, where the user knows better.
        t_stop_s: its end.
        clip: leave spikes outside the intervals out instead of refusing them.
        warnings: what was lost or guessed is appended here.
        observed: `per-unit` or `common`.

    Returns:
        The intervals of the recording, and by unit what is lost of them.

    Raises:
        RecordingError: if spikes lie outside the intervals and `clip` is not set, or no time is left.
        UsageError: if `t_stop_s` does not lie behind `t_start_s`.
    """
    if t_start_s is not None and t_stop_s is not None and not t_start_s < t_stop_s:
        raise UsageError(
            f"the recording cannot stop at {t_stop_s:g} s when it starts at {t_start_s:g} s.",
            hint="pass --t-start and --t-stop in seconds, the later one as --t-stop",
        )
    stated = _stated_by_unit(raw, name, warnings)
    if stated is None:
        common = _inferred(raw, t_start_s, t_stop_s, warnings)
        by_unit = [common]
    else:
        by_unit = [_stretched(rows, t_start_s, t_stop_s) for rows in stated]
        if not (any if observed == "per-unit" else all)(len(rows) for rows in by_unit):
            every = union_of(np.concatenate(_distinct(stated)))
            raise UsageError(
                f"{name}: nothing was observed after --t-start and before --t-stop "
                f"(the file says {every[0, 0]:.6g} s to {every[-1, 1]:.6g} s).",
                hint="pass times inside the recording, or leave them out",
            )
        if observed == "per-unit" and len(_distinct(by_unit)) > 1:
            common = union_of(np.concatenate(_distinct(by_unit)))
        else:
            common = by_unit[0]
            for rows in _distinct(by_unit)[1:]:
                common = intersection_of(common, rows)
    _refuse_spikes_outside(raw, name, by_unit, clip=clip, warnings=warnings)
    differ = len(_distinct(by_unit)) > 1
    if differ and observed != "per-unit":
        _tell_what_is_lost(raw, name, by_unit, common, warnings)
    if len(raw.invalid_intervals):
        valid = without(common, union_of(raw.invalid_intervals))
        lost_s = _length(common) - _length(valid)
        if lost_s > 0:
            warnings.append(
                f"{lost_s:.6g} s are marked invalid in the file ({len(raw.invalid_intervals)} intervals) and were left out."
            )
        common = valid
    if not len(common):
        raise RecordingError(
            f"{name}: no observed time is left.",
            hint="look at the observed intervals and the invalid times in the file, or pass --t-start and --t-stop",
        )
    if not differ or observed != "per-unit":
        _keep_inside(raw, [common])
        return common, {}
    kept = [intersection_of(common, rows) for rows in by_unit]
    _keep_inside(raw, kept)
    lost = {unit_id: without(common, rows) for unit_id, rows in zip(raw.unit_ids, kept, strict=True)}
    lost = {unit_id: rows for unit_id, rows in lost.items() if len(rows)}
    _tell_who_is_lost(raw, common, lost, warnings)
    return common, lost


def _stated_by_unit(raw: RawRecording, name: str, warnings: list[str]) -> list[Intervals] | None:
    """Clean intervals, one set for each unit or one for all; None where the file says nothing usable."""
    if raw.unit_intervals is None:
        return None
    first, last = _span(raw)
    cleaned: list[Intervals | None] = []
    n_bad = 0
    seen: dict[bytes, Intervals] = {}
    for rows in raw.unit_intervals:
        key = rows.tobytes()
        if key not in seen:
            # An end that was never filled in is written as infinity; the spikes then tell as much as anything can.
            ends = np.where(np.isneginf(rows), first, np.where(np.isposinf(rows), last, rows)).reshape(-1, 2)
            good = ends[np.isfinite(ends).all(axis=1) & (ends[:, 1] > ends[:, 0])] if len(ends) else ends
            n_bad += len(ends) - len(good)
            seen[key] = union_of(good)
        cleaned.append(seen[key] if len(seen[key]) else None)
    if n_bad:
        warnings.append(f"{n_bad} observed intervals do not run forward in time and were left out.")
    missing = [row for row, rows in enumerate(cleaned) if rows is None]
    present = [rows for rows in cleaned if rows is not None]
    if not present:
        return None
    if missing and len(cleaned) > 1:
        warnings.append(
            f"{len(missing)} of {len(cleaned)} units have no observed intervals ({named(raw.unit_ids, missing)}); "
            "they are taken to have been observed whenever all others were."
        )
    if len(cleaned) == 1:
        return present
    everywhere = union_of(np.concatenate(_distinct(present)))
    return [everywhere if rows is None else rows for rows in cleaned]


def _inferred(raw: RawRecording, t_start_s: float | None, t_stop_s: float | None, warnings: list[str]) -> Intervals:
    first, last = _span(raw)
    start = first if t_start_s is None else t_start_s
    stop = last if t_stop_s is None else t_stop_s
    if not start < stop:
        raise UsageError(
            f"the recording cannot start at {start:g} s and stop at {stop:g} s (its spikes run from {first:g} s to {last:g} s).",
            hint="pass --t-start and --t-stop in seconds",
        )
    if t_start_s is None or t_stop_s is None:
        ends = "start and end are" if t_start_s is t_stop_s is None else "start is" if t_start_s is None else "end is"
        known = " and ".join(
            flag for flag, given in (("--t-start", t_start_s), ("--t-stop", t_stop_s)) if given is None
        )
        warnings.append(
            f"the file does not say when the recording was on: its {ends} taken from the spikes "
            f"({start:.6g} s to {stop:.6g} s); pass {known} if you know better."
        )
    return np.array([[start, stop]])


def _span(raw: RawRecording) -> tuple[float, float]:
    """The first spike, and just behind the last one."""
    if not raw.times.size:
        return 0.0, 0.0
    return float(raw.times.min()), float(np.nextafter(raw.times.max(), np.inf))


def _stretched(rows: Intervals, t_start_s: float | None, t_stop_s: float | None) -> Intervals:
    start = -np.inf if t_start_s is None else t_start_s
    stop = np.inf if t_stop_s is None else t_stop_s
    ends = rows[(rows[:, 1] > start) & (rows[:, 0] < stop)].copy()
    if not len(ends):
        return np.array([[start, stop]]) if t_start_s is not None and t_stop_s is not None else ends
    if t_start_s is not None:
        ends[0, 0] = t_start_s
    if t_stop_s is not None:
        ends[-1, 1] = t_stop_s
    return ends


def _distinct(by_unit: Sequence[Intervals]) -> list[Intervals]:
    return list({rows.tobytes(): rows for rows in by_unit}.values())


def _slices(train: NDArray[np.float64], intervals_s: Intervals) -> NDArray[np.int64]:
    """Where in a sorted train each interval begins and ends, a spike on the very end of an interval counted in."""
    starts = np.searchsorted(train, intervals_s[:, 0] - EDGE_TOLERANCE_S, side="left")
    stops = np.searchsorted(train, intervals_s[:, 1] + EDGE_TOLERANCE_S, side="right")
    # Between intervals that touch, the spike on the edge belongs to the later one.
    starts[1:] = np.maximum(starts[1:], np.searchsorted(train, intervals_s[1:, 0], side="left"))
    stops[:-1] = np.minimum(stops[:-1], starts[1:])
    return np.stack([starts, np.maximum(starts, stops)], axis=1)


def _refuse_spikes_outside(
    raw: RawRecording, name: str, by_unit: list[Intervals], *, clip: bool, warnings: list[str]
) -> None:
    offenders: list[int] = []
    n_outside = 0
    first_s: float | None = None
    for row in range(raw.n_units):
        train = raw.times[raw.offsets[row] : raw.offsets[row + 1]]
        slices = _slices(train, by_unit[row if len(by_unit) > 1 else 0])
        outside = train.size - int(np.diff(slices, axis=1).sum())
        if not outside:
            continue
        if first_s is None:
            inside = np.zeros(train.size, dtype=bool)
            for a, b in slices:
                inside[a:b] = True
            first_s = float(train[~inside][0])
        offenders.append(row)
        n_outside += outside
    if not offenders:
        return
    every = union_of(np.concatenate(_distinct(by_unit)))
    told = (
        f"{n_outside} spikes of {len(offenders)} of {raw.n_units} units lie outside the observed time "
        f"({every[0, 0]:.6g} s to {every[-1, 1]:.6g} s"
        + (f", in {len(every)} intervals" if len(every) > 1 else "")
        + f"; the first at {first_s:.6g} s in unit {raw.unit_ids[offenders[0]]!r})"
    )
    if clip:
        warnings.append(f"{told}; they were left out.")
        return
    if n_outside == raw.times.size:
        raise RecordingError(
            f"{name}: {told}: no spike lies inside, so spikes and intervals do not count from the same moment, or not in the same unit.",
            hint="look at both in the file; pass --t-start and --t-stop if only the intervals are wrong",
        )
    early, late = _span(raw)
    ways = []
    if early < every[0, 0] - EDGE_TOLERANCE_S:
        ways.append(f"--t-start {_round_down(early)}")
    if late > every[-1, 1] + EDGE_TOLERANCE_S:
        ways.append(f"--t-stop {_round_up(late)}")
    extend = f"pass {' '.join(ways)} to extend the recording, or " if ways else "pass "
    raise RecordingError(f"{name}: {told}.", hint=f"{extend}--clip to leave those spikes out")


def _tell_what_is_lost(
    raw: RawRecording, name: str, by_unit: list[Intervals], common: Intervals, warnings: list[str]
) -> None:
    lengths = np.array([_length(rows) for rows in by_unit])
    longest = union_of(np.concatenate(_distinct(by_unit)))
    shortest = int(np.argmin(lengths))
    if not len(common):
        raise RecordingError(
            f"{name}: the units have no observed time in common (unit {raw.unit_ids[shortest]!r} was observed for "
            f"{lengths[shortest]:.6g} s of {_length(longest):.6g} s).",
            hint=f"leave the units out that were observed at other times, say with --drop-unit {raw.unit_ids[shortest]}",
        )
    lost_s = _length(longest) - _length(common)
    n_lost = raw.times.size - sum(
        int(np.diff(_slices(raw.times[a:b], common), axis=1).sum())
        for a, b in zip(raw.offsets[:-1], raw.offsets[1:], strict=True)
    )
    warnings.append(
        f"units were observed at different times: only the {_length(common):.6g} s common to all are used, {lost_s:.6g} s "
        f"({100 * lost_s / _length(longest):.2g} %) and {n_lost} spikes are left out. The shortest is {raw.unit_ids[shortest]!r} "
        f"({lengths[shortest]:.6g} s)."
    )


def _tell_who_is_lost(raw: RawRecording, whole: Intervals, lost: dict[str, Intervals], warnings: list[str]) -> None:
    if not lost:
        return
    shares = {unit_id: _length(rows) / _length(whole) for unit_id, rows in lost.items()}
    most = max(shares, key=lambda unit_id: shares[unit_id])
    warnings.append(
        f"units were observed at different times: {len(lost)} of {raw.n_units} are lost for part of the {_length(whole):.6g} s in "
        f"which any was observed, {most!r} for most ({100 * shares[most]:.2g} %); a fit leaves each out where it is lost. With "
        "--observed common only the time common to all is used."
    )


def _keep_inside(raw: RawRecording, by_unit: list[Intervals]) -> None:
    """Leave spikes outside the intervals, one set for each unit or one for all, out of `raw`; its array is left alone where there are none."""
    slices = [
        raw.offsets[row]
        + _slices(raw.times[raw.offsets[row] : raw.offsets[row + 1]], by_unit[row if len(by_unit) > 1 else 0])
        for row in range(raw.n_units)
    ]
    sizes = [int(np.diff(rows, axis=1).sum()) for rows in slices]
    if sum(sizes) == raw.times.size:
        return
    # Unit by unit: the indices of all spikes at once would take twice the memory of the spikes.
    raw.times = np.concatenate([take_stretches(raw.times, rows) for rows in slices])
    raw.offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _length(intervals_s: Intervals) -> float:
    return float(np.diff(intervals_s, axis=1).sum())


def _round_down(time_s: float) -> str:
    return f"{np.floor(time_s * 1e3) / 1e3:g}" if abs(time_s) < 1e5 else f"{np.floor(time_s):.0f}"


def _round_up(time_s: float) -> str:
    return f"{np.ceil(time_s * 1e3) / 1e3:g}" if abs(time_s) < 1e5 else f"{np.ceil(time_s):.0f}"
