"""What no edge looks like, for each pair of types by itself: from inhibitory to excitatory units, from one area to another.

One null for all pairs is about right for none of them where their statistics scatter differently: of the widest group it calls
pairs that are no edges, and in the narrowest it misses edges. So every pair of types (sender → receiver) that has enough
pairs of units gets a centre and a spread of its own. The others share one, fitted to all of them, or to all pairs where even
together they are too few. The tail has one shape for all, because a hundred pairs do not show it (`fit_nulls`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.empirical_null import EmpiricalNull, fit_mixture, fit_null, fit_nulls

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DENSE_SHARE = 0.1  # with more edges than this among the pairs their tails are no longer few enough to be left out
RIGHT_SPREAD = 1.1

Of = Literal["own", "rest", "all"]


@dataclass(frozen=True, eq=False)
class GroupNull:
    """The null of the pairs of two types.

    Attributes:
        pre_type: type of the senders; empty where there are no types.
        post_type: type of the receivers.
        members: which pairs they are, (post, pre).
        null: what no edge looks like among them.
        share_edges: of the pairs that it was fitted to, where edges are so many that both were fitted together.
        fitted_to: these pairs alone (`own`), all pairs of types that are too small for that (`rest`), or `all`.
    """

    pre_type: str
    post_type: str
    members: Mask
    null: EmpiricalNull
    share_edges: float | None
    fitted_to: Of

    @property
    def named(self) -> str:
        """Sender and receiver, in words."""
        return f"{self.pre_type} → {self.post_type}"

    def told(self, called: Mask) -> dict[str, Any]:
        """For `metrics.json`; `called` are the edges, (post, pre)."""
        row: dict[str, Any] = {
            "pre_type": self.pre_type,
            "post_type": self.post_type,
            "n_pairs": int(self.members.sum()),
            "fitted_to": self.fitted_to,
            "n_fitted": self.null.n,
            "centre": self.null.centre,
            "spread": self.null.spread,
            "shape": self.null.shape,
            "n_edges": int((called & self.members).sum()),
        }
        return row if self.share_edges is None else {**row, "share_edges": self.share_edges}


def one_null(statistic: Array, *, dense: bool) -> tuple[EmpiricalNull, float | None]:
    """The null of all pairs together, and the share of edges where they were fitted beside it.

    Args:
        statistic: of the pairs, (n,), finite.
        dense: whether edges may be many: where the bulk is as narrow as the standard errors say, wide tails are then edges.
    """
    mixed = _beside_edges(statistic) if dense else None
    return (fit_null(statistic), None) if mixed is None else mixed


def _beside_edges(statistic: Array) -> tuple[EmpiricalNull, float] | None:
    mixed = fit_mixture(statistic)
    if mixed.share >= DENSE_SHARE and mixed.null.spread <= RIGHT_SPREAD:
        return mixed.null, mixed.share
    return None


def nulls_by_type(
    statistic: Array, pairs: Mask, types: Sequence[str], *, dense: bool, least: int
) -> tuple[GroupNull, ...]:
    """A null for every pair of types that occurs among the pairs, the largest groups first.

    Args:
        statistic: (post, pre); finite on `pairs`.
        pairs: which entries are tested.
        types: of the units, in their order.
        dense: as for `one_null`.
        least: pairs that a group needs for a null of its own.
    """
    kinds = np.array(types, dtype=object)
    groups = []
    for pre in sorted(set(types)):
        for post in sorted(set(types)):
            members = pairs & np.outer(kinds == post, kinds == pre)
            if members.any():
                groups.append((pre, post, members))
    groups.sort(key=lambda group: -int(group[2].sum()))
    own = [members for _, _, members in groups if members.sum() >= least]
    small = [members for _, _, members in groups if members.sum() < least]
    rest = np.any(small, axis=0) if small else np.zeros_like(pairs)
    # The last one is for those that have none of their own.
    fitted = [*own, *([rest if rest.sum() >= least else pairs] if small else [])]
    found: list[tuple[EmpiricalNull, float | None]] = []
    for members, null in zip(fitted, fit_nulls([statistic[members] for members in fitted]), strict=True):
        mixed = _beside_edges(statistic[members]) if dense else None
        found.append((null, None) if mixed is None else mixed)
    shared: Of = "rest" if rest.sum() >= least else "all"
    out = []
    for k, (pre, post, members) in enumerate(groups):
        place, of = (k, "own") if k < len(own) else (len(own), shared)
        out.append(GroupNull(pre, post, members, *found[place], of))  # type: ignore[arg-type]
    return tuple(out)
