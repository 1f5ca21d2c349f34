"""A new NWB file that carries a result; the file of the recording is never touched.

`/units` has one row per fitted unit, hidden ones last, with the spikes of the recorded ones where they are passed;
`/analysis/edges` is a table of the chosen edges whose columns `pre` and `post` refer to rows of `/units`;
`/processing/ecephys/hidden_rate` is the posterior rate of the hidden units in Hz.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.errors import UsageError
from spikefit.exporters.selection import Cut
from spikefit.results.digest import digest
from spikefit.results.edges import EDGE_COLUMNS
from spikefit.results.schema import ABOUT

if TYPE_CHECKING:
    from pynwb import NWBFile

    from spikefit.spikes import SpikeTrains

_OWN_COLUMNS = ("unit_name", "kind", "n_spikes", "rate_hz", "baseline", "spike_times", "obs_intervals", "id")
_EDGE_ABOUT = {
    "weight": ABOUT["connectivity"].description,
    "peak_lag_s": "lag at which the coupling filter is largest in absolute value, in seconds",
    "n_pre_spikes": "spikes of the sender in the fitted time; expected ones for a hidden unit",
    "n_post_spikes": "spikes of the receiver in the fitted time; expected ones for a hidden unit",
}


def write(cut: Cut, trains: SpikeTrains | None, path: Path) -> None:
    """Write a file that pynwb's validator accepts.

    Raises:
        UsageError: if the spikes that are passed lack a unit of the result.
    """
    from pynwb import NWBHDF5IO

    file = _file(cut)
    _add_units(file, cut, trains)
    _add_edges(file, cut)
    _add_hidden(file, cut)
    with NWBHDF5IO(str(path), mode="w") as io:
        io.write(file)


def _file(cut: Cut) -> NWBFile:
    from pynwb import NWBFile
    from pynwb.file import Subject

    result = cut.result
    start = _start_time(result.provenance)
    unknown = "" if start else " When the session started is not known; the date is a placeholder."
    return NWBFile(
        session_description=f"Connectivity inferred by spikefit from {result.name}.{unknown}",
        identifier=digest(result),
        session_start_time=start or datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        source_script="spikefit export --to nwb",
        source_script_file_name="spikefit",
        subject=Subject(
            subject_id=str(result.provenance.get("subject_id") or "unknown"),
            sex="U",  # unknown
            age="P0D/",  # from no days up: unknown, in the way the archives accept
            description="See the recording: a result of spikefit does not repeat who was recorded.",
        ),
        experiment_description="Couplings between recorded and unrecorded neurons, inferred from spike trains.",
        keywords=["connectivity", "spike trains", "coupling", "hidden neurons"],
        notes=f"Bins of {result.bin_width_s:g} s. Weights are in units of the drive before the nonlinearity.",
    )


def _start_time(provenance: Mapping[str, Any]) -> datetime.datetime | None:
    text = provenance.get("session_start_time")
    try:
        start = datetime.datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return start.replace(tzinfo=start.tzinfo or datetime.UTC) if start else None


def _add_units(file: NWBFile, cut: Cut, trains: SpikeTrains | None) -> None:
    from pynwb.misc import Units

    result = cut.result
    if trains is not None:
        lacking = [unit_id for unit_id in result.unit_id[result.visible] if unit_id not in set(trains.unit_ids)]
        if lacking:
            raise UsageError(
                f"{trains.name} lacks {len(lacking)} units of this result (first: {lacking[0]!r}).",
                hint="pass the recording that the result was made from",
            )
    file.units = Units(name="units", description="units of the fit: recorded ones first, then hidden ones")
    file.add_unit_column("unit_name", "id of the unit in the recording; hidden-0, hidden-1, … for inferred ones")
    file.add_unit_column("kind", "visible (recorded) or hidden (inferred)")
    file.add_unit_column("n_spikes", "spikes in the fitted time; for hidden units expected spikes, rounded")
    file.add_unit_column("rate_hz", "mean rate over the fitted time, in Hz")
    file.add_unit_column("baseline", "drive of the unit with nobody spiking")
    further = _text_columns(cut)
    for name, (about, _) in further.items():
        file.add_unit_column(name, about)
    for place, row in enumerate(result.unit_rows):
        spikes: dict[str, Any] = {}
        if trains is not None:
            visible = row.kind == "visible"
            spikes["spike_times"] = trains[row.id] if visible else np.empty(0)
            spikes["obs_intervals"] = trains.intervals_s if visible else np.empty((0, 2))
        file.add_unit(
            unit_name=row.id,
            kind=row.kind,
            n_spikes=row.n_spikes,
            rate_hz=row.rate_hz,
            baseline=float(result.baseline[place]),
            **{name: values[place] for name, (_, values) in further.items()},
            **spikes,
        )


def _text_columns(cut: Cut) -> dict[str, tuple[str, list[Any]]]:
    """Further unit columns under names that NWB takes: numbers where all are, else text."""
    rows = cut.result.unit_rows
    columns: dict[str, tuple[str, list[Any]]] = {}
    for key in dict.fromkeys(key for row in rows for key in row.columns):
        name = key.replace("/", "_").replace(":", "_").strip() or "column"
        while name in columns or name in _OWN_COLUMNS or name in _RESERVED:
            name = f"unit_{name}"
        values = [row.columns.get(key) for row in rows]
        numeric = all(value is None or type(value) in (int, float) for value in values)
        filled = (
            [np.nan if v is None else float(v) for v in values]
            if numeric
            else ["" if v is None else str(v) for v in values]
        )
        columns[name] = (f"column {key!r} of the recording's unit table", filled)
    return columns


# Columns of /units whose type NWB itself has laid down; a plain text or number there would not be valid.
_RESERVED = frozenset(
    {
        *("electrodes", "electrode_group", "waveform_mean", "waveform_sd", "waveforms"),
        *("spike_times_index", "obs_intervals_index", "electrodes_index", "waveforms_index", "waveforms_index_index"),
        *("name", "description", "colnames", "columns"),
    }
)


def _add_edges(file: NWBFile, cut: Cut) -> None:
    from hdmf.common import DynamicTable, DynamicTableRegion, VectorData

    result, table = cut.result, cut.edges()
    if not len(table):
        return
    place = {unit_id: k for k, unit_id in enumerate(result.unit_id)}
    pre = np.array([place[text] for text in table["pre_id"].tolist()])
    post = np.array([place[text] for text in table["post_id"].tolist()])
    columns: list[Any] = [
        DynamicTableRegion(name="pre", description="the unit that sends", data=pre, table=file.units),
        DynamicTableRegion(name="post", description="the unit that receives", data=post, table=file.units),
    ]
    for key in EDGE_COLUMNS[4:]:
        if table[key].dtype.kind == "f" and np.isnan(table[key]).all():
            continue
        about = _EDGE_ABOUT.get(key) or ABOUT[key].description
        columns.append(VectorData(name=key, description=about, data=np.ascontiguousarray(table[key])))
    if result.lag_s.size:
        lags = (
            f"effect of one spike by lag; {result.lag_s.size} lags from {result.lag_s[0]:g} s to {result.lag_s[-1]:g} s"
        )
        filters = np.ascontiguousarray(result.coupling_filters[post, pre])
        columns.append(VectorData(name="coupling_filter", description=lags, data=filters))
    file.add_analysis(
        DynamicTable(
            name="edges",
            description=f"couplings between units, {len(table)} of {result.n_units * (result.n_units - 1)} ordered pairs",
            columns=columns,
        )
    )


def _add_hidden(file: NWBFile, cut: Cut) -> None:
    from pynwb import TimeSeries

    result = cut.result
    if result.hidden is None or not result.hidden.time_s.size:
        return
    time_s = np.asarray(result.hidden.time_s, dtype=np.float64)
    regular = time_s.size > 1 and np.allclose(np.diff(time_s), result.bin_width_s, rtol=1e-6, atol=1e-9)
    clock: dict[str, Any] = (
        {"starting_time": float(time_s[0]), "rate": 1 / result.bin_width_s} if regular else {"timestamps": time_s}
    )
    module = file.create_processing_module("ecephys", "what was inferred about units that were not recorded")
    module.add(
        TimeSeries(
            name="hidden_rate",
            description="posterior mean rate of each hidden unit, one column per hidden unit in the order of /units; at bin starts",
            data=result.hidden.expected_count / result.bin_width_s,
            unit="Hz",
            **clock,
        )
    )
