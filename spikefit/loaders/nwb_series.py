"""Covariates of NWB files: every series of numbers in processing modules, acquisition, stimulus and analysis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import h5py

from spikefit.covariates import Covariate
from spikefit.errors import RecordingError
from spikefit.loaders.h5 import H5_FAULTS, H5Reader, name_of
from spikefit.loaders.h5_series import Clock, offered

PLACES = ("/processing", "/acquisition", "/stimulus/presentation", "/stimulus", "/analysis")
MAX_DEPTH = 4
# A file that nests more groups than this holds something else than series.
MAX_GROUPS = 2000
# Names that only repeat the kind; the container around such a series says more.
BARE = {"spatialseries", "timeseries", "series", "data", "position", "spatial_series"}


def find(reader: H5Reader) -> tuple[dict[str, Covariate], list[str]]:
    """The covariates by name, and a sentence for each series that is not offered as one."""
    groups: list[h5py.Group] = []
    left_out: list[str] = []
    for place in PLACES:
        groups += [group for group in _series(reader, place, left_out) if group not in groups]
    names = _names([name_of(group) for group in groups])
    found: dict[str, Covariate] = {}
    for name, group in zip(names, groups, strict=True):
        try:
            found[name] = _covariate(reader, name, group)
        except RecordingError as fault:
            left_out.append(fault.message)
    return found, left_out


def _series(reader: H5Reader, place: str, left_out: list[str]) -> Iterator[h5py.Group]:
    """Groups with a member `data`, from the top down, each once."""
    try:
        top = reader.group(place)
    except RecordingError as fault:
        left_out.append(fault.message)
        return
    level = [] if top is None else [top]
    n_groups = 0
    for _ in range(MAX_DEPTH):
        below: list[h5py.Group] = []
        for group in level:
            try:
                members = reader.names(group)
            except RecordingError as fault:
                left_out.append(fault.message)
                continue
            if "data" in members:
                yield group
                continue
            for name in members:
                n_groups += 1
                if n_groups > MAX_GROUPS:
                    return
                try:
                    child = reader.group(name, group)
                except RecordingError as fault:
                    left_out.append(fault.message)
                    continue
                if child is not None and reader.attribute_text(child, "neurodata_type") not in (
                    "Units",
                    "DynamicTable",
                ):
                    below.append(child)
        level = below


def _names(paths: list[str]) -> list[str]:
    """The last part of each path, with the part before it where that says more or the last one repeats."""
    parts = [path.strip("/").split("/") for path in paths]
    # The container of a series is below its place, and in processing below its module.
    short = [p[-2] if p[-1].lower() in BARE and len(p) > (3 if p[0] == "processing" else 2) else p[-1] for p in parts]
    times = Counter(short)
    longer = ["/".join(p[-2:]) if times[name] > 1 else name for name, p in zip(short, parts, strict=True)]
    times = Counter(longer)
    return ["/".join(p) if times[name] > 1 else name for name, p in zip(longer, parts, strict=True)]


def _covariate(reader: H5Reader, name: str, group: h5py.Group) -> Covariate:
    data = reader.dataset("data", group)
    if data is None:
        raise RecordingError(
            f"{reader.path.name}: {group.name}/data is not there.", hint="find the file it was left in"
        )
    times = reader.dataset("timestamps", group)
    start = reader.dataset("starting_time", group)
    clock: Clock | None = None
    if times is not None:
        # Many series share the times of one by a link: where they stand is not where they are looked for.
        clock = Clock(times=name_of(times))
    elif start is not None:
        try:
            values = reader.numbers(start, expected="a time in seconds").ravel()
            clock = Clock(rate_hz=reader.attribute_number(start, "rate"), start_s=float(values[0]))
        except (IndexError, *H5_FAULTS):
            clock = None
    conversion = reader.attribute_number(data, "conversion")
    return offered(
        reader,
        name,
        data,
        clock,
        unit=(reader.attribute_text(data, "unit") or "").removesuffix("unknown"),
        description=(reader.attribute_text(group, "description") or "").removeprefix("no description").strip(),
        # A factor of zero or NaN is a default that some program left behind.
        conversion=conversion if conversion else 1.0,
        offset=reader.attribute_number(data, "offset") or 0.0,
    )
