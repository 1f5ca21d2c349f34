"""A new NWB file that carries a result; the file of the recording is never touched.

A table of units has one row per fitted unit, hidden ones last; `/analysis/edges` is a table of the chosen edges whose columns
`pre` and `post` refer to its rows; `/processing/ecephys/hidden_rate` is the posterior rate of the hidden units in Hz. Where the
units' spikes are

* not taken along, the table is `/analysis/units`: a units table of NWB without spikes would say that nobody fired;
* copied, it is `/units`, with the spikes of the fitted time;
* linked, it is `/units`, and `spike_times` is a virtual dataset: all spikes of the fitted units, read out of the recording's file
  wherever that lies beside this one. Where it is gone they read as NaN.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.errors import UsageError
from spikefit.exporters.nwb_session import free_name, nwb_file
from spikefit.exporters.selection import Cut
from spikefit.results.digest import digest
from spikefit.results.edges import EDGE_COLUMNS
from spikefit.results.saving import sha256_of
from spikefit.results.schema import ABOUT

if TYPE_CHECKING:
    from pynwb import NWBFile

    from spikefit.results import Result, UnitRow
    from spikefit.spikes import SpikeTrains

_OWN_COLUMNS = ("unit_name", "kind", "n_spikes", "rate_hz", "baseline")
_EDGE_ABOUT = {
    "weight": ABOUT["connectivity"].description,
    "peak_lag_s": "lag at which the coupling filter is largest in absolute value, in seconds",
    "n_pre_spikes": "spikes of the sender in the fitted time; expected ones for a hidden unit",
    "n_post_spikes": "spikes of the receiver in the fitted time; expected ones for a hidden unit",
}


def write(cut: Cut, trains: SpikeTrains | None, path: Path, linked: Path | None = None) -> None:
    """Write a file that pynwb's validator accepts.

    Args:
        cut: what of the result.
        trains: spikes to copy along.
        path: the new file.
        linked: the NWB file that the result was made from, whose spikes are linked to.

    Raises:
        UsageError: if the spikes that are passed lack a unit of the result, or `linked` cannot be linked to.
    """
    from pynwb import NWBHDF5IO

    file = _file(cut)
    table, place = _add_units(file, cut, trains, with_spikes=linked is not None)
    _add_edges(file, cut, table, place)
    _add_hidden(file, cut)
    with NWBHDF5IO(str(path), mode="w") as io:
        io.write(file)
    if linked is not None:
        link_spikes(path, cut.result, linked)


def _file(cut: Cut) -> NWBFile:
    result = cut.result
    known = result.provenance.get("session")
    return nwb_file(
        {str(key): str(value) for key, value in known.items()} if isinstance(known, Mapping) else {},
        description=f"Connectivity inferred by spikefit from {result.name}.",
        identifier=digest(result),
        source_script="spikefit export --to nwb",
        source_script_file_name="spikefit",
        experiment_description="Couplings between recorded and unrecorded neurons, inferred from spike trains.",
        keywords=["connectivity", "spike trains", "coupling", "hidden neurons"],
        notes=f"Bins of {result.bin_width_s:g} s. Weights are in units of the drive before the nonlinearity.",
    )


def _add_units(file: NWBFile, cut: Cut, trains: SpikeTrains | None, *, with_spikes: bool) -> tuple[Any, dict[str, int]]:
    """A table with a row for every fitted unit, and the row of each; `with_spikes` makes room for spikes that come later."""
    from hdmf.common import DynamicTable
    from pynwb.misc import Units

    result = cut.result
    about = "units of the fit: recorded ones first, then hidden ones"
    is_units = trains is not None or with_spikes
    table = Units(name="units", description=about) if is_units else DynamicTable(name="units", description=about)
    if is_units:
        file.units = table
    else:
        file.add_analysis(table)
    if trains is not None:
        lacking = [unit_id for unit_id in result.unit_id[result.visible] if unit_id not in set(trains.unit_ids)]
        if lacking:
            raise UsageError(
                f"{trains.name} lacks {len(lacking)} units of this result (first: {lacking[0]!r}).",
                hint="pass the recording that the result was made from",
            )
    columns = unit_facts(cut, result.unit_rows)
    for name, (text, _) in columns.items():
        table.add_column(name=name, description=text)
    for place, row in enumerate(result.unit_rows):
        spikes: dict[str, Any] = {}
        if trains is not None:
            visible = row.kind == "visible"
            spikes["spike_times"] = trains[row.id] if visible else np.empty(0)
            spikes["obs_intervals"] = trains.intervals_s if visible else np.empty((0, 2))
        elif with_spikes:
            spikes["spike_times"] = np.empty(0)
        values = {name: cells[place] for name, (_, cells) in columns.items()} | spikes
        table.add_unit(**values) if is_units else table.add_row(**values)
    return table, {unit_id: k for k, unit_id in enumerate(result.unit_id)}


def unit_facts(cut: Cut, rows: Sequence[UnitRow]) -> dict[str, tuple[str, list[Any]]]:
    """What is known of units by column: a description and a value for each of `rows`."""
    baseline = dict(zip(cut.result.unit_id, cut.result.baseline.tolist(), strict=True))
    facts: dict[str, tuple[str, list[Any]]] = {
        "unit_name": ("id of the unit in the recording; hidden-0, hidden-1, … for inferred ones", [r.id for r in rows]),
        "kind": (
            "visible (recorded) or hidden (inferred)",
            [row.kind for row in rows],
        ),
        "n_spikes": (
            "spikes in the fitted time; for hidden units expected spikes, rounded",
            [row.n_spikes for row in rows],
        ),
        "rate_hz": ("mean rate over the fitted time, in Hz", [row.rate_hz for row in rows]),
        "baseline": (
            "drive of the unit with nobody spiking",
            [baseline[row.id] for row in rows],
        ),
    }
    return facts | _text_columns(rows)


def link_spikes(path: Path, result: Result, recording: Path) -> None:
    """Fill the empty spike times of `path` with a virtual dataset over those of the recording.

    Raises:
        UsageError: if `recording` is not the NWB file that the result was made from, or has other rows than the result knows.
    """
    import h5py

    instead = "pass --recording copy"
    known = result.provenance.get("input")
    if not recording.is_file():
        raise UsageError(f"{recording}: there is no such file.", hint="name the recording with --recording-file FILE")
    if not isinstance(known, Mapping) or sha256_of(recording) != known.get("sha256"):
        raise UsageError(
            f"{recording} is not the file that this result was made from, so its rows may mean other units.",
            hint=instead,
        )
    # The unit table of a result has a row for every unit of the recording, in the order of its file.
    rows = [row.id for row in result.units if row.kind == "visible"]
    try:
        with h5py.File(recording.resolve(), "r") as file:
            times, ends = file["units/spike_times"], file["units/spike_times_index"][()].astype(np.int64)
            source = h5py.VirtualSource(
                os.path.relpath(recording.resolve(), path.resolve().parent),
                "units/spike_times",
                times.shape,
                times.dtype,
            )
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as fault:
        raise UsageError(f"{recording}: there is no NWB 2 units table at /units to link to.", hint=instead) from fault
    if len(rows) != ends.size:
        raise UsageError(
            f"{recording} has {ends.size} units and the result knows of {len(rows)}, so they cannot be told apart by their rows.",
            hint=instead,
        )
    starts = np.concatenate([[0], ends[:-1]])
    row_of = {unit: row for row, unit in enumerate(rows)}
    chosen = [row_of[unit] for unit in result.unit_id[result.visible]]
    sizes = [int(ends[row] - starts[row]) for row in chosen]
    new_ends = np.concatenate([np.cumsum(sizes), np.full(result.n_hidden, sum(sizes))]).astype(np.uint64)
    layout = h5py.VirtualLayout((sum(sizes),), source.dtype)
    at = 0
    for row, size in zip(chosen, sizes, strict=True):
        if size:
            layout[at : at + size] = source[int(starts[row]) : int(ends[row])]
        at += size
    with h5py.File(path, "r+") as file:
        units = file["units"]
        kept = {name: dict(units[name].attrs) for name in ("spike_times", "spike_times_index")}
        for name in kept:
            del units[name]
        virtual = units.create_virtual_dataset("spike_times", layout, fillvalue=np.nan)
        units.create_dataset("spike_times_index", data=new_ends)
        for name, attributes in kept.items():
            for key, value in attributes.items():
                units[name].attrs[key] = virtual.ref if key == "target" else value


def _text_columns(rows: Sequence[UnitRow]) -> dict[str, tuple[str, list[Any]]]:
    """Further unit columns under names that NWB takes: numbers where all are, else text."""
    columns: dict[str, tuple[str, list[Any]]] = {}
    for key in dict.fromkeys(key for row in rows for key in row.columns):
        name = free_name(key, columns | dict.fromkeys(_OWN_COLUMNS))
        values = [row.columns.get(key) for row in rows]
        numeric = all(value is None or type(value) in (int, float) for value in values)
        filled = (
            [np.nan if v is None else float(v) for v in values]
            if numeric
            else ["" if v is None else str(v) for v in values]
        )
        columns[name] = (f"column {key!r} of the recording's unit table", filled)
    return columns


def _add_edges(file: NWBFile, cut: Cut, units: Any, place: Mapping[str, int]) -> None:
    from hdmf.common import DynamicTable, DynamicTableRegion, VectorData

    result, table = cut.result, cut.edges()
    if not len(table):
        return
    pre = np.array([place[text] for text in table["pre_id"].tolist()])
    post = np.array([place[text] for text in table["post_id"].tolist()])
    columns: list[Any] = [
        DynamicTableRegion(name="pre", description="the unit that sends", data=pre, table=units),
        DynamicTableRegion(name="post", description="the unit that receives", data=post, table=units),
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
        at = {unit_id: k for k, unit_id in enumerate(result.unit_id)}
        posts, pres = ([at[text] for text in table[key].tolist()] for key in ("post_id", "pre_id"))
        filters = np.ascontiguousarray(result.coupling_filters[posts, pres])
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
