"""What no analysis survives: NaN, times that go back, times that are plainly not seconds.

What is usable but odd is in `spikefit.loaders.doubts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.raw import RawRecording
from spikefit.spikes import SpikeTrains


class CheckLimits(Protocol):
    """The thresholds of the section `checks` of the configuration, where their defaults are."""

    @property
    def few_spikes(self) -> int: ...

    @property
    def refractory_s(self) -> float: ...

    @property
    def max_refractory_share(self) -> float: ...

    @property
    def outlier_rate_factor(self) -> float: ...

    @property
    def max_repeated_share(self) -> float: ...

    @property
    def min_time_s(self) -> float: ...

    @property
    def unix_time_s(self) -> float: ...

    @property
    def identical_share(self) -> float: ...

    @property
    def max_duration_s(self) -> float: ...

    @property
    def min_median_rate_hz(self) -> float: ...

    @property
    def max_median_rate_hz(self) -> float: ...

    @property
    def lone_spike_factor(self) -> float: ...

    @property
    def max_read_bytes(self) -> int: ...

    @property
    def max_expansion(self) -> float: ...

    @property
    def max_covariate_bytes(self) -> int: ...


# Fewer times than this may all be whole seconds by design (a toy file); more never are.
MIN_WHOLE_TIMES = 20
# What sorted neurons commonly do, to guess the unit of times that are not seconds.
TYPICAL_RATE_HZ = 3.0
TYPICAL_GAP_S = 0.003


def named(unit_ids: Sequence[str], rows: Sequence[int] | NDArray[Any], limit: int = 5) -> str:
    """The first few of some units, for a sentence."""
    chosen = [repr(unit_ids[int(row)]) for row in rows[:limit]]
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return ", ".join(chosen) + more


def check_numbers(raw: RawRecording, name: str) -> None:
    """Refuse NaN, infinite and unsorted times.

    Raises:
        RecordingError: naming the place, the unit, how many there are and the first of them.
    """
    broken_rows, n_broken, first = _scan(raw, lambda train: ~np.isfinite(train))
    if n_broken:
        row, spike = first
        raise RecordingError(
            f"{name}: {n_broken} of {raw.times.size} spike times{_at(raw)} are NaN or infinite "
            f"(first: unit {raw.unit_ids[row]!r}, spike {spike}).",
            hint=f"remove them, or leave the unit out with {_drop(raw, broken_rows)}",
        )
    falling_rows, n_falls, (row, spike) = _scan(raw, lambda train: train[1:] < train[:-1])
    if n_falls:
        train = raw.times[raw.offsets[row] : raw.offsets[row + 1]]
        before, after = float(train[spike]), float(train[spike + 1])
        # One spike in the wrong place rises all at once and falls again; a clock rises step by step.
        peak = spike > 0 and before - float(train[spike - 1]) > 0.5 * (before - after)
        restarts = (
            not peak
            and after <= float(train[0]) + 0.1 * (before - float(train[0]))
            and n_falls <= 10 * len(falling_rows)
        )
        # A clock that starts again is another fault than a shuffled list, and has another cure.
        raise RecordingError(
            f"{name}: spike times{_at(raw)} go back at {n_falls} places in {len(falling_rows)} of {raw.n_units} units "
            f"(first: unit {raw.unit_ids[row]!r}, {before:g} is followed by {after:g})"
            + ("; the clock seems to have started again there." if restarts else "."),
            hint=(
                "split the file at the restart, or add the time that passed before it"
                if restarts
                else f"sort the times of each unit, or leave the unit out with {_drop(raw, falling_rows)}"
            ),
        )


def check_whole_numbers(trains: SpikeTrains, limits: CheckLimits, name: str) -> None:
    """Refuse times that are plainly samples or milliseconds, not seconds.

    Args:
        trains: the recording, its times taken for seconds.
        limits: thresholds.
        name: what to call the recording in the message.

    Raises:
        RecordingError: if all times are whole numbers, or both the length and the rates are out of all proportion;
            the hint names the unit that they seem to be in.
    """
    times = trains.spike_times_s
    if times.size < MIN_WHOLE_TIMES:
        return
    # Most files betray themselves in the first numbers: the whole array is only looked at if those are all whole.
    whole = bool(np.all(times[:1000] == np.rint(times[:1000]))) and bool(np.all(times == np.rint(times)))
    span_s, median_hz = span_and_rate(trains)
    far_off = span_s > limits.max_duration_s and median_hz < limits.min_median_rate_hz
    if far_off:  # but not because of a few spikes that lie far from all others, which is another fault
        low, high = np.quantile(times[:: max(times.size // 100_000, 1)], [0.01, 0.99])
        far_off = float(high - low) > limits.max_duration_s
    if not (whole or far_off):
        return
    unit, option = suspected_unit(trains)
    found = "all spike times are whole numbers" if whole else f"the recording would last {duration_text(span_s)}"
    raise RecordingError(
        f"{name}: {found}, and the median unit would fire {median_hz:.3g} times per second: "
        f"these are not seconds, they look like {unit}.",
        hint=f"pass --time-unit {option}, or --time-unit s if they really are seconds",
    )


def suspected_unit(trains: SpikeTrains) -> tuple[str, str]:
    """What times that are not seconds probably are.

    Of the units people use, the one under which the median unit fires most nearly `TYPICAL_RATE_HZ`, and leaves most nearly
    `TYPICAL_GAP_S` between its closest spikes, both as ratios.

    Returns:
        The unit in words, and as a value of `--time-unit`.
    """
    gaps = []
    for row in range(trains.n_units):
        train = trains.spike_times_s[trains.offsets[row] : trains.offsets[row + 1]]
        between = np.diff(train[:100_000])
        between = between[between > 0]
        if between.size >= MIN_WHOLE_TIMES:
            gaps.append(float(np.quantile(between, 0.01)))
    _, rate = span_and_rate(trains)

    def distance(per_second: float) -> float:
        far = abs(math.log(max(rate, 1e-30) * per_second / TYPICAL_RATE_HZ))
        return far + (abs(math.log(float(np.median(gaps))) - math.log(per_second * TYPICAL_GAP_S)) if gaps else 0.0)

    candidates = {
        1e3: ("milliseconds", "ms"),
        3e4: ("samples of an amplifier", "samples@30000 (with the sampling rate in Hz)"),
        1e6: ("microseconds", "us"),
        60.0: ("frames of a screen or a camera", "samples@60 (with the frame rate in Hz)"),
    }
    return candidates[min(candidates, key=distance)]


def _scan(
    raw: RawRecording, is_bad: Callable[[NDArray[np.float64]], NDArray[np.bool_]]
) -> tuple[list[int], int, tuple[int, int]]:
    """Rows with offenders, how many offenders, and the first as (row, spike); unit by unit, so memory stays small."""
    rows: list[int] = []
    count, first = 0, (0, 0)
    for row in range(raw.n_units):
        bad = is_bad(raw.times[raw.offsets[row] : raw.offsets[row + 1]])
        n_bad = int(np.count_nonzero(bad))
        if n_bad:
            if not rows:
                first = (row, int(np.argmax(bad)))
            rows.append(row)
            count += n_bad
    return rows, count, first


def _at(raw: RawRecording) -> str:
    return f" in {raw.where}" if raw.where else ""


def _drop(raw: RawRecording, rows: Sequence[int]) -> str:
    flags = " ".join(f"--drop-unit {raw.unit_ids[row]}" for row in rows[:3])
    return flags + (" …" if len(rows) > 3 else "")


def span_and_rate(trains: SpikeTrains) -> tuple[float, float]:
    """Seconds from the first to the last spike, and the rate of the median unit over it, units without spikes left out."""
    if trains.n_spikes < 2:
        return 0.0, 0.0
    span_s = float(trains.spike_times_s.max() - trains.spike_times_s.min())
    counts = trains.n_spikes_per_unit
    return span_s, float(np.median(counts[counts > 0]) / span_s) if span_s > 0 else 0.0


def duration_text(seconds: float) -> str:
    """Days or years, for a sentence."""
    days = seconds / 86400
    return f"{days:.3g} days" if days < 1000 else f"{days / 365.25:.3g} years"
