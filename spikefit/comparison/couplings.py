"""Couplings of two results between the units that both recorded, matched by id."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.results import Result


@dataclass(frozen=True, eq=False)
class CommonPairs:
    """The ordered pairs of two different units that all results hold; `k` results, `p` pairs.

    Attributes:
        unit_ids: the recorded units in common, in the order of the first result.
        pre, post: ids of every pair, shape (p,).
        weight: of every pair in every result, shape (k, p).
        q_value: the same; NaN where not known.
    """

    unit_ids: tuple[str, ...]
    pre: NDArray[np.str_]
    post: NDArray[np.str_]
    weight: NDArray[np.float64]
    q_value: NDArray[np.float64]


@dataclass(frozen=True)
class CouplingAgreement:
    """How far two results agree on the couplings between the same units.

    Attributes:
        n_pairs: ordered pairs that both hold with finite weights.
        correlation: Pearson's r of the weights over these pairs; NaN for fewer than three or constant ones.
        rank_correlation: Spearman's.
        chosen_by: `q` where both results have q-values, else `weight`.
        level: the q-value, or the number of strongest pairs, by which edges were chosen.
        n_first, n_second: edges chosen in each.
        n_common: edges chosen in both.
        n_expected: how many would be in common by chance.
        n_same_sign: of those in common, how many have the same sign.
    """

    n_pairs: int
    correlation: float
    rank_correlation: float
    chosen_by: str
    level: float
    n_first: int
    n_second: int
    n_common: int
    n_expected: float
    n_same_sign: int


def common_pairs(results: tuple[Result, ...]) -> CommonPairs:
    """Match the recorded units of all results by id."""
    shared = set.intersection(*({*result.unit_id[result.visible]} for result in results))
    ids = tuple(unit for unit in results[0].unit_id[results[0].visible] if unit in shared)
    off_diagonal = ~np.eye(len(ids), dtype=bool)
    names = np.array(ids, dtype=np.str_)
    post, pre = np.nonzero(off_diagonal)
    weights, q_values = [], []
    for result in results:
        rows = [result.index_of(unit) for unit in ids]
        block = np.ix_(rows, rows)
        weights.append(result.connectivity[block][off_diagonal].astype(np.float64))
        q_values.append(result.q_value[block][off_diagonal].astype(np.float64))
    return CommonPairs(ids, names[pre], names[post], np.array(weights), np.array(q_values))


def agreement(pairs: CommonPairs, first: int, second: int, *, q: float, top: int | None) -> CouplingAgreement:
    """Compare the couplings of two of the results.

    Args:
        pairs: the pairs in common.
        first: which of the results.
        second: and which other.
        q: edges are called at this q-value where both have q-values and `top` is None.
        top: choose this many strongest pairs instead; by default a tenth of all, at most 100.
    """
    weights = pairs.weight[[first, second]]
    known = np.isfinite(weights).all(axis=0)
    weights = weights[:, known]
    q_values = pairs.q_value[[first, second]][:, known]
    n_pairs = int(known.sum())
    by_q = top is None and bool(np.isfinite(q_values).any(axis=1).all())
    if by_q:
        chosen = q_values <= q
        level = q
    else:
        n_top = min(top if top is not None else min(100, max(n_pairs // 10, 1)), n_pairs)
        chosen = np.array([strongest(row, n_top) for row in weights])
        level = float(n_top)
    both = chosen.all(axis=0)
    sizes = chosen.sum(axis=1)
    return CouplingAgreement(
        n_pairs=n_pairs,
        correlation=correlation(*weights),
        rank_correlation=correlation(*(_ranks(row) for row in weights)),
        chosen_by="q" if by_q else "weight",
        level=level,
        n_first=int(sizes[0]),
        n_second=int(sizes[1]),
        n_common=int(both.sum()),
        n_expected=float(sizes[0] * sizes[1] / n_pairs) if n_pairs else 0.0,
        n_same_sign=int((np.sign(weights[0, both]) == np.sign(weights[1, both])).sum()),
    )


def strongest(weights: NDArray[np.float64], n: int) -> NDArray[np.bool_]:
    """Marks of the `n` weights of largest size; a weight of zero is never one."""
    chosen = np.zeros(weights.size, dtype=bool)
    chosen[np.argsort(-np.abs(weights), kind="stable")[:n]] = True
    chosen &= weights != 0
    return chosen


def correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Pearson's r; NaN for fewer than three values or where one side does not vary."""
    if a.size < 3:
        return math.nan
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts + 1) / 2)[place]
    return ranks
