"""A fitted network in the form of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.config import Config
from spikefit.fitted.fit import Fit
from spikefit.fitted.looks import (
    common_drive_of,
    look_at_attenuation,
    look_at_covariates,
    look_at_dispersion,
    look_at_goodness,
    look_at_identifiability,
    look_at_test,
    with_columns,
)
from spikefit.results import HiddenActivity, UnitRow
from spikefit.results.parts import hidden_ids
from spikefit.spikes import Counts

if TYPE_CHECKING:
    from spikefit.diagnostics.edge_test import EdgeTest
    from spikefit.fitting.outcome import FittedNetwork


def to_fit(
    network: FittedNetwork,
    counts: Counts,
    config: Config,
    *,
    units: Sequence[UnitRow],
    name: str,
    device: str,
    warnings: Sequence[str] = (),
    types: Sequence[str] | None = None,
    **further: Any,
) -> Fit:
    """Put a fitted network in the form of a result.

    Args:
        network: the fit.
        counts: what it was fitted to.
        config: the settings it was made with.
        units: rows of the unit table, dropped units included.
        name: of the recording.
        device: where it was computed.
        warnings: doubts about the input.
        types: of the recorded units, from `pair_types`; None where one null is for all pairs.
        further: other fields of `Result`.
    """
    from spikefit.diagnostics.judging import judge
    from spikefit.diagnostics.stability import with_stability
    from spikefit.fitting.outcome import CI_LEVEL

    n_hidden, n_lags = network.n_hidden, network.coupling_filters.shape[2]
    connectivity = network.coupling_filters.sum(axis=2)
    test = judge(network, config.fit.significance, level=CI_LEVEL, bin_width_s=counts.bin_width_s, types=types)
    errors = _errors(network, connectivity, test)
    identified = look_at_identifiability(network, counts, link=config.model.link)
    goodness = look_at_goodness(network.judged, counts, seed=config.run.seed)
    covariates, of_covariates = look_at_covariates(network, counts)
    looks = [
        look_at_test(test, types, config.fit.pair_types),
        identified,
        goodness,
        look_at_attenuation(network, counts, test),
        look_at_dispersion(network.parameters, config.model.count_law),
        of_covariates,
    ]
    metrics = dict(network.metrics)
    notes: tuple[str, ...] = ()
    for look in looks:
        metrics |= look.metrics
        notes += look.notes
        units = with_columns(units, counts.unit_ids, look.columns)
    by_lag = {} if network.filter_std_error is None else {"filter_std_error": network.filter_std_error}
    fit = Fit(
        unit_id=(*counts.unit_ids, *hidden_ids(n_hidden)),
        unit_kind=("visible",) * counts.n_units + ("hidden",) * n_hidden,
        connectivity=connectivity,
        coupling_filters=network.coupling_filters,
        lag_s=counts.bin_width_s * np.arange(1, n_lags + 1),
        baseline=network.baseline,
        bin_width_s=counts.bin_width_s,
        std_error=network.std_error,
        ci_low=errors["ci_low"],
        ci_high=errors["ci_high"],
        p_value=errors["p_value"],
        q_value=errors["q_value"],
        hidden=HiddenActivity(counts.time_s[network.hidden_bins], network.hidden_count) if n_hidden else None,
        history=dict(network.history),
        diagnostics={**identified.diagnostics, **test.by_pair, **by_lag, **goodness.diagnostics},
        common_drive=common_drive_of(network, counts.bin_width_s),
        covariates=covariates,
        metrics={**metrics, "device": device},
        units=tuple(units),
        config=config.to_dict(),
        parameters=network.parameters,
        warnings=(*warnings, *network.notes, *notes),
        name=name,
        **further,
    )
    return with_stability(fit, network.stability)


def _errors(network: FittedNetwork, connectivity: np.ndarray, test: EdgeTest) -> dict[str, np.ndarray]:
    """Intervals, p and q of all units, (post, pre): as tested where a pair was tested, Wald intervals elsewhere."""
    from spikefit.fitting.outcome import CI_SIGMAS

    def of_all(values: np.ndarray) -> np.ndarray:
        """Values of recorded pairs in a matrix of all units; NaN for hidden ones, which are not tested."""
        return np.pad(values, (0, network.n_hidden), constant_values=np.nan)

    half_width = CI_SIGMAS * network.std_error
    low, high = of_all(test.ci_low), of_all(test.ci_high)
    tested = np.isfinite(low)
    return {
        "ci_low": np.where(tested, low, connectivity - half_width),
        "ci_high": np.where(tested, high, connectivity + half_width),
        "p_value": of_all(test.p_value),
        "q_value": of_all(test.q_value),
    }
