"""What simpler methods make of the recording of a fit, as it stands beside the fit; `spikefit.baselines` makes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.results.documents import plain

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Method:
    """What one method says of every pair of recorded units.

    Attributes:
        name: of the method.
        strength: signed, in the method's own unit; (post, pre), NaN on the diagonal.
        called: pairs that it takes for edges, (post, pre).
        rule: by which.
    """

    name: str
    strength: Array
    called: NDArray[np.bool_]
    rule: str


@dataclass(frozen=True)
class MethodRow:
    """One line of the table.

    Attributes:
        method: its name.
        called: edges.
        also_in_fit: of those, edges of the fit, too.
        rank_correlation: Spearman's r over pairs of sizes with those of the fit.
        rule: how edges were called.
        auc, average_precision: of the ranking by size, where the truth is known; else NaN.
        false_share, recall: of the edges called, where the truth is known; else NaN.
    """

    method: str
    called: int
    also_in_fit: int
    rank_correlation: float
    rule: str
    auc: float
    average_precision: float
    false_share: float
    recall: float


@dataclass(frozen=True, eq=False)
class BaselineTable:
    """A fit beside simpler methods.

    Attributes:
        name: of the result.
        unit_id: recorded units, in the order of the matrices.
        methods: the fit first.
        rows: the table.
        notes: what the reader must know.
        true: the edges, (post, pre), where they are known.
    """

    name: str
    unit_id: tuple[str, ...]
    methods: tuple[Method, ...]
    rows: tuple[MethodRow, ...]
    notes: tuple[str, ...]
    true: NDArray[np.bool_] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values; what is not known is None."""
        values: dict[str, Any] = plain({"name": self.name, "baselines": self.rows, "notes": self.notes})
        return values

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page and its tables into `folder`, whole or not at all.

        Raises:
            UsageError: if the folder holds anything and `overwrite` is not set, holds a result, or cannot be written to.
        """
        from spikefit.comparison.saving import save_baselines

        return save_baselines(self, Path(folder), overwrite=overwrite)

    def _repr_html_(self) -> str:
        from spikefit.comparison.methods_page import methods_section

        return str(methods_section(self))
