"""Which couplings are edges, held against what the same pairs show in surrogates.

Every pair is put on its own scale: its z-score less the mean over surrogates, over their spread there. A surrogate is put on that scale by all the others,
so that it and the recording are treated alike. Pairs then share one tail, which all surrogates of all pairs give, and

    p = (1 + surrogates of pairs at least as far out) / (1 + surrogates · pairs).

So a hundred surrogates of a few hundred pairs resolve p-values of one in ten thousand; what is assumed is that pairs differ in centre and
spread and not in the form of their tails.

Source: Davison and Hinkley, "Bootstrap methods and their application" (1997), chapter 4, for the added one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikefit.diagnostics.edge_test import Q_LEVEL, EdgeTest, spread_of, z_scores
from spikefit.diagnostics.empirical_null import benjamini_hochberg

Array = NDArray[np.float64]

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
    z, pairs = z_scores(connectivity, std_error)
    drawn = surrogate_z.astype(np.float64)
    pairs &= np.isfinite(drawn).all(axis=0)
    n = len(drawn)
    p_value, q_value, ci_low, ci_high = (np.full(z.shape, np.nan) for _ in range(4))
    metrics = {"significance": kind, "n_surrogates": n, "n_tested_pairs": int(pairs.sum())}
    if not pairs.any():
        return EdgeTest(p_value, q_value, ci_low, ci_high, metrics)
    drawn, found = drawn[:, pairs], z[pairs]
    centre, spread = drawn.mean(axis=0), np.maximum(drawn.std(axis=0, ddof=1), 1e-12)
    tail = np.sort(np.abs(_each_by_the_others(drawn)).ravel())
    scale = spread * np.sqrt(1 + 1 / n)  # the recording is one more draw, and the centre is only known so well
    # Moving a receiver's spikes also smears what it does to the sender into what the sender seems to do to it, and slow rhythms stay in
    # surrogates. So a coupling must be further from zero than those of its surrogates, not just elsewhere.
    off = np.maximum(np.abs(found) - np.abs(centre), 0.0) / scale
    p_value[pairs] = (1 + tail.size - np.searchsorted(tail, off, side="left")) / (1 + tail.size)
    q_value[pairs] = benjamini_hochberg(p_value[pairs])
    error = std_error[pairs]
    middle, half = connectivity[pairs] - centre * error, float(np.quantile(tail, level)) * scale * error
    ci_low[pairs], ci_high[pairs] = middle - half, middle + half
    metrics |= {
        "n_edges": int((q_value[pairs] <= Q_LEVEL).sum()),
        "n_edges_q_level": Q_LEVEL,
        "z_spread": spread_of(found),
        "surrogate_centre": float(np.median(np.abs(centre))),
        "surrogate_spread": float(np.median(spread)),
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
    return np.asarray((drawn - mean) / np.sqrt(np.maximum(variance, 1e-24) * (1 + 1 / (n - 1))))


def _doubts(kind: str, metrics: dict[str, object]) -> tuple[str, ...]:
    notes = [
        f"edges are held against {metrics['n_surrogates']} surrogates ({kind}: {HOW_MOVED[kind]}). Moving spikes also breaks what units share: where they "
        "follow a drive that was not recorded, most calls can be false"
    ]
    if float(str(metrics["surrogate_centre"])) > WIDE_CENTRE:
        notes.append(
            f"even in surrogates couplings lie {metrics['surrogate_centre']:.1f} standard errors from zero in the median pair: units share fluctuations that are slower "
            "than a cell"
        )
    return tuple(notes)
