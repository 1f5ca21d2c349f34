"""`connectivity.h5`, the whole result in one file, for passing on."""

from __future__ import annotations

from pathlib import Path

from spikefit.errors import UsageError
from spikefit.exporters.selection import POST_PRE, Cut
from spikefit.results.saving import h5_bytes


def write(cut: Cut, path: Path) -> None:
    """Write the file that `load_result` reads.

    Raises:
        UsageError: for a choice of edges or another orientation: the layout is fixed, all pairs, `[post, pre]`.
    """
    if not cut.selection.takes_all:
        raise UsageError(
            "h5 keeps every pair, so --q and --top cannot be held.", hint="choose csv, graphml, npz or mat"
        )
    if cut.selection.orient != POST_PRE:
        raise UsageError(
            "the layout of h5 is fixed: row receives, column sends.",
            hint="leave --orient out, or choose csv, npz or mat",
        )
    path.write_bytes(h5_bytes(cut.result))
