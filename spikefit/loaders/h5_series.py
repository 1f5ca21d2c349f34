"""Series of samples in HDF5 files: what they are, told without reading them, and their samples, read when asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from spikefit.covariates import Covariate, Samples
from spikefit.errors import RecordingError
from spikefit.loaders.h5 import H5Reader, name_of, opened
from spikefit.loaders.h5_storage import check_storage
from spikefit.loaders.hdf5_names import time_unit_of
from spikefit.loaders.raw import ReadOptions, SourceFile, in_seconds, number_of_bytes

# More columns than this are channels or pixels, not what an animal did.
MOST_COLUMNS = 64


@dataclass(frozen=True)
class Clock:
    """When the samples of a series were taken: at times of their own, or at a steady rate.

    Attributes:
        times: path of the dataset of times, or None.
        rate_hz: samples per second, where there are no times.
        start_s: the first sample, where there are no times.
    """

    times: str | None = None
    rate_hz: float | None = None
    start_s: float = 0.0


@dataclass(frozen=True)
class H5Series:
    """Reads the samples of one series.

    Attributes:
        path: the file.
        options: how much may be read of it.
        data: path of the dataset of values.
        clock: when they were taken.
        conversion: values are multiplied by this.
        offset: and then this is added.
    """

    path: SourceFile
    options: ReadOptions
    data: str
    clock: Clock
    conversion: float = 1.0
    offset: float = 0.0

    def __call__(self) -> Samples:
        """All samples.

        Raises:
            RecordingError: if they cannot be read.
        """
        with opened(self.path, self.options) as reader:
            data = reader.dataset(self.data)
            if data is None:
                raise RecordingError(f"{self.path.name}: {self.data} is no longer there.", hint="read the file again")
            values = reader.numbers(data).astype(np.float64)
            if self.clock.times is not None:
                times = reader.dataset(self.clock.times)
                assert times is not None
                time_s = in_seconds(reader.numbers(times, expected="times").ravel(), time_unit_of(reader, times) or "s")
            else:
                assert self.clock.rate_hz is not None
                time_s = self.clock.start_s + np.arange(len(values)) / self.clock.rate_hz
        values = values.reshape(len(values), -1)
        if self.conversion != 1 or self.offset != 0:
            values = values * self.conversion + self.offset
        return Samples(np.asarray(time_s, dtype=np.float64), values)


def offered(
    reader: H5Reader,
    name: str,
    data: h5py.Dataset,
    clock: Clock | None,
    *,
    columns: tuple[str, ...] | None = None,
    unit: str = "",
    description: str = "",
    conversion: float = 1.0,
    offset: float = 0.0,
) -> Covariate:
    """A series as a covariate; of its values nothing is read, of its times the first and the last.

    Args:
        reader: the open file.
        name: what to call it.
        data: its values, time along the first axis.
        clock: when they were taken; None where the file does not say.
        columns: names of its columns; by default x, y and z, or numbers.
        unit: of the values.
        description: what the file says of it.
        conversion: values are multiplied by this.
        offset: and then this is added.

    Raises:
        RecordingError: if it is no series of numbers, is too large, or its times do not fit.
    """
    file, where = reader.path.name, name_of(data)
    with reader.guarded(where):
        shape, kind = data.shape, data.dtype.kind

    def refused(why: str, hint: str = "point at another dataset with --covariates") -> RecordingError:
        return RecordingError(f"{file}: {where} {why}.", hint=hint)

    if kind not in "fiub":
        raise refused("holds no numbers")
    if shape is None or len(shape) not in (1, 2) or 0 in shape:
        raise refused(f"has shape {shape or '()'}, expected samples × columns")
    n_samples, n_columns = shape[0], shape[1] if len(shape) == 2 else 1
    if n_columns > MOST_COLUMNS:
        raise refused(f"has {n_columns} columns, more than {MOST_COLUMNS}")
    needed = 8 * n_samples * n_columns
    limit = reader.options.limits.max_covariate_bytes
    if needed > limit:
        raise refused(
            f"takes {number_of_bytes(needed)} ({n_samples:,} samples × {n_columns}), more than the limit of {number_of_bytes(limit)}",
            "raise max_covariate_bytes in the section `checks` of the config if you want it",
        )
    if clock is None:
        raise refused("has no times and no rate", "say it with --covariates NAME=PATH@TIMES or NAME=PATH@30Hz")
    start_s, stop_s = _span(reader, where, n_samples, clock)
    names = columns or ((name,) if n_columns == 1 else ("x", "y", "z")[:n_columns] if n_columns <= 3 else None)
    if names is None or len(names) != n_columns:
        names = tuple(str(k) for k in range(n_columns))
    read = H5Series(reader.path, reader.options, where, clock, conversion, offset)
    return Covariate(
        name, n_samples, names, unit, read, description, start_s, stop_s, clock.rate_hz if clock.times is None else None,
        f"{file}: {where}",
    )  # fmt: skip


def _span(reader: H5Reader, where: str, n_samples: int, clock: Clock) -> tuple[float, float]:
    if clock.times is None:
        if clock.rate_hz is None or not (math.isfinite(clock.rate_hz) and clock.rate_hz > 0):
            raise RecordingError(
                f"{reader.path.name}: {where} was taken at {clock.rate_hz} Hz.", hint="its rate must be above 0"
            )
        return clock.start_s, clock.start_s + (n_samples - 1) / clock.rate_hz
    times = reader.dataset(clock.times)
    if times is None or times.dtype.kind not in "fiu" or times.shape is None:
        raise RecordingError(
            f"{reader.path.name}: {where} has no times at {clock.times!r}.", hint="point at a dataset of numbers"
        )
    if times.size != n_samples or len(times.shape) != 1:
        raise RecordingError(
            f"{reader.path.name}: {where} has {n_samples} samples, and its times {clock.times} the shape {times.shape}.",
            hint="write the series again with one time per sample",
        )
    check_storage(reader, times)
    with reader.guarded(clock.times):
        ends: NDArray[np.float64] = np.array([times[0], times[-1]], dtype=np.float64)
    start_s, stop_s = in_seconds(ends, time_unit_of(reader, times) or "s").tolist()
    return start_s, stop_s
