"""Hidden units of several fits matched to one another, and how stable each of them is.

Hidden units have no names: `hidden-0` of one fit may be `hidden-2` of another. Two sets are matched one to one so that the sum
of their likeness is largest (the Hungarian method; Kuhn, Naval Research Logistics Quarterly 2, 1955). Likeness is the mean of
two correlations: of what the units did (their posterior counts), and of what one of their spikes does to the recorded units.

A unit that other fits of the same recording find again is stable; one that they do not find hangs on where the fit started.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Another fit agrees on a unit from this likeness on.
AGREES = 0.75
# A unit on which fewer than this share of the other fits agree is unstable.
STABLE_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class HiddenSet:
    """The hidden units of one fit.

    Attributes:
        filters: what a spike of each adds to the drive of the recorded units, (hidden, post, lag).
        activity: its posterior counts in the same bins for all sets that are held against each other, (hidden, bin).
    """

    filters: Floats
    activity: Floats


@dataclass(frozen=True, eq=False)
class Stability:
    """How far other fits agree with the hidden units of one; h units, r other fits.

    Attributes:
        likeness: of the unit that each other fit matches to each, (h, r); 0 where that fit has none left for it.
        consensus: filters averaged over the fit itself and those that agree, each scaled to the fit's own, (h, post, lag).
        spread: standard deviation of those over the fits, (h, post, lag); NaN where no other fit agrees.
    """

    likeness: Floats
    consensus: Floats
    spread: Floats

    @property
    def score(self) -> Floats:
        """Mean likeness over the other fits, from 0 to 1; NaN without other fits; (h,)."""
        h, n = self.likeness.shape
        return np.clip(self.likeness, 0, 1).mean(axis=1) if n else np.full(h, np.nan)

    @property
    def n_agree(self) -> NDArray[np.int64]:
        """Other fits that agree on each unit, (h,)."""
        return np.asarray((self.likeness >= AGREES).sum(axis=1), dtype=np.int64)

    @property
    def unstable(self) -> NDArray[np.bool_]:
        """Units on which fewer than half of the other fits agree, (h,); none without other fits."""
        n = self.likeness.shape[1]
        return np.asarray(self.n_agree < STABLE_SHARE * n)


def correlations(a: Any, b: Any) -> Floats:
    """Pearson's r of every row of `a` with every row of `b`; NaN for fewer than three values or a constant row.

    Args:
        a: (row, value).
        b: (other row, value).
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape[1] < 3:
        return np.full((len(a), len(b)), np.nan)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    size = np.sqrt(np.outer(np.square(a).sum(axis=1), np.square(b).sum(axis=1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(size > 0, a @ b.T / size, np.nan))


def mean_likeness(*parts: Floats) -> Floats:
    """Mean of those parts that are known, entry by entry; NaN where none is."""
    both = np.stack(parts)
    n_known = np.isfinite(both).sum(axis=0)
    return np.asarray(np.where(n_known > 0, np.nansum(both, axis=0) / np.maximum(n_known, 1), np.nan))


def match(likeness: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows and columns one to one so that their likeness adds up to most; what is not known counts as unlike.

    Returns:
        Rows and the columns that go with them, as many as the shorter side has.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(np.nan_to_num(likeness, nan=-1.0), maximize=True)
    return rows, columns


def stability(kept: HiddenSet, others: Sequence[HiddenSet]) -> Stability:
    """Match the hidden units of other fits to those of the one that is kept.

    Args:
        kept: the hidden units that are reported.
        others: those of other fits of the same recording; they may have more.
    """
    own = kept.filters.reshape(len(kept.filters), -1)
    found = np.zeros((len(own), len(others)))
    aligned: list[list[Floats]] = [[filters] for filters in own]
    for k, other in enumerate(others):
        theirs = other.filters.reshape(len(other.filters), -1)
        likeness = mean_likeness(correlations(kept.activity, other.activity), correlations(own, theirs))
        for row, column in zip(*match(likeness), strict=True):
            found[row, k] = np.nan_to_num(likeness[row, column])
            if found[row, k] >= AGREES:
                # A unit that fires half as often with spikes twice as large is the same unit.
                scale = (own[row] @ theirs[column]) / (theirs[column] @ theirs[column])
                aligned[row].append(scale * theirs[column])
    consensus = np.array([np.mean(group, axis=0) for group in aligned]).reshape(kept.filters.shape)
    spread = np.array([np.std(g, axis=0, ddof=1) if len(g) > 1 else np.full(own.shape[1], np.nan) for g in aligned])
    return Stability(found, consensus, spread.reshape(kept.filters.shape))
