"""What lies in a result folder, for whoever finds one and wonders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikefit.results.documents import plain
from spikefit.results.layout import MAIN_FILE, RESULT_FILES
from spikefit.results.loading import load_result
from spikefit.results.model import Result
from spikefit.results.schema import FORMAT

Q_LEVEL = 0.05


def overview(path: str | Path) -> dict[str, Any]:
    """A result in plain values: what it is, when and how it was made, units, scores, warnings and files.

    Raises:
        ResultError: if there is no result at `path`, or one that cannot be read.
    """
    import h5py

    path = Path(path)
    result: Result = load_result(path)
    main = path / MAIN_FILE if path.is_dir() else path
    with h5py.File(main, "r") as file:
        made = {key: str(file.attrs[key]) for key in ("generator", "created_utc") if key in file.attrs}
    known = np.isfinite(result.q_value)
    np.fill_diagonal(known, False)  # a unit's own history is no edge
    dropped = [{"id": row.id, "reason": row.reason} for row in result.units if not row.kept]
    found = {
        "format": FORMAT,
        "name": result.name,
        **made,
        "argv": result.provenance.get("argv"),
        "recording": (result.provenance.get("input") or {}).get("name"),
        "n_visible": result.n_visible,
        "n_hidden": result.n_hidden,
        "dropped_units": dropped,
        "bin_width_s": result.bin_width_s,
        "window_s": float(result.lag_s[-1]) if result.lag_s.size else None,
        "edges": {
            "n_pairs": result.n_units * (result.n_units - 1),
            "n_with_q_value": int(known.sum()),
            "q_level": Q_LEVEL,
            "n_called": int((result.q_value[known] <= Q_LEVEL).sum()) if known.any() else None,
        },
        "metrics": result.metrics,
        "warnings": result.warnings,
        "files": _files(path) if path.is_dir() else {path.name: path.stat().st_size},
    }
    values: dict[str, Any] = plain(found)
    return values


def _files(folder: Path) -> dict[str, int]:
    """Bytes of each file by name, those of a result first; further ones of the folder after them."""
    sizes = {
        entry.name: entry.stat().st_size
        for entry in sorted(folder.iterdir())
        if entry.is_file() and not entry.name.startswith(".")
    }
    order = {name: place for place, name in enumerate(RESULT_FILES)}
    return {name: sizes[name] for name in sorted(sizes, key=lambda name: (order.get(name, len(order)), name))}
