"""What was measured beside the spikes, written into a clean copy of a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikefit.covariates import Covariate
from spikefit.errors import RecordingError

if TYPE_CHECKING:
    from pynwb import NWBFile

# Steady samples that stand further than this from their rate are given their own times: 1 ns, far below any bin.
STEADY_WITHIN_S = 1e-9
# Names that plain HDF5 keeps for the times that all covariates share.
_TIMES = ("time_s", "timestamps", "times", "time", "t")


@dataclass(frozen=True)
class Series:
    """A covariate, read, under the name it gets in the file.

    Attributes:
        name: without slashes, which files take for paths.
        about: what it is.
        values: shape (n_samples, n_columns).
        time_s: shape (n_samples,); None where the rate and the start say as much.
    """

    name: str
    about: Covariate
    values: NDArray[np.float64]
    time_s: NDArray[np.float64] | None

    @property
    def description(self) -> str:
        """What the recording says of it, and its columns where there are several."""
        columns = f"columns: {', '.join(self.about.columns)}" if len(self.about.columns) > 1 else ""
        return ". ".join(part for part in (self.about.description.rstrip("."), columns) if part)


def readable(covariates: Mapping[str, Covariate], left_out: list[str]) -> Iterator[Series]:
    """Each covariate in turn, so that only one is in memory; a sentence goes to `left_out` for each that cannot be read."""
    taken: set[str] = set()
    for name, about in covariates.items():
        try:
            values, time_s = about.values, about.time_s
        except RecordingError as fault:
            left_out.append(f"the covariate {name!r} was left out: {fault.message}")
            continue
        wanted = name.replace("/", "_").replace(":", "_").strip() or "covariate"
        while wanted in taken or wanted in _TIMES:
            wanted += "_"
        taken.add(wanted)
        yield Series(wanted, about, values, None if _is_steady(about, time_s) else time_s)


def _is_steady(about: Covariate, time_s: NDArray[np.float64]) -> bool:
    if about.rate_hz is None:
        return False
    expected = about.start_s + np.arange(time_s.size) / about.rate_hz
    return bool(np.array_equal(time_s, expected) or np.allclose(time_s, expected, rtol=0, atol=STEADY_WITHIN_S))


def add_to_nwb(file: NWBFile, covariates: Mapping[str, Covariate], left_out: list[str]) -> list[str]:
    """Put covariates into the processing module `behavior`; gives their names there."""
    from pynwb import TimeSeries

    written: list[str] = []
    module: Any = None
    for series in readable(covariates, left_out):
        if module is None:
            module = file.create_processing_module("behavior", "What was measured beside the spikes.")
        if series.time_s is None:
            clock: dict[str, Any] = {"rate": series.about.rate_hz, "starting_time": series.about.start_s}
        else:
            clock = {"timestamps": series.time_s}
        module.add(
            TimeSeries(
                name=series.name,
                data=series.values[:, 0] if series.values.shape[1] == 1 else series.values,
                unit=series.about.unit or "unknown",
                description=series.description or f"{series.about.name}, as the recording has it.",
                **clock,
            )
        )
        written.append(series.name)
    return written


def add_to_h5(file: Any, covariates: Mapping[str, Covariate], left_out: list[str]) -> list[str]:
    """Put covariates into `/covariates/NAME`, as `values` with `time_s` or with a rate; gives their names."""
    written: list[str] = []
    for series in readable(covariates, left_out):
        group = file.require_group("covariates").create_group(series.name)
        values = group.create_dataset(
            "values", data=series.values[:, 0] if series.values.shape[1] == 1 else series.values
        )
        if series.about.unit:
            values.attrs["unit"] = series.about.unit
        if series.description:
            group.attrs["description"] = series.description
        if len(series.about.columns) > 1:
            values.attrs["columns"] = list(series.about.columns)
        if series.time_s is None:
            values.attrs["rate_hz"] = series.about.rate_hz
            values.attrs["t_start_s"] = series.about.start_s
        else:
            group.create_dataset("time_s", data=series.time_s)
        written.append(series.name)
    return written
