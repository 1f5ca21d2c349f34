"""The fully observed candidate: the GLM at its optimum, on the training bins for its scores and on all for the report."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.fitting.design import Design
from spikefit.fitting.device import float64_device
from spikefit.fitting.glm import GLMFit, fit_glm, glm_log_likelihood
from spikefit.fitting.long_lags import fit_long_lags
from spikefit.fitting.outcome import CI_LEVEL, FittedNetwork, notes_on
from spikefit.fitting.problem import Hooks, Problem
from spikefit.fitting.surrogates import Surrogates, fit_surrogates
from spikefit.fitting.uncertainty import errors_of_fit
from spikefit.fitting.weight_rules import weight_rules
from spikefit.models.coupling import filters_from_weights


def fit_observed(
    problem: Problem,
    ranges: NDArray[np.int64],
    hooks: Hooks,
    start: GLMFit | None,
    *,
    common_drive: bool = True,
) -> tuple[Design, GLMFit]:
    """Fit the GLM to some of the bins; also give the design it was fitted on.

    Args:
        problem: what is fitted.
        ranges: the bins, `[start, stop)`; (n, 2).
        hooks: progress.
        start: a fit to start from.
        common_drive: whether the problem's common drive, where it has one, is part of the fit.
    """
    where = float64_device(problem.device)
    inputs = problem.inputs if common_drive else problem.covariates
    design = Design(
        problem.counts.to(where),
        ranges,
        problem.basis.to(where),
        covariates=None if inputs is None else inputs.to(where),
        cache_bytes=problem.memory.cache_bytes,
        block_bins=problem.memory.block_bins,
        n_coupling_functions=problem.n_coupling_functions,
    )
    # The penalty belongs to the whole recording: a part of it gets its share.
    share = design.n_bins / max(1, int(np.diff(problem.split.everything, axis=1).sum()))

    def tell(iteration: int, objective: float, decrement: float) -> None:
        hooks.update(iteration, nats_per_bin=objective / design.n_bins, nats_to_go=decrement)
        if hooks.should_stop():
            hooks.stop()

    ridge, free = weight_rules(problem, design, problem.ridge * share)
    fit = fit_glm(design, ridge=ridge, free=free, link=problem.settings.link, start=start, on_iteration=tell)
    return design, fit


def glm_outcome(
    problem: Problem, on_train: GLMFit, metrics: dict[str, Any], hooks: Hooks, began: float
) -> FittedNetwork:
    """The fit to all bins, with the errors of its couplings.

    Args:
        problem: what was fitted.
        on_train: the fit to the training bins, to start from.
        metrics: scores that were taken before; added to.
        hooks: progress.
        began: when the fit began, on the clock of `time.perf_counter`.
    """
    settings = problem.settings
    design, fit = fit_observed(problem, problem.split.everything, hooks, on_train)
    basis = problem.basis.to(design.device)
    ridge, free = weight_rules(problem, design, problem.ridge)
    errors = errors_of_fit(
        design, fit, basis, ridge=ridge, link=settings.link, free=free, further=problem.covariate_rows
    )
    surrogates, refused = _surrogates(problem, design, fit, hooks)
    couplings = fit.weights[:, : design.n_couplings]
    filters = filters_from_weights(couplings, basis.double()).cpu().numpy()
    n_bins = design.n_bins
    common_drive = problem.common_drive
    metrics |= {
        "converged": fit.converged and on_train.converged,
        # Nothing is hidden, so the bound is the likelihood itself; the penalty is no part of it.
        "elbo_per_bin": glm_log_likelihood(design, fit, link=settings.link).sum().item() / n_bins,
        "std_error_method": errors.how,
        "ci_level": CI_LEVEL,
        "common_drive": common_drive is not None,
        "fit_s": time.perf_counter() - began,
    }
    parameters = {
        "basis": problem.basis.cpu().numpy(),
        "baseline": fit.baseline.cpu().numpy(),
        "visible_weights": couplings.cpu().numpy(),
    }
    if common_drive is not None:
        n_traces = len(common_drive.decay)
        on_traces = fit.weights[:, design.n_couplings :][:, :n_traces].cpu().numpy() * common_drive.gain
        parameters |= {
            "common_drive_weights": on_traces,
            "common_drive_decay": common_drive.decay,
            "common_drive_level": np.array(common_drive.level),
        }
    if problem.n_covariates:
        parameters["covariate_weights"] = fit.weights[:, -problem.n_covariates :].cpu().numpy()
    objective = np.array(fit.objective) / n_bins - problem.factorials_per_bin
    return FittedNetwork(
        parameters=parameters,
        coupling_filters=filters,
        baseline=fit.baseline.cpu().numpy(),
        std_error=errors.sums.cpu().numpy(),
        filter_std_error=None if errors.by_lag is None else errors.by_lag.cpu().numpy(),
        coupling_correlation=errors.correlation.cpu().numpy(),
        covariate_std_error=None if errors.further is None else errors.further.cpu().numpy(),
        hidden_count=np.empty((0, 0)),
        hidden_bins=np.empty(0, dtype=np.int64),
        metrics=metrics,
        history={"step": np.arange(len(objective), dtype=np.float64), "objective": objective},
        notes=notes_on(metrics, fit.converged),
        surrogates=surrogates,
        surrogates_refused=refused,
        long_lags=fit_long_lags(problem, design, fit, hooks) if settings.long_lags else None,
    )


def _surrogates(problem: Problem, design: Design, fit: GLMFit, hooks: Hooks) -> tuple[Surrogates | None, str | None]:
    """Those that were asked for; with too few units for another test jittered ones, or why there are none."""
    settings, n_units = problem.settings, design.n_units
    if n_units < 2:
        return None, None
    if settings.surrogates is not None:
        return fit_surrogates(problem, design, fit, settings.surrogates, settings.n_surrogates, hooks), None
    if n_units >= settings.surrogates_below:
        return None, None
    try:
        return fit_surrogates(problem, design, fit, "jitter", settings.n_surrogates, hooks), None
    except UsageError as refused:
        return None, refused.message
