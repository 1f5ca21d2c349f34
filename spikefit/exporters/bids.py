"""A derivative in the layout of BIDS: one folder for many sessions, tables as TSV, a JSON sidecar beside each.

    OUT/dataset_description.json
    OUT/sub-A2929/ses-200711/ecephys/sub-A2929_ses-200711_desc-spikefit_edges.tsv   (and units, connectivity, …)

BIDS 1.10 has rules for derivatives but no suffix for couplings between neurons; the suffixes below are ours, and
`dataset_description.json` marks the folder as a derivative, which validators do not hold to the rules of raw data.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.errors import UsageError
from spikefit.exporters.selection import POST_PRE, Cut
from spikefit.files import explain_os_error
from spikefit.results import Result, to_json
from spikefit.results.edges import EDGE_COLUMNS
from spikefit.results.saving import generator, h5_bytes
from spikefit.results.schema import ABOUT
from spikefit.results.tables import unit_columns, write_tsv

BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"
DATATYPE = "ecephys"

_EDGE_ABOUT = {
    "pre_id": ("the unit that sends", None),
    "post_id": ("the unit that receives", None),
    "pre_kind": ("visible (recorded) or hidden (inferred)", None),
    "post_kind": ("visible (recorded) or hidden (inferred)", None),
    "weight": (ABOUT["connectivity"].description, "drive per spike"),
    "peak_lag_s": ("lag at which the coupling filter is largest in size", "s"),
    "n_pre_spikes": ("spikes of the sender in the fitted time; expected ones for a hidden unit", None),
    "n_post_spikes": ("spikes of the receiver in the fitted time; expected ones for a hidden unit", None),
}


def session_of(result: Result) -> tuple[str, str | None]:
    """The labels of subject and session, letters and digits alone, from what the recording said of itself."""
    known = result.provenance.get("session")
    known = known if isinstance(known, Mapping) else {}
    subject = _label(known.get("subject_id")) or _label(result.name) or "unknown"
    session = _label(known.get("session_id")) or _label(str(known.get("session_start_time") or "")[:10])
    return subject, session


def session_folder(result: Result, root: Path) -> Path:
    """Where the files of a result go inside the derivative."""
    subject, session = session_of(result)
    folder = root / f"sub-{subject}"
    return (folder / f"ses-{session}" if session else folder) / DATATYPE


def refuse_taken(cut: Cut, path: Path, *, overwrite: bool) -> None:
    """Raises:
    UsageError: if `path` is a file or another kind of folder, or holds this session already and may not be replaced.
    """
    try:
        if os.path.lexists(path) and not path.is_dir():
            raise UsageError(
                f"{path} is there already and is not a folder, which this format makes.", hint="pass another -o"
            )
        if path.is_dir() and any(path.iterdir()) and not _is_ours(path):
            raise UsageError(
                f"{path} holds something else than a BIDS derivative of spikefit; it was left as it is.",
                hint="pass another -o",
            )
        taken = session_folder(cut.result, path)
        if taken.exists() and not overwrite:
            raise UsageError(
                f"{taken} is there already; it was left as it is.", hint="pass --overwrite to replace it, or another -o"
            )
    except OSError as fault:
        raise explain_os_error(fault, path) from fault


def write(cut: Cut, root: Path) -> None:
    """Write the folder of one session and the description of the dataset into `root`."""
    result = cut.result
    subject, session = session_of(result)
    folder = session_folder(result, root)
    folder.mkdir(parents=True)
    stem = f"sub-{subject}" + (f"_ses-{session}" if session else "") + "_desc-spikefit"
    (root / DESCRIPTION).write_text(to_json(_description()), encoding="utf-8")
    common = _common(cut)
    edges = cut.edges()
    write_tsv(
        folder / f"{stem}_edges.tsv", EDGE_COLUMNS, zip(*(edges[key].tolist() for key in EDGE_COLUMNS), strict=True)
    )
    _sidecar(folder / f"{stem}_edges.json", common | {"NumberOfEdges": len(edges)}, _edge_columns())
    columns = unit_columns(result)
    write_tsv(folder / f"{stem}_units.tsv", columns, zip(*columns.values(), strict=True))
    _sidecar(folder / f"{stem}_units.json", common, _unit_about(list(columns)))
    matrix = cut.oriented(np.asarray(result.connectivity, dtype=np.float64))
    rows = ([unit, *row] for unit, row in zip(result.unit_id, matrix.tolist(), strict=True))
    write_tsv(folder / f"{stem}_connectivity.tsv", [cut.dims.replace(", ", "\\"), *result.unit_id], rows)
    meaning = {"Orientation": cut.meaning, "Units": "drive per spike", "Directed": True, "Weighted": True}
    _sidecar(folder / f"{stem}_connectivity.json", common | meaning, {})
    (folder / f"{stem}_metrics.json").write_text(result.metrics_json(), encoding="utf-8")
    if cut.selection.takes_all and cut.selection.orient == POST_PRE:
        (folder / f"{stem}_connectivity.h5").write_bytes(h5_bytes(result))


def _description() -> dict[str, Any]:
    name, _, version = generator().partition(" ")
    return {
        "Name": "spikefit: couplings between neurons, inferred from spike trains",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": name, "Version": version}],
    }


def _is_ours(path: Path) -> bool:
    try:
        makers = json.loads((path / DESCRIPTION).read_text(encoding="utf-8")).get("GeneratedBy", [])
        return any(maker.get("Name") == "spikefit" for maker in makers)
    except (OSError, ValueError, AttributeError):
        return False


def _common(cut: Cut) -> dict[str, Any]:
    result = cut.result
    source = result.provenance.get("input")
    known = source if isinstance(source, Mapping) else {}
    session = result.provenance.get("session")
    return {
        "Sources": [str(known["name"])] if known.get("name") else [],
        "SourceSHA256": known.get("sha256"),
        "BinWidth": result.bin_width_s,
        "NumberOfRecordedUnits": result.n_visible,
        "NumberOfHiddenUnits": result.n_hidden,
        "Session": dict(session) if isinstance(session, Mapping) else {},
        "Warnings": list(result.warnings),
    }


def _edge_columns() -> dict[str, dict[str, str]]:
    columns = {}
    for key in EDGE_COLUMNS:
        about, units = _EDGE_ABOUT.get(key) or (ABOUT[key].description, ABOUT[key].units)
        columns[key] = {"Description": about} | ({"Units": units} if units and units != "1" else {})
    return columns


def _unit_about(names: list[str]) -> dict[str, dict[str, str]]:
    columns = {}
    for name in names:
        known = ABOUT.get(f"units/{name}")
        columns[name] = {
            "Description": known.description if known else f"column {name!r} of the recording's unit table"
        }
        if known and known.units == "Hz":
            columns[name]["Units"] = "Hz"
    return columns


def _sidecar(path: Path, facts: dict[str, Any], columns: dict[str, dict[str, str]]) -> None:
    path.write_text(to_json(facts | columns), encoding="utf-8")


def _label(text: Any) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", str(text or ""))
