"""A folder of CSV tables: edges, units and the labelled matrix."""

from __future__ import annotations

from pathlib import Path

from spikefit.exporters.selection import Cut
from spikefit.results.tables import write_edges_csv, write_matrix_csv, write_units_csv


def write(cut: Cut, folder: Path) -> None:
    r"""Write `edges.csv` (the chosen edges), `units.csv` and `connectivity.csv` (every pair) into `folder`.

    The top left cell of the matrix says which way round it stands: `post\pre` when rows receive.
    """
    write_edges_csv(cut.result, folder / "edges.csv", cut.edges())
    write_units_csv(cut.result, folder / "units.csv")
    corner = cut.dims.replace(", ", "\\")
    write_matrix_csv(cut.oriented(cut.result.connectivity), cut.result.unit_id, corner, folder / "connectivity.csv")
