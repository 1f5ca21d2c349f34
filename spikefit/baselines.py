"""What simpler methods make of the same recording, beside a fit: so that a user sees what the model changed.

Plain cross-correlograms (spikes of the receiver within the window behind the sender's, against constant rates), the fully observed GLM
where the fit has hidden units, and TSPE (total spiking probability edges) where elephant is installed. Correlograms have p-values, which take
everything that makes two units correlated for an edge; the others only rank pairs, and of those the strongest are taken, as many as the fit calls.

Source of TSPE: De Blasi et al., "Total spiking probability edges" (J Neurosci Methods 312, 2019), by elephant.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.comparison import BaselineTable, Method, MethodRow
from spikefit.errors import UsageError
from spikefit.reopening import reopen
from spikefit.results import Result, load_result
from spikefit.spikes import Counts

Array = NDArray[np.float64]
FEWEST_EDGES = 1
TRUTH_HINT = "give the .truth.h5 file that was written beside the recording"
FEWEST_DELAYS = 10  # bins; TSPE's own filters do not fit into fewer
NO_TSPE = "TSPE is left out: elephant is not installed (pip install 'spikefit[baselines]')"


def baseline_table(
    result: str | Path | Result,
    *,
    recording: str | Path | None = None,
    truth: str | Path | Result | None = None,
    q: float = 0.05,
) -> BaselineTable:
    """Put simpler methods beside a fit of the same recording.

    Args:
        result: a fit; a folder, a file or a result.
        recording: where its recording lies now; where it lay when it was fitted, if None.
        truth: the true network, as `spikefit simulate` leaves it (`NAME.truth.h5`), where it is known.
        q: edges are called at this q-value where a method has q-values.

    Raises:
        UsageError: if the recording is not there or is another, or the truth does not hold the fit's units.
        ResultError: if a result cannot be read.
    """
    fit = result if isinstance(result, Result) else load_result(result)
    if fit.n_visible < 2:
        raise UsageError(f"{fit.name}: with {fit.n_visible} recorded unit there are no pairs to compare.")
    counts = reopen(fit, recording)
    methods, notes = methods_of(fit, counts, q=q)
    true = None if truth is None else _true_edges(fit, truth if isinstance(truth, Result) else _opened(Path(truth)))
    rows = tuple(row_of(method, methods[0], true) for method in methods)
    return BaselineTable(fit.name, fit.unit_id[: fit.n_visible], methods, rows, notes, true)


def methods_of(fit: Result, counts: Counts, *, q: float) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """The fit and every simpler method on the same binned recording, and what stood in the way of one."""
    from scipy.stats import norm

    from spikefit.diagnostics.empirical_null import benjamini_hochberg
    from spikefit.diagnostics.identifiability import correlogram_z, spike_pairs

    n, notes = fit.n_visible, []
    off = ~np.eye(n, dtype=bool)
    weight = _off_diagonal(fit.connectivity[:n, :n])
    own_q = fit.q_value[:n, :n]
    if np.isfinite(own_q[off]).any():
        methods = [Method("this fit", weight, off & (own_q <= q), f"q ≤ {q:g}")]
    else:
        n_top = min(100, max(FEWEST_EDGES, int(off.sum()) // 10))
        methods = [Method("this fit", weight, strongest(weight, n_top), f"{n_top} strongest")]
    n_edges = int(methods[0].called.sum())
    rule = f"{n_edges} strongest"
    if "h0_weight" in fit.diagnostics:
        plain_glm = _off_diagonal(fit.diagnostics["h0_weight"])
        methods.append(Method("plain GLM", plain_glm, strongest(plain_glm, n_edges), rule))
    z = _off_diagonal(correlogram_z(*spike_pairs(counts.counts, counts.segment_offsets, fit.lag_s.size)))
    known = np.isfinite(z)
    called = np.zeros((n, n), dtype=bool)
    if known.any():
        called[known] = benjamini_hochberg(2 * norm.sf(np.abs(z[known]))) <= q
    methods.append(Method("correlogram", z, called, f"q ≤ {q:g}"))
    if find_spec("elephant") is None:
        notes.append(NO_TSPE)
    else:
        tspe = _off_diagonal(_total_spiking_probability_edges(counts, fit.lag_s.size))
        methods.append(Method("TSPE", tspe, strongest(tspe, n_edges), rule))
        if counts.segment_offsets.size > 2:
            notes.append("TSPE takes the segments of the recording as one piece, gaps left out")
    return tuple(methods), tuple(notes)


def strongest(strength: Array, n_edges: int) -> NDArray[np.bool_]:
    """The pairs of largest size; what is not known or zero is none of them."""
    size = np.nan_to_num(np.abs(strength))
    called = np.zeros(size.shape, dtype=bool)
    order = np.argsort(-size, axis=None, kind="stable")[:n_edges]
    called.flat[order] = size.flat[order] > 0
    return called


def _total_spiking_probability_edges(counts: Counts, n_lags: int) -> Array:
    """Elephant's TSPE on the fit's bins, at most one spike a bin; (post, pre)."""
    import neo
    import quantities as pq
    from elephant.conversion import BinnedSpikeTrain
    from elephant.functional_connectivity import total_spiking_probability_edges

    width_s, stop = counts.bin_width_s, counts.n_bins * counts.bin_width_s * pq.s
    # The middle of a bin is in it, whatever the rounding.
    trains = [
        neo.SpikeTrain((np.flatnonzero(column) + 0.5) * width_s * pq.s, t_stop=stop) for column in counts.counts.T
    ]
    binned = BinnedSpikeTrain(trains, bin_size=width_s * pq.s, n_bins=counts.n_bins, t_start=0 * pq.s)
    found, _ = total_spiking_probability_edges(binned, max_delay=max(FEWEST_DELAYS, n_lags))
    return np.asarray(found, dtype=np.float64)


def _off_diagonal(values: Any) -> Array:
    out = np.array(values, dtype=np.float64)
    np.fill_diagonal(out, np.nan)
    return out


def _opened(truth: Path) -> Result:
    if not truth.exists():
        raise UsageError(f"{truth}: there is no such file.", hint=TRUTH_HINT)
    return load_result(truth)


def _true_edges(fit: Result, truth: Result) -> NDArray[np.bool_]:
    names = fit.unit_id[: fit.n_visible]
    missing = [name for name in names if name not in truth.unit_id]
    if missing:
        raise UsageError(
            f"the true network does not hold {len(missing)} of the fit's {len(names)} units (first: {missing[0]!r}).",
            hint=TRUTH_HINT,
        )
    rows = [truth.index_of(name) for name in names]
    true: NDArray[np.bool_] = truth.connectivity[np.ix_(rows, rows)] != 0
    np.fill_diagonal(true, False)
    return true


def row_of(method: Method, fit: Method, true: NDArray[np.bool_] | None) -> MethodRow:
    """The line of a method: how it agrees with the fit, and how right it is where the truth is known."""
    from scipy.stats import spearmanr

    off = ~np.eye(len(fit.strength), dtype=bool)
    size, of_fit = np.abs(method.strength[off]), np.abs(fit.strength[off])
    known = np.isfinite(size) & np.isfinite(of_fit)
    varied = known.sum() > 2 and np.ptp(size[known]) > 0 and np.ptp(of_fit[known]) > 0
    r = float(spearmanr(size[known], of_fit[known]).statistic) if varied else math.nan
    called = method.called[off]
    auc = average = false_share = recall = math.nan
    if true is not None and 0 < true[off].sum() < off.sum():
        auc, average = ranking_scores(np.nan_to_num(size), true[off])
        recall = float((called & true[off]).sum() / true[off].sum())
        false_share = float((called & ~true[off]).sum() / max(1, called.sum()))
    return MethodRow(
        method.name, int(called.sum()), int((called & fit.called[off]).sum()), r, method.rule, auc, average, false_share, recall
    )  # fmt: skip


def ranking_scores(size: Array, true: NDArray[np.bool_]) -> tuple[float, float]:
    """Area under the ROC curve and average precision of a ranking; pairs of equal size share their ranks.

    Args:
        size: larger means more likely an edge, (pair,).
        true: edges, some and not all, (pair,).
    """
    from scipy.stats import rankdata

    n_true = int(true.sum())
    auc = (rankdata(size)[true].sum() - n_true * (n_true + 1) / 2) / (n_true * (true.size - n_true))
    values, first = np.unique(-size, return_inverse=True)
    hits = np.bincount(first, weights=true, minlength=values.size)
    found, taken = np.cumsum(hits), np.cumsum(np.bincount(first, minlength=values.size))
    return float(auc), float((hits * found / taken).sum() / n_true)
