"""Two results fold by fold, where both set aside the same stretches of time.

Each result is taken with the number of hidden units that it kept. Factorials of the counts are left out of the scores of folds; on the same
bins they are the same for both and drop out of the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikefit.comparison.folds import FoldTable, fold_scores
from spikefit.comparison.ratios import ratio_and_error
from spikefit.comparison.scores import not_comparable
from spikefit.results import Result


@dataclass(frozen=True)
class FoldDifference:
    """How much better the second of two results predicts in the folds of both.

    Attributes:
        value: second minus first in nats per bin, over the bins of all folds; NaN where the folds cannot be paired.
        error: its standard error over folds.
        fold_difference_nats_per_bin: the same in each fold; empty where they cannot be paired.
        why: how it was made, or why it cannot be.
    """

    value: float
    error: float
    fold_difference_nats_per_bin: tuple[float, ...]
    why: str


def fold_difference(first: Result, second: Result, tables: tuple[FoldTable, FoldTable]) -> FoldDifference | None:
    """Pair two results over their folds; None where one has no folds.

    Args:
        first: one result.
        second: the other, whose gain over the first is told.
        tables: the folds of each.
    """
    if not all(table.rows for table in tables):
        return None
    obstacle = not_comparable(first, second) or _other_folds(first, second, tables)
    if obstacle:
        return FoldDifference(math.nan, math.nan, (), obstacle)
    one, other = (np.array(fold_scores(result)[result.n_hidden]) for result in (first, second))
    bins = np.array(tables[0].fold_bins, dtype=np.float64)
    value, error = ratio_and_error((other - one) * bins, bins)
    kept = f"with {first.n_hidden} and {second.n_hidden} hidden units"
    return FoldDifference(
        value, error, tuple((other - one).tolist()), f"paired over {bins.size} folds of the same seconds, {kept}"
    )


def _other_folds(first: Result, second: Result, tables: tuple[FoldTable, FoldTable]) -> str | None:
    """Why the folds of two results of one recording cannot be paired; None where they can."""
    if not math.isclose(first.bin_width_s, second.bin_width_s, rel_tol=1e-9):
        return "not paired: the bin widths differ, so nats per bin mean different things"
    if not all(table.fold_bins for table in tables):
        return "not paired: the scores of the folds of a result are not known"
    if any(result.n_hidden not in fold_scores(result) for result in (first, second)):
        return "not paired: a result does not have a number of hidden units that its folds judged"
    times = [_intervals_s(result) for result in (first, second)]
    if not all(times):
        return "not paired: a result does not record when its folds lie; fit it anew"
    same = len(times[0]) == len(times[1]) and all(
        a.shape == b.shape and np.all(np.abs(a - b) < 0.5 * first.bin_width_s) for a, b in zip(*times, strict=True)
    )
    if not same or tables[0].fold_bins != tables[1].fold_bins:
        return (
            "not paired: the results set aside other stretches of time (another --folds, --window, --heldout or --seed)"
        )
    return None


def _intervals_s(result: Result) -> list[Any]:
    """Start and end of the stretches of each fold, in seconds; empty where it is not known."""
    cross = result.metrics.get("cross_validation")
    told = cross.get("fold_intervals_s") if isinstance(cross, dict) else None
    return [np.array(fold, dtype=np.float64) for fold in told or ()]
