"""Which couplings are edges, held against what the same pairs show in surrogates.

Every pair is put on its own scale: its z-score less the mean over surrogates, over their spread there. A surrogate is put on that scale by all the others,
so that it and the recording are treated alike. Pairs then share one tail, which all surrogates of all pairs give, and

    p = (1 + surrogates of pairs at least as far out) / (1 + surrogates · pairs).

So a hundred surrogates of a few hundred pairs resolve p-values of one in ten thousand; what is assumed is that pairs differ in centre and
spread and not in the form of their tails.

Source: Davison and Hinkley, "Bootstrap methods and their application" (1997), chapter 4, for the added one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.edge_test import Q_LEVEL, EdgeTest, spread_of, z_scores
from spikefit.diagnostics.empirical_null import benjamini_hochberg

Array = NDArray[np.float64]

# Of the surrogates of a pair, in standard errors. Where it is less, spikes are so few that the penalty holds the coupling: moving them hardly
# moves it, and beside such a spread everything is far off. The model's own errors then are the least there is.
LEAST_SPREAD = 0.5
WIDE_CENTRE = 1.0  # median shift of a pair's surrogates from zero, in standard errors, that is worth a word

HOW_MOVED = {
    "jitter": "every spike moved inside its own cell of time, two history windows long",
    "shift": "every train turned round in time by a window at least",
    "trials": "every unit's trials in another order",
}


def judge_by_surrogates(
    connectivity: Array, std_error: Array, surrogate_z: NDArray[np.floating], kind: str, *, level: float
) -> EdgeTest:
    """Test every pair of two units against its own surrogates.

    Args:
        connectivity: (post, pre), of the recorded units.
        std_error: of the model, (post, pre); pairs without one are not tested.
        surrogate_z: couplings over standard errors of surrogates, (surrogate, post, pre).
        kind: how spikes were moved in them.
        level: of the intervals.
    """
    from scipy.stats import norm

    z, pairs = z_scores(connectivity, std_error)
    drawn = surrogate_z.astype(np.float64)
    pairs &= np.isfinite(drawn).all(axis=0)
    n = len(drawn)
    p_value, q_value, ci_low, ci_high = (np.full(z.shape, np.nan) for _ in range(4))
    metrics = {"significance": kind, "n_surrogates": n, "n_tested_pairs": int(pairs.sum())}
    if not pairs.any():
        return EdgeTest(p_value, q_value, ci_low, ci_high, metrics)
    drawn, found = drawn[:, pairs], z[pairs]
    centre, found_spread = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    spread = np.maximum(found_spread, LEAST_SPREAD)
    tail = np.sort(np.abs(_each_by_the_others(drawn)).ravel())
    scale = spread * np.sqrt(1 + 1 / n)  # the recording is one more draw, and the centre is only known so well
    # Moving a receiver's spikes also smears what it does to the sender into what the sender seems to do to it, and slow rhythms stay in
    # surrogates. So a coupling must be further from zero than those of its surrogates, not just elsewhere.
    off = np.maximum(np.abs(found) - np.abs(centre), 0.0) / scale
    held = found_spread < LEAST_SPREAD
    p = (1 + tail.size - np.searchsorted(tail, off, side="left")) / (1 + tail.size)
    p_value[pairs] = np.where(held, np.maximum(p, 2 * norm.sf(np.abs(found))), p)
    q_value[pairs] = benjamini_hochberg(p_value[pairs])
    error = std_error[pairs]
    middle, half = connectivity[pairs] - centre * error, float(np.quantile(tail, level)) * scale * error
    ci_low[pairs], ci_high[pairs] = middle - half, middle + half
    least = _first_call(tail, len(found)) * scale + np.abs(centre)
    least = np.where(held, np.maximum(least, norm.isf(Q_LEVEL / len(found) / 2)), least)
    metrics |= {
        "n_edges": int((q_value[pairs] <= Q_LEVEL).sum()),
        "n_edges_q_level": Q_LEVEL,
        "z_spread": spread_of(found),
        "surrogate_centre": float(np.median(np.abs(centre))),
        "surrogate_spread": float(np.median(found_spread)),
        "detectable_weight": float(np.median(least * error)),
        "n_pairs_held_by_penalty": int(held.sum()),
    }
    taken = np.full(z.shape, np.nan)
    taken[pairs] = centre
    return EdgeTest(p_value, q_value, ci_low, ci_high, metrics, _doubts(kind, metrics), {"shared_z": taken})


def _each_by_the_others(drawn: Array) -> Array:
    """Each draw less the mean of the others, over their spread and what predicting one more adds to it; (surrogate, pair)."""
    n = len(drawn)
    total, squares = drawn.sum(axis=0), np.square(drawn).sum(axis=0)
    mean = (total - drawn) / (n - 1)
    variance = (squares - np.square(drawn) - (n - 1) * np.square(mean)) / (n - 2)
    return np.asarray((drawn - mean) / np.sqrt(np.maximum(variance, LEAST_SPREAD**2) * (1 + 1 / (n - 1))))


def _first_call(tail: Array, n_pairs: int) -> float:
    """How far out, in spreads, one pair must lie to be called where no other is; `tail` in rising order."""
    n_beyond = math.floor(Q_LEVEL / n_pairs * (1 + tail.size) - 1 + 1e-9)  # draws that may be at least as far out
    return math.inf if n_beyond < 0 else float(tail[-1 - n_beyond])


def _doubts(kind: str, metrics: dict[str, object]) -> tuple[str, ...]:
    notes = [
        f"edges are held against {metrics['n_surrogates']} surrogates ({kind}: {HOW_MOVED[kind]}). Moving spikes also breaks what units share: where they "
        "follow a drive that was not recorded, most calls can be false"
    ]
    few = int(str(metrics["n_pairs_held_by_penalty"]))
    if few:
        notes.append(
            f"{few} of {metrics['n_tested_pairs']} pairs have so few spikes that moving them hardly moves the coupling, which the penalty holds near zero: "
            "they are called only if the standard errors alone would call them, too"
        )
    if float(str(metrics["surrogate_centre"])) > WIDE_CENTRE:
        notes.append(
            f"even in surrogates couplings lie {metrics['surrogate_centre']:.1f} standard errors from zero in the median pair: units share fluctuations that are slower "
            "than a cell"
        )
    return tuple(notes)
