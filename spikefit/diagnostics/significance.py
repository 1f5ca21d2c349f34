"""Which couplings between recorded units are edges, and how sure that is.

The statistic of a pair is its z-score, coupling over standard error. What inputs shared by many units explain of it is
taken off (`shared_input.py`), and what is left is held against the null that most pairs show (`empirical_null.py`), where units
have types against that of the pair's own types (`nulls_by_type.py`). q-values are over all pairs together all the same.
Only pairs of two recorded units are tested: a unit's history on itself is no edge and stays without p and q.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.edge_test import Q_LEVEL, EdgeTest, no_test, spread_of, z_scores
from spikefit.diagnostics.empirical_null import benjamini_hochberg
from spikefit.diagnostics.null_notes import doubts_about_nulls, narrow_intervals, pooled_nulls
from spikefit.diagnostics.nulls_by_type import GroupNull, nulls_by_type, one_null
from spikefit.diagnostics.shared_input import count_inputs, shared_input

Array = NDArray[np.float64]

FEWEST_UNITS = 10
FEWEST_PAIRS = FEWEST_UNITS * (FEWEST_UNITS - 1)  # fewer z-scores do not show where the bulk ends and edges begin


def judge_edges(
    connectivity: Array,
    std_error: Array,
    *,
    level: float,
    correlation: Array | None = None,
    types: Sequence[str] | None = None,
) -> EdgeTest:
    """Test every pair against the null that the pairs themselves show.

    Args:
        connectivity: (post, pre), of the recorded units.
        std_error: of the model, (post, pre); pairs without one are not tested.
        level: of the intervals.
        correlation: of the errors of each receiver's couplings, (post or 1, pre, pre), where it is known.
        types: of the units, where pairs of each two types get a null of their own; see `nulls_by_type`.
    """
    z, pairs = z_scores(connectivity, std_error)
    n_pairs = int(pairs.sum())
    if n_pairs < FEWEST_PAIRS:
        return _too_few(z.shape, n_pairs)
    shared = shared_input(z, pairs, correlation=correlation)
    dense = shared.rank == 0
    left = np.where(pairs, (z - shared.part) / shared.error, np.nan)
    whole, share_edges = one_null(left[pairs], dense=dense)
    groups: Sequence[GroupNull] = (GroupNull("", "", pairs, whole, share_edges, "all"),)
    if types is not None:
        groups = nulls_by_type(left, pairs, types, dense=dense, least=FEWEST_PAIRS)
    p_value, q_value, ci_low, ci_high, centre, spread, least = (np.full(z.shape, np.nan) for _ in range(7))
    for group in groups:
        chosen, null = group.members, group.null
        p_value[chosen] = null.p_value(left[chosen])
        centre[chosen], spread[chosen] = null.centre, null.spread
        half = null.half_width(level) * shared.error * std_error
        least[chosen] = (null.half_width(1 - Q_LEVEL / n_pairs) * shared.error * std_error)[chosen]
        direct = connectivity - (shared.part + null.centre * shared.error) * std_error
        ci_low[chosen], ci_high[chosen] = (direct - half)[chosen], (direct + half)[chosen]
    q_value[pairs] = benjamini_hochberg(p_value[pairs])
    raw_spread = spread_of(z[pairs])
    called = q_value <= Q_LEVEL
    metrics: dict[str, Any] = {
        "significance": "null",
        "n_tested_pairs": n_pairs,
        "n_edges": int(called.sum()),
        "n_edges_q_level": Q_LEVEL,
        "z_spread": raw_spread,
        "n_shared_inputs": shared.rank,
        "shared_inputs_agreement": shared.agreement,
        "null_centre": whole.centre,
        "null_spread": whole.spread,
        "null_shape": whole.shape,
        "detectable_weight": float(np.median(least[pairs])),
    }
    if share_edges is not None:
        metrics["null_share_edges"] = share_edges
    if types is None:
        taken = np.where(pairs, shared.part + whole.centre * shared.error, np.nan)
        notes = (*doubts_about_nulls(raw_spread, shared, groups), *narrow_intervals(shared.rank))
        return EdgeTest(p_value, q_value, ci_low, ci_high, metrics, notes, {"shared_z": taken})
    metrics["null_by_type"] = [group.told(called) for group in groups]
    metrics["n_edges_one_null"] = int((benjamini_hochberg(whole.p_value(left[pairs])) <= Q_LEVEL).sum())
    notes = (
        *doubts_about_nulls(raw_spread, shared, groups),
        *narrow_intervals(shared.rank),
        *pooled_nulls(groups, FEWEST_PAIRS),
    )
    part = np.where(pairs, shared.part, np.nan)  # apart from the centre of a null, which may lie far from zero
    by_pair = {"tested_z": left, "shared_z": part, "null_centre": centre, "null_spread": spread}
    return EdgeTest(p_value, q_value, ci_low, ci_high, metrics, notes, by_pair)


def count_shared_inputs(connectivity: Array, std_error: Array, correlation: Array | None = None) -> int | None:
    """Inputs that many recorded units share, from their couplings; None with too few pairs to tell.

    Args:
        connectivity: (post, pre), of the recorded units.
        std_error: of the model, (post, pre).
        correlation: of the errors of each receiver's couplings, (post or 1, pre, pre), where it is known.
    """
    z, pairs = z_scores(connectivity, std_error)
    return count_inputs(z, pairs, correlation=correlation) if pairs.sum() >= FEWEST_PAIRS else None


def _too_few(shape: tuple[int, ...], n_pairs: int) -> EdgeTest:
    return no_test(
        shape,
        f"{n_pairs} pairs of recorded units are too few to show what no edge looks like (at least {FEWEST_PAIRS} are "
        "needed, ten units): there are no p- and q-values",
    )
