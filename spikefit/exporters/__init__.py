"""Results in, files of other programs out.

`export` writes a result in one of `FORMATS`. A new format is a new module beside the others with one function,
`write(result, selection, path)`, and one line here. Matrices are `[post, pre]` unless `orient` says otherwise, and every
file says which it is; in tables and graphs the sender is called pre or source, the receiver post or target.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikefit.errors import UsageError, did_you_mean
from spikefit.exporters.protection import refuse_to_replace_originals
from spikefit.exporters.selection import POST_PRE, PRE_POST, Selection, select
from spikefit.files import explain_os_error, make_room_for, replacing, writing_folder

if TYPE_CHECKING:
    import networkx as nx

    from spikefit.results import Result
    from spikefit.spikes import SpikeTrains

__all__ = ["FORMATS", "POST_PRE", "PRE_POST", "Format", "Selection", "export", "format_named", "select", "to_networkx"]


@dataclass(frozen=True)
class Format:
    """A format that a result can be written in.

    Attributes:
        name: as `export --to` takes it.
        module: where its `write` is.
        suffix: ending of its files; empty where it is a folder.
        description: in one line, for lists.
        takes_trains: whether the spikes of the recording can go along.
    """

    name: str
    module: str
    suffix: str
    description: str
    takes_trains: bool = False


FORMATS = (
    Format("csv", "csv_tables", "", "a folder with edges.csv, units.csv and the matrix as connectivity.csv"),
    Format("graphml", "graphml", ".graphml", "a directed graph for Gephi, Cytoscape, igraph and networkx"),
    Format("gexf", "gexf", ".gexf", "a directed graph for Gephi"),
    Format("npz", "npz", ".npz", "numpy arrays"),
    Format("mat", "matlab", ".mat", "MATLAB 7 variables"),
    Format("h5", "h5", ".h5", "connectivity.h5, the whole result in one file"),
    Format(
        "nwb",
        "nwb",
        ".nwb",
        "a new NWB file: edges as a table, hidden units' rates as a time series",
        takes_trains=True,
    ),
    Format(
        "bids",
        "bids",
        "",
        "a BIDS derivative folder: tables of units and edges with their sidecars, and connectivity.h5",
    ),
)


def format_named(name: str) -> Format:
    """The format called `name`.

    Raises:
        UsageError: if there is none, with the nearest that there is.
    """
    for known in FORMATS:
        if known.name == name:
            return known
    raise UsageError(
        f"there is no export format {name!r}.", hint=did_you_mean(name, [known.name for known in FORMATS], limit=12)
    )


def to_networkx(result: Result, selection: Selection | None = None) -> nx.DiGraph:
    """A result as a directed graph: units as nodes, edges from sender to receiver, with what is known as attributes."""
    from spikefit.exporters.graph import graph_of

    return graph_of(select(result, selection or Selection()))


def export(
    result: Result,
    path: str | os.PathLike[str],
    *,
    to: str,
    selection: Selection | None = None,
    trains: SpikeTrains | None = None,
    linked: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `result` for another program, whole or not at all.

    Args:
        result: what to write.
        path: the new file; for `csv` the new folder, for `bids` the derivative's folder, to which a session is added.
        to: name of one of `FORMATS`.
        selection: which edges and units, and which way round matrices stand; by default all, `[post, pre]`.
        trains: spikes of the recording, to be copied where the format can hold them (`nwb`).
        linked: the recording, to be linked to instead where the format can (`nwb`).
        overwrite: whether something that is there already may be replaced.

    Raises:
        UsageError: if the format cannot hold what is asked, or `path` is taken, is the recording or a result folder, or
            cannot be written to.
        SpikefitError: if the disk is full.
    """
    chosen = format_named(to)
    path = Path(path)
    if (trains is not None or linked is not None) and not chosen.takes_trains:
        able = ", ".join(known.name for known in FORMATS if known.takes_trains)
        raise UsageError(f"{to} files cannot hold the spikes of the recording.", hint=f"choose {able} for that")
    module = importlib.import_module(f"spikefit.exporters.{chosen.module}")
    cut = select(result, selection or Selection())
    refuse_to_replace_originals(path, result, trains.source if trains is not None else None, linked)
    if hasattr(module, "refuse_taken"):
        module.refuse_taken(cut, path, overwrite=overwrite)
    else:
        _refuse_taken(path, overwrite=overwrite, folder=not chosen.suffix)
    make_room_for(path)
    if not chosen.suffix:
        with writing_folder(path, overwrite=True) as staging:  # what may not be replaced was refused above
            module.write(cut, staging)
        return path
    with replacing(path) as scratch:
        if chosen.takes_trains:
            module.write(cut, trains, scratch, None if linked is None else Path(linked))
        else:
            module.write(cut, scratch)
    return path


def _refuse_taken(path: Path, *, overwrite: bool, folder: bool) -> None:
    try:
        taken = any(path.iterdir()) if folder and path.is_dir() else os.path.lexists(path)
        wrong_kind = os.path.lexists(path) and path.is_dir() != folder
    except OSError as fault:
        raise explain_os_error(fault, path) from fault
    if wrong_kind:
        what = "a folder" if folder else "a file"
        raise UsageError(f"{path} is there already and is not {what}, which this format makes.", hint="pass another -o")
    if taken and not overwrite:
        raise UsageError(f"{path} is there already; it was left as it is.", hint="pass --overwrite, or another -o")
