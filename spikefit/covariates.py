"""What was measured beside the spikes (position, running speed, head direction, pupil, …), and its value in every bin.

A `Covariate` says what it is without reading it; its samples are read when they are first asked for. `Covariate.at` brings it
to the bins of a recording. What cannot be known in a bin is NaN there, and is counted, never filled in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError, UsageError, did_you_mean
from spikefit.intervals import EDGE_TOLERANCE_S

# Samples further apart than this many typical intervals have a gap between them, across which nothing is interpolated.
GAP_IN_SAMPLES = 3.0
_DEGREES = ("degree", "degrees", "deg", "°")
ANGLE_UNITS = ("radian", "radians", "rad", *_DEGREES)


class Bins(Protocol):
    """Bins of equal width, as `spikefit.Counts` has them."""

    @property
    def time_s(self) -> NDArray[np.float64]: ...

    @property
    def bin_width_s(self) -> float: ...


@dataclass(frozen=True)
class Samples:
    """Samples as they were taken.

    Attributes:
        time_s: when, in seconds on the clock of the spikes, in order; shape (n_samples,).
        values: what, NaN where it was lost; shape (n_samples, n_columns).
    """

    time_s: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class BinnedCovariate:
    """A covariate in the bins of a recording.

    Attributes:
        values: NaN where it is not known; shape (n_bins, n_columns).
        columns: one name per column; an angle has a sine and a cosine.
        unit: of the values; empty for sines and cosines.
        share_known: the part of the bins in which all columns are known.
        warnings: what is not covered, in sentences.
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...]
    unit: str
    share_known: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Covariate:
    """A named series of samples, read when it is first asked for.

    Attributes:
        name: what it is called.
        n_samples: how many there are.
        columns: one name per column.
        unit: of the values, as the file states it; empty where it does not.
        read: reads the samples.
        description: what the file says about it.
        start_s: the first sample, in seconds; NaN where there is none.
        stop_s: the last sample.
        rate_hz: samples per second, or None where they were not taken at a steady rate.
        where: the place it comes from.
    """

    name: str
    n_samples: int
    columns: tuple[str, ...]
    unit: str
    read: Callable[[], Samples]
    description: str = ""
    start_s: float = math.nan
    stop_s: float = math.nan
    rate_hz: float | None = None
    where: str = ""
    _kept: list[Samples] = field(default_factory=list, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and columns."""
        return self.n_samples, len(self.columns)

    @property
    def is_angle(self) -> bool:
        """Whether values turn round: one column in radians or degrees."""
        return len(self.columns) == 1 and self.unit.strip().lower() in ANGLE_UNITS

    @property
    def samples(self) -> Samples:
        """All samples, read once.

        Raises:
            RecordingError: if they cannot be read, or their times are not finite or run backwards.
        """
        if not self._kept:
            samples = self.read()
            _check(samples, self)
            self._kept.append(samples)
        return self._kept[0]

    @property
    def time_s(self) -> NDArray[np.float64]:
        """When the samples were taken, in seconds; shape (n_samples,)."""
        return self.samples.time_s

    @property
    def values(self) -> NDArray[np.float64]:
        """The samples; shape (n_samples, n_columns)."""
        return self.samples.values

    def at(self, bins: Bins, *, max_gap_s: float | None = None) -> BinnedCovariate:
        """Its value in every bin: the mean of the samples inside; in a bin without any, on the line between its neighbours.

        Angles become sines and cosines first, so that the mean of 359° and 1° is not 180°.

        Args:
            bins: the bins, as `SpikeTrains.bin` makes them.
            max_gap_s: the longest stretch between two samples across which a line may run; by default three typical intervals
                between samples. Samples that are NaN are no samples.

        Raises:
            RecordingError: if the samples cannot be read.
            UsageError: if `max_gap_s` is not above zero.
        """
        if max_gap_s is not None and not max_gap_s > 0:
            raise UsageError(f"the longest gap must be above 0 s, got {max_gap_s!r}.", hint="leave it out")
        time_s, values = self.time_s, self.values
        columns, unit = self.columns, self.unit
        if self.is_angle:
            angle = np.deg2rad(values) if unit.strip().lower() in _DEGREES else values
            values = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
            columns, unit = tuple(f"{part} {columns[0]}".strip() for part in ("sin", "cos")), ""
        if max_gap_s is None:
            max_gap_s = GAP_IN_SAMPLES * float(np.median(np.diff(time_s))) if time_s.size > 1 else 0.0
        starts_s = bins.time_s
        out = np.empty((starts_s.size, values.shape[1]))
        for column in range(values.shape[1]):
            known = np.isfinite(values[:, column])
            out[:, column] = _in_bins(
                time_s[known], values[known, column], starts_s, float(bins.bin_width_s), float(max_gap_s)
            )
        missing: NDArray[np.bool_] = np.asarray(~np.isfinite(out).all(axis=1))
        share = 1.0 - float(missing.mean()) if missing.size else 0.0
        warnings = self.what_is_missing(starts_s, missing, float(bins.bin_width_s)) if missing.any() else ()
        return BinnedCovariate(out, columns, unit, share, warnings)

    def what_is_missing(
        self, starts_s: NDArray[np.float64], missing: NDArray[np.bool_], bin_width_s: float
    ) -> tuple[str, ...]:
        """A sentence on the bins, by their starts, in which it is not known."""
        first = float(starts_s[np.argmax(missing)])
        return (
            f"{self.name} is not known in {int(missing.sum())} of {missing.size} bins "
            f"({missing.sum() * bin_width_s:.6g} s, the first at {first:.6g} s; its samples run from {self.time_s[0]:.6g} s "
            f"to {self.time_s[-1]:.6g} s)."
            if self.time_s.size
            else f"{self.name} holds no samples.",
        )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_kept": []}  # where it goes it is read again, rather than carried along


class UnknownCovariateError(UsageError, KeyError):
    """A covariate that a recording does not hold; a KeyError too, as every mapping raises."""


class Covariates(Mapping[str, Covariate]):
    """The covariates of a recording by name; the file is looked through when the first is asked for.

    Args:
        look: gives the covariates, and a sentence for each series that is not offered as one.
    """

    def __init__(self, look: Callable[[], tuple[dict[str, Covariate], list[str]]]) -> None:
        self._look = look
        self._found: tuple[dict[str, Covariate], list[str]] | None = None

    @property
    def _all(self) -> tuple[dict[str, Covariate], list[str]]:
        if self._found is None:
            self._found = self._look()
        return self._found

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence for each series that is in the recording but not offered, with the reason."""
        return tuple(self._all[1])

    def __getitem__(self, name: str) -> Covariate:
        known = self._all[0]
        if name not in known:
            raise UnknownCovariateError(f"there is no covariate {name!r}.", hint=did_you_mean(name, known))
        return known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all[0])

    def __len__(self) -> int:
        return len(self._all[0])

    def __repr__(self) -> str:
        return f"Covariates({', '.join(self)})" if self._found is not None else "Covariates(not looked for yet)"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_found": None}


def _check(samples: Samples, about: Covariate) -> None:
    time_s, place = samples.time_s, about.where or about.name
    broken = ~np.isfinite(time_s)
    if broken.any():
        raise RecordingError(
            f"{place}: {int(broken.sum())} of {time_s.size} sample times are NaN or infinite (the first is sample "
            f"{int(np.argmax(broken))}).",
            hint="write the series again with a time for every sample",
        )
    falls = np.flatnonzero(np.diff(time_s) < 0)
    if falls.size:
        at = int(falls[0])
        raise RecordingError(
            f"{place}: sample times go back at {falls.size} places (the first: {time_s[at]:g} s is followed by {time_s[at + 1]:g} s).",
            hint="sort the samples by time, or split the file where the clock starts again",
        )


def _in_bins(
    time_s: NDArray[np.float64],
    values: NDArray[np.float64],
    starts_s: NDArray[np.float64],
    bin_width_s: float,
    max_gap_s: float,
) -> NDArray[np.float64]:
    """Mean of the samples in each bin, lines across the bins between, NaN beyond the ends and across gaps."""
    out = np.full(starts_s.size, np.nan)
    if not time_s.size:
        return out
    first = np.searchsorted(time_s, starts_s - EDGE_TOLERANCE_S)
    behind = np.searchsorted(time_s, starts_s + bin_width_s - EDGE_TOLERANCE_S)
    # Sums of what is left without the mean stay small, and so does their rounding.
    centre = float(values.mean())
    sums = np.concatenate([[0.0], np.cumsum(values - centre)])
    inside = behind > first
    out[inside] = centre + (sums[behind[inside]] - sums[first[inside]]) / (behind - first)[inside]
    between = ~inside & (first > 0) & (first < time_s.size)
    after = first[between]
    narrow = time_s[after] - time_s[after - 1] <= max_gap_s * (1 + 1e-9)
    middle_s = starts_s[between] + bin_width_s / 2
    out[between] = np.where(narrow, np.interp(middle_s, time_s, values), np.nan)
    return out
