"""Where the covariates of a recording are: in the file, by what its format says, and where the user points."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from spikefit.covariates import Covariate
from spikefit.errors import RecordingError, UsageError
from spikefit.loaders import nwb_series
from spikefit.loaders.h5 import H5Reader, as_text, opened
from spikefit.loaders.h5_series import Clock, offered
from spikefit.loaders.hdf5_names import first_dataset, first_number, first_text
from spikefit.loaders.raw import ReadOptions, SourceFile
from spikefit.loaders.text_series import ENDINGS, read_table

HDF5_FORMATS = ("nwb", "nwb-zarr", "hdf5", "nix")
TIMES = ("time_s", "timestamps", "times", "time", "t")
VALUES = ("values", "data", "value", "y")
_STEADY = re.compile(
    r"(?P<rate>\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*(?P<kilo>k?)hz(?:\s*\+\s*(?P<start>-?\d+(?:\.\d*)?)\s*s?)?", re.IGNORECASE
)


@dataclass(frozen=True)
class CovariateSearch:
    """Looks through a recording for covariates.

    Attributes:
        path: the recording.
        format: what it was recognised as.
        options: how it was read; `options.covariates` says where the user's own are.
    """

    path: SourceFile
    format: str
    options: ReadOptions

    def __call__(self) -> tuple[dict[str, Covariate], list[str]]:
        """The covariates by name, and a sentence for each series that is not offered as one.

        Raises:
            UsageError: if what the user points at is not there.
            RecordingError: if what the user points at is no series; what was merely found never raises.
        """
        wanted = self.options.covariates
        tables = {name: place for name, place in wanted.items() if Path(place).suffix.lower() in ENDINGS}
        inside = {name: place for name, place in wanted.items() if name not in tables}
        found: dict[str, Covariate] = {}
        left_out: list[str] = []
        if self.format in HDF5_FORMATS:
            with opened(self.path, self.options) as reader:
                if self.format.startswith("nwb"):
                    found, left_out = nwb_series.find(reader)
                elif self.format == "hdf5":
                    found, left_out = _in_group(reader)
                found |= {name: _pointed_at(reader, name, place) for name, place in inside.items()}
        elif inside:
            name, place = next(iter(inside.items()))
            raise UsageError(
                f"the covariate {name!r} is to be read from {place!r}, but {self.path.name} is no HDF5 file.",
                hint=f"name a table of text ({', '.join(ENDINGS)}) with a column time_s",
            )
        found |= {name: read_table(name, Path(place), self.options.limits) for name, place in tables.items()}
        return found, left_out


def _in_group(reader: H5Reader) -> tuple[dict[str, Covariate], list[str]]:
    """`/covariates/NAME`: a dataset with attributes, or a group with `values` and `time_s`."""
    found: dict[str, Covariate] = {}
    left_out: list[str] = []
    try:
        group = reader.group("/covariates")
        names = [] if group is None else reader.names(group)
    except RecordingError as fault:
        return {}, [fault.message]
    for name in names:
        if name in TIMES:
            continue  # the times that all the others share
        try:
            found[name] = _described(reader, name, f"/covariates/{name}", None)
        except (RecordingError, UsageError) as fault:
            left_out.append(fault.message)
    return found, left_out


def _pointed_at(reader: H5Reader, name: str, place: str) -> Covariate:
    """`PATH`, `PATH@TIMES`, `PATH@30Hz` or `PATH@30Hz+12.5s`."""
    path, at, clock_text = place.partition("@")
    if not at:
        return _described(reader, name, path.strip(), None)
    steady = _STEADY.fullmatch(clock_text.strip())
    if steady is None:
        return _described(reader, name, path.strip(), Clock(times=clock_text.strip()))
    rate_hz = float(steady["rate"]) * (1000.0 if steady["kilo"] else 1.0)
    return _described(reader, name, path.strip(), Clock(rate_hz=rate_hz, start_s=float(steady["start"] or 0.0)))


def _described(reader: H5Reader, name: str, path: str, clock: Clock | None) -> Covariate:
    node = reader.node(path)
    if node is None:
        raise UsageError(
            f"{reader.path.name}: there is nothing at {path!r} for the covariate {name!r}.",
            hint=f"the file holds {reader.listing()}",
        )
    data, group = node, None
    if isinstance(node, h5py.Group):
        group, data = node, first_dataset(reader, node, VALUES)
        if data is None:
            raise UsageError(
                f"{reader.path.name}: {path} is a group without values ({', '.join(reader.names(node)[:8])}).",
                hint=f"name the dataset itself, or call it one of {', '.join(VALUES)}",
            )
    if clock is None:
        clock = _stated_clock(reader, data, group)
    unit = first_text(reader, data, ("unit", "units")) or (
        "" if group is None else first_text(reader, group, ("unit", "units"))
    )
    about = reader.attribute_text(data if group is None else group, "description") or ""
    stated = reader.attribute(data, "columns")
    columns = None if stated is None else tuple(as_text(text) for text in np.ravel(stated))
    return offered(reader, name, data, clock, columns=columns, unit=unit or "", description=about)


def _stated_clock(reader: H5Reader, data: h5py.Dataset, group: h5py.Group | None) -> Clock | None:
    """From attributes of the dataset or its group, or from a dataset of times beside it."""
    for node in (data, group):
        rate_hz = None if node is None else first_number(reader, node, ("rate_hz", "rate", "sampling_rate", "fs"))
        if rate_hz is not None:
            return Clock(
                rate_hz=rate_hz, start_s=first_number(reader, node, ("t_start_s", "t_start", "start_time")) or 0.0
            )
    beside = reader.group(str(data.name).rsplit("/", 1)[0] or "/") if group is None else group
    times = None if beside is None else first_dataset(reader, beside, TIMES, other_than=data)
    return None if times is None else Clock(times=str(times.name))
