"""What a file says, before anyone has judged it: the common language between the readers and the checks.

A reader fills a `RawRecording` with the numbers as they stand in the file; `spikefit.loaders.assemble` turns it into
seconds, checks it and makes the `SpikeTrains`. So no reader has to know about time units, clipping or thresholds.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikefit.errors import RecordingError, UsageError
from spikefit.intervals import Intervals

# A unit column of this name marks units that are not neurons (noise, unsorted spikes); its text says what they are.
NOT_A_NEURON = "not_a_neuron"


class SourceFile(Protocol):
    """What readers need of a file: a path on a disk, or `spikefit.loaders.remote.RemoteFile`."""

    @property
    def name(self) -> str: ...

    @property
    def stem(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    def open(self, mode: Literal["rb"]) -> IO[bytes]: ...

    def stat(self) -> os.stat_result: ...

    def is_file(self) -> bool: ...

    def is_dir(self) -> bool: ...


class ReadLimits(Protocol):
    """How much of a file may be read; see the section `checks` of the configuration for the defaults."""

    @property
    def max_read_bytes(self) -> int: ...

    @property
    def max_expansion(self) -> float: ...

    @property
    def max_covariate_bytes(self) -> int: ...


@dataclass(frozen=True)
class ReadOptions:
    """What the user asked of a reader.

    Attributes:
        limits: how much may be read.
        units_table: where in the file the units are, when it holds several tables or is laid out in a way of its own.
        mapping: paths inside an HDF5 file by role (`times`, `units`, `index`, `unit_names`, `counts`, `intervals`).
        follow_links: follow links to other files in the recording's own folder.
        covariates: where covariates of the user's own are, by name; see `spikefit.loaders.covariates`.
    """

    limits: ReadLimits
    units_table: str | None = None
    mapping: Mapping[str, Any] | None = None
    follow_links: bool = False
    covariates: Mapping[str, str] = field(default_factory=dict)


@dataclass
class RawRecording:
    """Numbers as they stand in a file.

    Attributes:
        times: spike times, unit after unit, in the unit of time of the file; shape (n_spikes,).
        offsets: unit `k` owns `times[offsets[k]:offsets[k + 1]]`; shape (n_units + 1,).
        unit_ids: one text per unit, without repetition.
        format: the name of the format.
        where: the place in the file that the times came from, for messages.
        time_unit: the unit of time that the file states, or None where it states none.
        unit_intervals: observed intervals per unit, each of shape (n, 2), or one for all; None where nothing is said.
        invalid_intervals: times that were recorded but must not be used; shape (n, 2).
        epochs: named intervals, each of shape (n, 2).
        unit_columns: further columns of the unit table.
        stored_digits: `float32` and the like where times were stored in less than float64.
        warnings: what the reader found odd.
        session: what the file says of the session, as texts.
    """

    times: NDArray[np.float64]
    offsets: NDArray[np.int64]
    unit_ids: tuple[str, ...]
    format: str
    where: str = ""
    time_unit: str | None = None
    unit_intervals: list[Intervals] | None = None
    invalid_intervals: Intervals = field(default_factory=lambda: np.empty((0, 2)))
    epochs: dict[str, Intervals] = field(default_factory=dict)
    unit_columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    stored_digits: str | None = None
    warnings: list[str] = field(default_factory=list)
    session: dict[str, str] = field(default_factory=dict)

    @property
    def n_units(self) -> int:
        return len(self.unit_ids)


def from_trains(trains: Sequence[ArrayLike], unit_ids: Sequence[str], **rest: Any) -> RawRecording:
    """A raw recording from one array of times per unit."""
    arrays = [np.asarray(train, dtype=np.float64).ravel() for train in trains]
    times = np.concatenate(arrays) if arrays else np.empty(0)
    offsets = np.concatenate([[0], np.cumsum([a.size for a in arrays])]).astype(np.int64)
    return RawRecording(times, offsets, tuple(unit_ids), **rest)


def from_labels(
    times: NDArray[Any], rows: NDArray[np.integer[Any]], n_units: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times and offsets, unit after unit and in time order, of spikes that come with the row of their unit.

    Args:
        times: one per spike, in any order; shape (n_spikes,).
        rows: row of each spike's unit, from 0 to `n_units` - 1; shape (n_spikes,).
        n_units: how many units there are.
    """
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_units))]).astype(np.int64)
    # A stable sort of a small integer type is a radix sort: linear, and it keeps the order in time.
    order = np.argsort(rows.astype(np.min_scalar_type(max(n_units - 1, 0))), kind="stable")
    sorted_times = np.asarray(times, dtype=np.float64)[order]
    for a, b in itertools.pairwise(offsets):
        train = sorted_times[a:b]
        # A list in any order is put in order; where a clock seems to have started again it is left for the checks to refuse.
        if np.any(train[1:] < train[:-1]) and not clock_restarts(train):
            train.sort()
    return sorted_times, offsets


def clock_restarts(train: NDArray[np.float64]) -> bool:
    """Whether times run forward in stretches that begin again early, as those of trials or of a second session do.

    In a list in no order, half of the steps lead back; in one that is nearly in order, steps back are short.
    """
    if train.size < 50:
        return False
    steps = np.diff(train)
    back = -steps[steps < 0]
    return bool(0 < back.size <= 0.35 * train.size and np.median(back) >= 0.3 * np.ptp(train))


def unique_ids(names: Sequence[str], warnings: list[str]) -> tuple[str, ...]:
    """Ids without repetition: the second `3` becomes `3-2`, with a warning; an empty name becomes its row."""
    taken: set[str] = set()
    ids: list[str] = []
    renamed = 0
    known = set(names)
    for row, name in enumerate(names):
        wanted = name or f"unit{row}"
        unique, count = wanted, 1
        while unique in taken or (count > 1 and unique in known):
            count += 1
            unique = f"{wanted}-{count}"
        renamed += unique != name
        taken.add(unique)
        ids.append(unique)
    if renamed:
        first = next((old, new) for old, new in zip(names, ids, strict=True) if old != new)
        warnings.append(
            f"{renamed} of {len(ids)} unit ids repeat or are empty and were renamed (the first from {first[0]!r} to {first[1]!r})."
        )
    return tuple(ids)


_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0}
_SPELLINGS = {
    "": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "msec": "ms", "millisecond": "ms", "milliseconds": "ms",
    "µs": "us", "μs": "us", "usec": "us", "microsecond": "us", "microseconds": "us",
    "nsec": "ns", "nanosecond": "ns", "nanoseconds": "ns",
    "minute": "min", "minutes": "min",
}  # fmt: skip
_NUMBER = r"(?P<number>\d+(?:\.\d*)?(?:e[+-]?\d+)?)"
_SAMPLES = re.compile(rf"samples@{_NUMBER}|{_NUMBER.replace('number', 'rate')}\s*(?P<kilo>k?)hz", re.IGNORECASE)
TIME_UNITS = "s, ms, us, ns, min, or samples@30000 for times counted in samples of an amplifier at 30 kHz"


def parse_time_unit(text: str) -> tuple[float, bool]:
    """How many of this unit make one second, or how many seconds it lasts.

    Times are divided where they can be (5 ms is 5 / 1000 s, which is rounded once; 5 × 0.001 is rounded twice).

    Returns:
        The factor, and whether times are to be divided by it.

    Raises:
        UsageError: for a unit that is not known.
    """
    word = text.strip()
    samples = _SAMPLES.fullmatch(word)
    if samples:
        rate_hz = float(samples["number"] or samples["rate"]) * (1000.0 if samples["kilo"] else 1.0)
        if 0 < rate_hz < float("inf"):
            return rate_hz, True
    name = _SPELLINGS.get(word.lower(), word.lower())
    if name not in _SECONDS:
        raise UsageError(f"the time unit {text!r} is not known.", hint=f"it may be {TIME_UNITS}")
    seconds = _SECONDS[name]
    return (round(1 / seconds), True) if seconds < 1 else (seconds, False)


def in_seconds(times: NDArray[Any], time_unit: str) -> NDArray[np.float64]:
    """Times in seconds; those that are in seconds already are returned as they are, bit for bit."""
    factor, divide = parse_time_unit(time_unit)
    values = np.asarray(times, dtype=np.float64)
    if factor == 1:
        return values
    return values / factor if divide else values * factor


def read_head(path: SourceFile, n_bytes: int) -> bytes:
    """The first bytes of a file.

    Raises:
        RecordingError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(n_bytes)
    except OSError as fault:
        raise damaged(path, "", fault) from fault


def number_of_bytes(count: float) -> str:
    """A size that people can read."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count:.0f} bytes"
        count /= 1000
    return f"{count:.3g} TB"


def refuse_much_text(path: SourceFile, limits: ReadLimits) -> None:
    """Refuse a text that would be too large once it is read: in memory it takes several times its size in the file.

    Raises:
        RecordingError: with its size.
    """
    size = path.stat().st_size
    if size > limits.max_read_bytes / 8:
        raise RecordingError(
            f"{path.name}: {number_of_bytes(size)} of text are too much.",
            hint="convert it to HDF5 or NWB, which are far smaller",
        )


def damaged(path: SourceFile, where: str, fault: BaseException) -> RecordingError:
    """The error for a part of a file that a library could not read."""
    reason = " ".join(str(fault).split())[:200] or type(fault).__name__
    place = f"{path.name}: {where}" if where else path.name
    return RecordingError(
        f"{place} cannot be read ({reason}).",
        hint="the file is probably damaged: copy it again from where it was recorded",
    )
