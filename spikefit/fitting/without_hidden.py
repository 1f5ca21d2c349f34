"""The fully observed candidate: the GLM at its optimum, on the training bins for its scores and on all for the report."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikefit.errors import UsageError
from spikefit.fitting.attenuation import attenuation_of
from spikefit.fitting.corners import fit_with_corners
from spikefit.fitting.data_notes import data_notes
from spikefit.fitting.design import Design
from spikefit.fitting.device import float64_device
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import GLMFit, dispersion_of, glm_log_likelihood
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.long_lags import fit_long_lags
from spikefit.fitting.outcome import CI_LEVEL, FittedNetwork, notes_on
from spikefit.fitting.problem import Problem
from spikefit.fitting.settings import NEGATIVE_BINOMIAL
from spikefit.fitting.surrogates import Surrogates, fit_surrogates
from spikefit.fitting.uncertainty import FitErrors, curvature_of, errors_of_fit
from spikefit.fitting.weight_rules import weight_rules
from spikefit.models.coupling import filters_from_weights
from spikefit.models.long_sums import pieces
from spikefit.models.negative_binomial import rising

MOST_DISPERSION_ROUNDS = 6
SAME_DISPERSION = 0.02  # in its logarithm, from one round to the next; its own standard error is far larger


def fit_observed(
    problem: Problem,
    ranges: NDArray[np.int64],
    hooks: Hooks,
    start: GLMFit | None,
    *,
    common_drive: bool = True,
    corners: bool = True,
) -> tuple[Design, GLMFit]:
    """Fit the GLM to some of the bins; also give the design it was fitted on.

    Args:
        problem: what is fitted.
        ranges: the bins, `[start, stop)`; (n, 2).
        hooks: progress.
        start: a fit to start from.
        common_drive: whether the problem's common drive, where it has one, is part of the fit.
        corners: whether group lasso and signs, where the problem has some, act on the fit.
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
        lost=None if problem.lost is None else problem.lost.to(where),
    )
    # The penalty belongs to the whole recording: a part of it gets its share.
    share = design.n_bins / max(1, int(np.diff(problem.split.everything, axis=1).sum()))

    def tell(iteration: int, objective: float, decrement: float) -> None:
        hooks.update(iteration, nats_per_bin=objective / design.n_bins, nats_to_go=decrement)
        if hooks.should_stop():
            hooks.stop()

    ridge, free = weight_rules(problem, design, problem.ridge * share)
    link, structure = problem.settings.link, problem.structure
    if corners and structure is not None and structure.has_corners:
        wanted = structure.to(design.device).corners(share, problem.basis.shape[1])
        fit = fit_with_corners(design, wanted, ridge=ridge, free=free, link=link, start=start, on_iteration=tell)
        return design, fit
    alpha = None if start is None else start.dispersion
    fit = fit_glm(design, ridge=ridge, free=free, link=link, start=start, on_iteration=tell, dispersion=alpha)
    if problem.settings.count_law == NEGATIVE_BINOMIAL:
        for _ in range(MOST_DISPERSION_ROUNDS):
            before, alpha = alpha, dispersion_of(design, fit, link=link)
            if before is not None and bool(((alpha / before).log().abs() < SAME_DISPERSION).all()):
                break
            fit = fit_glm(design, ridge=ridge, free=free, link=link, start=fit, on_iteration=tell, dispersion=alpha)
    return design, fit


def corner_metrics(problem: Problem, fit: GLMFit) -> dict[str, Any]:
    """Of a fit with group lasso or signs: pairs at zero, and how far the optimality conditions are from being met."""
    if fit.kkt is None:
        return {}
    couplings = fit.weights[:, : len(fit.weights) * problem.basis.shape[1]]
    zero = (couplings.unflatten(1, (len(fit.weights), -1)) == 0).all(2)
    return {"n_zero_pairs": int(zero.sum()), "kkt_residual": fit.kkt.max().item()}


def _on_corners(fit: GLMFit) -> tuple[str, ...]:
    if fit.kkt is None:
        return ()
    return (
        "couplings that a group lasso shrinks or a sign holds have no standard errors, and so no p- and q-values: what is "
        "zero was taken out by the penalty or the sign, what is not was kept, and that is all they say",
    )


def _errors(problem: Problem, design: Design, fit: GLMFit) -> FitErrors:
    """Standard errors of couplings and covariates.

    What a penalty has set to zero, or a sign holds at it, does not scatter as the likelihood's curvature says: there are none then.
    """
    rows = problem.covariate_rows
    if problem.has_corners:
        unknown = torch.full((design.n_units, design.n_units), torch.nan, dtype=torch.float64)
        further = None if rows is None else torch.full((design.n_units, len(rows)), torch.nan, dtype=torch.float64)
        return FitErrors(unknown, None, further, None, None)
    ridge, free = weight_rules(problem, design, problem.ridge)
    basis = problem.basis.to(design.device)
    return errors_of_fit(design, fit, basis, ridge=ridge, link=problem.settings.link, free=free, further=rows)


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
    errors = _errors(problem, design, fit)
    surrogates, refused = _surrogates(problem, design, fit, hooks)
    attenuation = None
    if fit.dispersion is None and errors.how is not None:
        attenuation = attenuation_of(design, fit, link=settings.link).cpu().numpy()
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
        **corner_metrics(problem, fit),
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
    if fit.dispersion is not None:
        parameters["dispersion"] = fit.dispersion.cpu().numpy()
    objective = (np.array(fit.objective) + _left_out(problem, fit)) / n_bins - problem.factorials_per_bin
    return FittedNetwork(
        parameters=parameters,
        coupling_filters=filters,
        baseline=fit.baseline.cpu().numpy(),
        std_error=errors.sums.cpu().numpy(),
        curvature=curvature_of(errors),
        variance_inflation=None if errors.inflation is None else errors.inflation.cpu().numpy(),
        filter_std_error=None if errors.by_lag is None else errors.by_lag.cpu().numpy(),
        coupling_correlation=None if errors.correlation is None else errors.correlation.cpu().numpy(),
        attenuation=attenuation,
        covariate_std_error=None if errors.further is None else errors.further.cpu().numpy(),
        hidden_count=np.empty((0, 0)),
        hidden_bins=np.empty(0, dtype=np.int64),
        metrics=metrics,
        history={"step": np.arange(len(objective), dtype=np.float64), "objective": objective},
        notes=notes_on(metrics, fit.converged) + _on_corners(fit) + data_notes(problem, design),
        surrogates=surrogates,
        surrogates_refused=refused,
        long_lags=fit_long_lags(problem, design, fit, hooks) if settings.long_lags else None,
    )


def _left_out(problem: Problem, fit: GLMFit) -> float:
    """Σ log(1 + jα) over j < x of all counts x: the dispersion is held while the solver runs, which so leaves it out."""
    if fit.dispersion is None:
        return 0.0
    alpha, total = fit.dispersion.cpu(), 0.0
    for first, end in (
        piece for row in problem.split.everything.tolist() for piece in pieces(len(problem.counts), *row)
    ):
        here = problem.counts[:, first:end].cpu()
        unit, bin_ = here.nonzero(as_tuple=True)
        count = here[unit, bin_].long()
        total += float(rising(alpha, int(count.max()) if len(count) else 0)[unit, count].sum())
    return total


def _surrogates(problem: Problem, design: Design, fit: GLMFit, hooks: Hooks) -> tuple[Surrogates | None, str | None]:
    """Those that were asked for; with too few units for another test jittered ones, or why there are none."""
    settings, n_units = problem.settings, design.n_units
    if n_units < 2 or fit.kkt is not None:  # what has no standard errors cannot be held against surrogates
        return None, None
    if settings.surrogates is not None:
        return fit_surrogates(problem, design, fit, settings.surrogates, settings.n_surrogates, hooks), None
    if n_units >= settings.surrogates_below:
        return None, None
    if problem.lost is not None:
        return None, "surrogates move spikes in time, and some units are lost for part of it"
    if settings.count_law == NEGATIVE_BINOMIAL:
        return None, "surrogates are refits with Poisson counts, and these are negative-binomial"
    try:
        return fit_surrogates(problem, design, fit, "jitter", settings.n_surrogates, hooks), None
    except UsageError as refused:
        return None, refused.message.removeprefix("--significance jitter: ")
