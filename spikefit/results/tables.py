"""`edges.csv` and `units.csv`: UTF-8, comma separated, one header line, an empty cell for what is not known.

Numbers are written with the fewest digits that give the same float64 back. pandas reads the empty cells as NaN; read
ids as text (`dtype={"pre_id": str, "post_id": str}`, `keep_default_na=False, na_values={"weight": "", …}`) where they
look like numbers or like "NA".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikefit.results.edges import EDGE_COLUMNS

if TYPE_CHECKING:
    from spikefit.results.model import Result

_MARKS = (",", '"', "\n", "\r")
UNIT_COLUMNS = ("id", "kind", "kept", "reason", "n_spikes", "rate_hz")

# Further columns that fits write: what they mean must not hang on what the recording's own table happens to hold.
FIT_COLUMNS = frozenset(
    (
        *("pair_type", "observed_s", "dispersion", "attenuation"),
        *("simulated_rate_hz", "simulated_rate_se_hz", "fano_factor", "simulated_fano_factor"),
        *("judged_spikes", "bits_per_spike", "pseudo_r2", "ks_distance", "ks_p_value", "ks_q_value"),
        *("interval_correlation", "interval_correlation_p_value"),
        *("stability", "fits_agreeing", "fits_compared", "unstable"),
    )
)


def write_edges_csv(result: Result, path: Path, rows: NDArray[np.void] | None = None) -> None:
    """One row per ordered pair, or the given rows of `Result.edges`; columns are `EDGE_COLUMNS`, then the further ones of the table."""
    table = result.edges() if rows is None else rows
    names = table.dtype.names or EDGE_COLUMNS
    columns = [_cells(table[key]) for key in names]
    _write(path, names, zip(*columns, strict=True))


def write_units_csv(result: Result, path: Path) -> None:
    """One row per unit, dropped ones included; `UNIT_COLUMNS`, then the further columns of the recording."""
    columns = unit_columns(result)
    cells = [[_cell(value) for value in values] for values in columns.values()]
    _write(path, tuple(columns), zip(*cells, strict=True))


def write_matrix_csv(matrix: NDArray[Any], ids: tuple[str, ...], corner: str, path: Path) -> None:
    """A square matrix with unit ids along both edges; `corner` says what stands in rows and columns."""
    rows = ([_cell(unit_id), *_cells(row)] for unit_id, row in zip(ids, matrix, strict=True))
    _write(path, (corner, *ids), rows)


def write_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Any table: UTF-8, comma separated, one header line, an empty cell for None and NaN."""
    _write(path, tuple(header), ([_cell(value) for value in row] for row in rows))


def write_tsv(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table as BIDS wants it: tabs between cells, `n/a` for what is not known, no quotes; line breaks become spaces."""

    def cell(value: Any) -> str:
        if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
            return "n/a"
        if isinstance(value, bool):
            return "true" if value else "false"
        return " ".join(value.split()) if isinstance(value, str) else repr(value)

    with path.open("w", encoding="utf-8", newline="") as handle:
        handle.write("\t".join(cell(name) for name in header) + "\n")
        handle.writelines("\t".join(cell(value) for value in row) + "\n" for row in rows)


def kept_as(names: Iterable[str]) -> dict[str, str]:
    """Under which name a result keeps each column of the recording's unit table: its own, with `unit_` before it where fits write such a column."""
    names, out = list(names), {}
    for name in names:
        new = name
        while new in FIT_COLUMNS or (new != name and new in names):
            new = f"unit_{new}"
        out[name] = new
    return out


def unit_columns(result: Result) -> dict[str, list[Any]]:
    """The unit table by column; a further column whose name is taken already gets the prefix `unit_`."""
    columns: dict[str, list[Any]] = {key: [getattr(row, key) for row in result.units] for key in UNIT_COLUMNS}
    for key in dict.fromkeys(key for row in result.units for key in row.columns):
        name = key
        while name in columns:
            name = f"unit_{name}"
        columns[name] = [row.columns.get(key) for row in result.units]
    return columns


def _cells(column: NDArray[Any]) -> list[str]:
    """The cells of a whole column; a thousand units have a million pairs."""
    if column.dtype.kind == "f":
        if np.isnan(column).all():
            return [""] * column.size
        return ["" if value != value else repr(value) for value in column.tolist()]
    if column.dtype.kind == "U":
        texts = column.tolist()
        known = {text: _cell(text) for text in set(texts)}
        return [known[text] for text in texts]
    return [str(value) for value in column.tolist()]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # The writer of the csv module leaves a lone carriage return bare, and readers break the line there.
        return '"' + value.replace('"', '""') + '"' if any(mark in value for mark in _MARKS) else value
    return repr(value)


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        handle.write(",".join(_cell(name) for name in header) + "\n")
        handle.writelines(",".join(row) + "\n" for row in rows)
