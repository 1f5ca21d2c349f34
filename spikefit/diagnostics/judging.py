"""The test that a fit gets: the one that was asked for, or the one that its size allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from spikefit.diagnostics.edge_test import Q_LEVEL, Array, EdgeTest, no_test, z_scores
from spikefit.diagnostics.null_notes import narrow_intervals
from spikefit.diagnostics.significance import FEWEST_PAIRS, FEWEST_UNITS, judge_edges
from spikefit.diagnostics.stretching import stretched
from spikefit.diagnostics.surrogate_test import judge_by_surrogates

if TYPE_CHECKING:
    from spikefit.fitting.outcome import FittedNetwork, PlainCouplings

WITHOUT_HIDDEN = "fit without hidden units"
MOST_CONTROL_SHARE = 0.01  # of the pairs may be called at lags where there is nothing


def judge(
    network: FittedNetwork,
    significance: str,
    *,
    level: float,
    bin_width_s: float,
    types: Sequence[str] | None = None,
) -> EdgeTest:
    """Test the pairs of recorded units of a fit.

    Args:
        network: the fit.
        significance: as in the config.
        level: of the intervals.
        bin_width_s: of the fit.
        types: of the recorded units, where each pair of types gets a null of its own.

    Returns:
        Matrices of the recorded units, (post, pre).
    """
    n = len(network.coupling_filters) - network.n_hidden
    connectivity, std_error = network.coupling_filters.sum(axis=2)[:n, :n], network.std_error[:n, :n]
    if significance == "none":
        return no_test((n, n))
    test = _judge(network, connectivity, std_error, level, types)
    if network.attenuation is not None:
        test = stretched(test, network.attenuation)
    if network.n_hidden and significance != "null":
        test = _noted(
            test,
            f"the fit has hidden units, and surrogates are refits without them: --significance {significance} was not used",
        )
    control = network.long_lags
    if control is None:
        return test
    if network.surrogates is not None:
        return _noted(
            test,
            f"couplings at long lags are judged by the pairs themselves, and fewer than {FEWEST_UNITS} units have too few",
        )
    called = judge_edges(control.connectivity, control.std_error, level=level, types=types)
    return _with_control(test, called, control.first_lag * bin_width_s, control.last_lag * bin_width_s)


def _judge(
    network: FittedNetwork, connectivity: Array, std_error: Array, level: float, types: Sequence[str] | None
) -> EdgeTest:
    surrogates = network.surrogates
    if surrogates is not None:
        test = judge_by_surrogates(connectivity, std_error, surrogates.z, surrogates.kind, level=level)
        if not surrogates.asked:
            test = _noted(
                test,
                f"fewer than {FEWEST_UNITS} recorded units do not show what no edge looks like; their pairs were held against surrogates instead",
            )
        return test
    if not np.isfinite(std_error).any():
        return no_test(connectivity.shape) if network.plain is None else _by_the_plain_fit(network.plain, level, types)
    n_pairs = int(z_scores(connectivity, std_error)[1].sum())
    if network.surrogates_refused is not None and n_pairs < FEWEST_PAIRS:
        return no_test(
            connectivity.shape,
            f"{n_pairs} pairs of recorded units are too few to show what no edge looks like, and surrogates are no help: there are no p- and q-values. "
            f"Why: {network.surrogates_refused.rstrip('.')}",
        )
    return judge_edges(connectivity, std_error, level=level, correlation=network.coupling_correlation, types=types)


def _by_the_plain_fit(plain: PlainCouplings, level: float, types: Sequence[str] | None) -> EdgeTest:
    """P and q of a fit without hidden units; its intervals are of other couplings than those that are reported."""
    test = judge_edges(plain.connectivity, plain.std_error, level=level, correlation=plain.correlation, types=types)
    unknown = np.full(test.q_value.shape, np.nan)
    about_intervals = narrow_intervals(int(test.metrics.get("n_shared_inputs") or 0))
    test = dataclasses.replace(
        test,
        ci_low=unknown,
        ci_high=unknown,
        metrics=test.metrics | {"tested_on": WITHOUT_HIDDEN},
        notes=tuple(note for note in test.notes if note not in about_intervals),
    )
    return _noted(
        test, "p and q are those of the fit without hidden units to the same bins, and there are no intervals"
    )


def _with_control(test: EdgeTest, control: EdgeTest, first_lag_s: float, last_lag_s: float) -> EdgeTest:
    n_pairs = int(np.isfinite(control.q_value).sum())
    n_called = int((control.q_value <= Q_LEVEL).sum())
    metrics = {
        "control_first_lag_s": first_lag_s,
        "control_last_lag_s": last_lag_s,
        "control_tested_pairs": n_pairs,
        "control_edges": n_called,
    }
    test = dataclasses.replace(test, metrics=test.metrics | metrics)
    if n_called > MOST_CONTROL_SHARE * n_pairs:
        test = _noted(
            test,
            f"the same test calls {n_called} of {n_pairs} pairs at lags of {1000 * first_lag_s:g} to {1000 * last_lag_s:g} ms, where there are no synapses: "
            "do not trust what it calls in this recording",
        )
    return test


def _noted(test: EdgeTest, note: str) -> EdgeTest:
    return dataclasses.replace(test, notes=(*test.notes, note))
