"""Which edges and units of a result are exported, and which way round its matrices stand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.results import Result

POST_PRE, PRE_POST = "post-pre", "pre-post"


@dataclass(frozen=True)
class Selection:
    """What of a result is asked for.

    Attributes:
        orient: `post-pre` (row receives, the default) or `pre-post` (row sends), for matrices.
        q: keep edges whose q-value is at most this.
        top: keep this many of the strongest edges by absolute weight.
        visible_only: leave hidden units and their edges out.
    """

    orient: str = POST_PRE
    q: float | None = None
    top: int | None = None
    visible_only: bool = False

    def __post_init__(self) -> None:
        if self.orient not in (POST_PRE, PRE_POST):
            raise UsageError(f"--orient must be {POST_PRE} or {PRE_POST}, got {self.orient!r}.")
        if self.q is not None and not 0 < self.q <= 1:
            raise UsageError(f"--q must lie in (0, 1], got {self.q}.", hint="pass --q 0.05, say")
        if self.top is not None and self.top < 1:
            raise UsageError(f"--top must be at least 1, got {self.top}.", hint="pass --top 100, say")

    @property
    def takes_all(self) -> bool:
        """Whether no edge is left out."""
        return self.q is None and self.top is None


@dataclass(frozen=True, eq=False)
class Cut:
    """A result cut down to what was asked for.

    Attributes:
        result: the result, without hidden units where they were left out.
        is_edge: the chosen edges, `[post, pre]`; never the diagonal.
        selection: what was asked for.
    """

    result: Result
    is_edge: NDArray[np.bool_]
    selection: Selection

    def edges(self) -> NDArray[np.void]:
        """The chosen rows of the edge table, sender after sender."""
        table = self.result.edges()
        off_diagonal = ~np.eye(self.result.n_units, dtype=bool)
        chosen: NDArray[np.void] = table[self.is_edge.T[off_diagonal.T]]
        return chosen

    def oriented(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """A `[post, pre, …]` array the way round that was asked for."""
        return np.swapaxes(matrix, 0, 1) if self.selection.orient == PRE_POST else matrix

    @property
    def dims(self) -> str:
        """The names of the first two axes of what `oriented` returns."""
        return "pre, post" if self.selection.orient == PRE_POST else "post, pre"

    @property
    def meaning(self) -> str:
        """The orientation as a sentence."""
        return "row sends, column receives" if self.selection.orient == PRE_POST else "row receives, column sends"


def select(result: Result, selection: Selection) -> Cut:
    """Cut `result` down to `selection`.

    Raises:
        UsageError: if edges are asked for by q-value and the result has none.
    """
    if selection.visible_only:
        result = without_hidden(result)
    is_edge = ~np.eye(result.n_units, dtype=bool)
    if selection.q is not None:
        if np.isnan(result.q_value).all():
            raise UsageError(
                f"{result.name}: this result has no q-values, so edges cannot be chosen by --q {selection.q:g}.",
                hint="choose by --top instead",
            )
        is_edge &= result.q_value <= selection.q  # NaN is no call
    if selection.top is not None:
        size = np.where(is_edge & np.isfinite(result.connectivity), np.abs(result.connectivity), -1.0)
        strongest = np.argsort(-size, axis=None, kind="stable")[: selection.top]
        kept = np.zeros(size.size, dtype=bool)
        kept[strongest] = size.ravel()[strongest] >= 0
        is_edge &= kept.reshape(size.shape)
    return Cut(result, is_edge, selection)


def without_hidden(result: Result) -> Result:
    """The recorded units alone; couplings stay as they were fitted beside the hidden units."""
    if not result.n_hidden:
        return result
    kept = result.visible
    pairs = ("connectivity", "coupling_filters", "std_error", "ci_low", "ci_high", "p_value", "q_value")
    return dataclasses.replace(
        result,
        unit_id=result.unit_id[kept],
        unit_kind=result.unit_kind[kept],
        baseline=result.baseline[kept],
        units=tuple(row for row in result.units if row.kind == "visible"),
        hidden=None,
        common_drive=None,
        covariates=None,
        excerpt=None,
        diagnostics={key: value for key, value in result.diagnostics.items() if not key.startswith("hidden_")},
        parameters={},  # they belong to the model with the hidden units and can score nothing without them
        warnings=(*result.warnings, f"{result.n_hidden} hidden units were left out of this export"),
        **{key: getattr(result, key)[kept, kept] for key in pairs},
    )
