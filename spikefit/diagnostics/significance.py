"""Which couplings between recorded units are edges, and how sure that is.

The statistic of a pair is its z-score, coupling over standard error. What inputs shared by many units explain of it is
taken off (`shared_input.py`), and what is left is held against the null that most pairs show (`empirical_null.py`).
Only pairs of two recorded units are tested: a unit's history on itself is no edge and stays without p and q.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.edge_test import Q_LEVEL, EdgeTest, no_test, z_scores
from spikefit.diagnostics.empirical_null import EmpiricalNull, benjamini_hochberg, fit_mixture, fit_null
from spikefit.diagnostics.shared_input import SharedInput, count_inputs, shared_input

Array = NDArray[np.float64]

FEWEST_UNITS = 10
FEWEST_PAIRS = FEWEST_UNITS * (FEWEST_UNITS - 1)  # fewer z-scores do not show where the bulk ends and edges begin
DENSE_SHARE = 0.1  # with more edges than this among the pairs their tails are no longer few enough to be left out
RIGHT_SPREAD = 1.1
WIDE_SPREAD = 1.5  # of the z-scores as they come; the standard errors alone would then call far too much
WIDE_LEFTOVER = 1.3  # the same after shared inputs have been taken off
UNSURE_AGREEMENT = 0.5  # a number of shared inputs that no more divisions find alone is unsure


def judge_edges(connectivity: Array, std_error: Array, *, level: float, correlation: Array | None = None) -> EdgeTest:
    """Test every pair against the null that the pairs themselves show.

    Args:
        connectivity: (post, pre), of the recorded units.
        std_error: of the model, (post, pre); pairs without one are not tested.
        level: of the intervals.
        correlation: of the errors of each receiver's couplings, (post or 1, pre, pre), where it is known.
    """
    z, pairs = z_scores(connectivity, std_error)
    n_pairs = int(pairs.sum())
    if n_pairs < FEWEST_PAIRS:
        return _too_few(z.shape, n_pairs)
    shared = shared_input(z, pairs, correlation=correlation)
    left = ((z - shared.part) / shared.error)[pairs]
    null, share_edges = fit_null(left), None
    if shared.rank == 0:
        mixed = fit_mixture(left)
        # Where the bulk is as narrow as the standard errors say, wide tails are edges, if they are many.
        if mixed.share >= DENSE_SHARE and mixed.null.spread <= RIGHT_SPREAD:
            null, share_edges = mixed.null, mixed.share
    p_value, q_value, ci_low, ci_high = (np.full(z.shape, np.nan) for _ in range(4))
    p_value[pairs] = null.p_value(left)
    q_value[pairs] = benjamini_hochberg(p_value[pairs])
    direct = connectivity - (shared.part + null.centre * shared.error) * std_error
    half = null.half_width(level) * shared.error * std_error
    ci_low[pairs], ci_high[pairs] = (direct - half)[pairs], (direct + half)[pairs]
    raw = z[pairs]
    raw_spread = float(1.4826 * np.median(np.abs(raw - np.median(raw))))
    n_edges = int((q_value[pairs] <= Q_LEVEL).sum())
    metrics = {
        "significance": "null",
        "n_tested_pairs": n_pairs,
        "n_edges": n_edges,
        "n_edges_q_level": Q_LEVEL,
        "z_spread": raw_spread,
        "n_shared_inputs": shared.rank,
        "shared_inputs_agreement": shared.agreement,
        "null_centre": null.centre,
        "null_spread": null.spread,
        "null_shape": null.shape,
    }
    if share_edges is not None:
        metrics["null_share_edges"] = share_edges
    return EdgeTest(p_value, q_value, ci_low, ci_high, metrics, _doubts(raw_spread, shared, null, share_edges))


def count_shared_inputs(connectivity: Array, std_error: Array, correlation: Array | None = None) -> int | None:
    """Inputs that many recorded units share, from their couplings; None with too few pairs to tell.

    Args:
        connectivity: (post, pre), of the recorded units.
        std_error: of the model, (post, pre).
        correlation: of the errors of each receiver's couplings, (post or 1, pre, pre), where it is known.
    """
    z, pairs = z_scores(connectivity, std_error)
    return count_inputs(z, pairs, correlation=correlation) if pairs.sum() >= FEWEST_PAIRS else None


def _doubts(raw_spread: float, shared: SharedInput, null: EmpiricalNull, share_edges: float | None) -> tuple[str, ...]:
    if share_edges is not None:
        return (
            f"about {share_edges:.0%} of the pairs do not look like no edge, so that edges and no edges were fitted together; the bulk is "
            f"{null.spread:.2f} times as wide as the standard errors say",
        )
    notes = []
    n_inputs = shared.rank
    if shared.agreement <= UNSURE_AGREEMENT:
        notes.append(
            f"how many inputs many units share hangs on how the pairs are divided to find out: {n_inputs} by all divisions together, by "
            f"{shared.agreement:.0%} of them alone. Edges that are called with it can vanish with another covariate, bin or half of the recording"
        )
    if raw_spread > WIDE_SPREAD:
        if n_inputs:
            counted = "one input that many units share" if n_inputs == 1 else f"{n_inputs} inputs that many units share"
            then = f"{counted} explain{'s' if n_inputs == 1 else ''} part of it and {'was' if n_inputs == 1 else 'were'} taken off"
        else:
            then = "nothing that units share explains it"
        notes.append(
            f"couplings scatter {raw_spread:.1f} times as widely as their standard errors say: {then}. The model misses "
            "something, unrecorded drivers most likely; p, q and intervals allow for it, std_error does not"
        )
    if null.spread > WIDE_LEFTOVER:
        notes.append(
            f"what no edge looks like was read from the pairs themselves and is {null.spread:.1f} times as wide as the "
            "standard errors say; weak edges cannot be told from it"
        )
    return tuple(notes)


def _too_few(shape: tuple[int, ...], n_pairs: int) -> EdgeTest:
    return no_test(
        shape,
        f"{n_pairs} pairs of recorded units are too few to show what no edge looks like (at least {FEWEST_PAIRS} are "
        "needed, ten units): there are no p- and q-values",
    )
