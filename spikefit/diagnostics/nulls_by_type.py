"""What no edge looks like, for each pair of types by itself: from inhibitory to excitatory units, from one area to another.

One null for all pairs is about right for none of them where their statistics scatter differently: of the widest group it calls
pairs that are no edges, and in the narrowest it misses edges. So every pair of types (sender → receiver) that has enough
pairs of units gets a centre and a spread of its own. The others share one: those within a type, and those between types, where that is
enough (`spikefit.pair_types.null_of_each`). The tail has one shape for all, because a hundred pairs do not show it (`fit_nulls`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.empirical_null import EmpiricalNull, fit_mixture, fit_null, fit_nulls
from spikefit.pair_types import Of, null_of_each

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DENSE_SHARE = 0.1  # with more edges than this among the pairs their tails are no longer few enough to be left out
RIGHT_SPREAD = 1.1

SHARED = {
    "within": "small groups within a type",
    "between": "small groups between types",
    "rest": "small groups together",
    "all": "all pairs",
}


@dataclass(frozen=True, eq=False)
class GroupNull:
    """The null of the pairs of two types.

    Attributes:
        pre_type: type of the senders; empty where there are no types.
        post_type: type of the receivers.
        members: which pairs they are, (post, pre).
        null: what no edge looks like among them.
        share_edges: of the pairs that it was fitted to, where edges are so many that both were fitted together.
        fitted_to: these pairs alone (`own`), or those of several groups; see `null_of_each`.
    """

    pre_type: str
    post_type: str
    members: Mask
    null: EmpiricalNull
    share_edges: float | None
    fitted_to: Of

    @property
    def named(self) -> str:
        """Sender and receiver, in words; of groups that share a null, what they have in common."""
        return f"{self.pre_type} → {self.post_type}" if self.fitted_to == "own" else SHARED[self.fitted_to]

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
    masks = {
        (pre, post): members
        for pre in sorted(set(types))
        for post in sorted(set(types))
        if (members := pairs & np.outer(kinds == post, kinds == pre)).any()
    }
    which = null_of_each({pair: int(members.sum()) for pair, members in masks.items()}, least)
    # Groups that share a null are fitted as one.
    key_of: dict[tuple[str, str], tuple[str, ...]] = {
        pair: pair if of == "own" else (of,) for pair, of in which.items()
    }
    fitted: dict[tuple[str, ...], Mask] = {}
    for pair, members in masks.items():
        fitted[key_of[pair]] = members | fitted.get(key_of[pair], False)
    if ("all",) in fitted:
        fitted[("all",)] = pairs
    nulls = fit_nulls([statistic[members] for members in fitted.values()])
    found: dict[tuple[str, ...], tuple[EmpiricalNull, float | None]] = {}
    for (key, members), null in zip(fitted.items(), nulls, strict=True):
        mixed = _beside_edges(statistic[members]) if dense else None
        found[key] = (null, None) if mixed is None else mixed
    groups = [GroupNull(*pair, members, *found[key_of[pair]], which[pair]) for pair, members in masks.items()]
    return tuple(sorted(groups, key=lambda group: -int(group.members.sum())))
