"""A candidate with hidden units: from the residuals of the GLM through training to the network that is reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikefit.fitting.checkpoint import load_checkpoint, save_checkpoint
from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.loop import LoopSettings
from spikefit.fitting.marginal_errors import marginal_errors
from spikefit.fitting.outcome import CI_LEVEL, Array, FittedNetwork, PlainCouplings, notes_on
from spikefit.fitting.posterior import posterior_counts
from spikefit.fitting.problem import Problem
from spikefit.fitting.pruning import keep_hidden
from spikefit.fitting.residuals import ROTATIONS, residual_factors
from spikefit.fitting.scores import poglm_nats
from spikefit.fitting.settings import NEGATIVE_BINOMIAL, FitSettings
from spikefit.fitting.sizes import CORE_BINS, HELDOUT_CORE_BINS, batch_windows, n_start
from spikefit.fitting.stability import stability_of
from spikefit.fitting.start import first_signs, start_from_factors
from spikefit.fitting.training import Trained, Training, TrainingState
from spikefit.fitting.uncertainty import FitErrors
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.chain import categorical_estimator
from spikefit.prob.estimators import get_estimator
from spikefit.prob.protocol import Estimator
from spikefit.results.parts import hidden_ids


def train_candidate(
    problem: Problem, n_hidden: int, design: Design, fit: GLMFit, hooks: Hooks, *, polish: bool = True
) -> Trained:
    """Train one candidate, from what the fit without hidden units on that design leaves unexplained.

    Without the polish on all bins the reported model is the scored one.
    """
    training = _posed(problem, n_hidden, polish=polish)
    settings = problem.settings
    path = None if hooks.checkpoints is None else hooks.checkpoints / f"hidden-{n_hidden}.safetensors"
    if path is not None and hooks.resume and path.exists():
        training.restore(*load_checkpoint(path, problem.identity, problem.device))
    else:
        _start_from(fit, design, training, problem)
        if settings.learning_rate is None:
            hooks.stage("finding the learning rate", None)
            training.find_learning_rate(settings.seed)
    rate = f", learning rate {training.state.learning_rate:.2g}" if settings.learning_rate is None else ""
    hooks.stage(f"fitting {n_hidden} hidden unit{'s' if n_hidden > 1 else ''}{rate}", None)

    def checkpoint(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        stopping = hooks.should_stop()
        due = time.monotonic() - hooks.last_checkpoint >= hooks.checkpoint_every_s
        # A finished candidate is kept too: a run over several resumes at the next one.
        if path is not None and hooks.keeps_checkpoints and (stopping or due or values["phase"] == "done"):
            save_checkpoint(path, tensors, values, problem.identity)
            hooks.last_checkpoint = time.monotonic()
        if stopping:
            hooks.stop()

    def tell(state: TrainingState, bound: float) -> None:
        hooks.update(state.epoch, nats_per_bin=bound - problem.factorials_per_bin)

    return training.run(on_epoch=tell, checkpoint=checkpoint)


def _posed(problem: Problem, n_hidden: int, *, polish: bool) -> Training:
    """The training of one candidate, its model not yet started."""
    settings = problem.settings
    n_first = n_start(n_hidden)
    model = POGLMNetwork(
        len(problem.counts),
        n_first,
        problem.basis,
        link=settings.link,
        family=settings.family,
        posterior=settings.posterior,
        n_restarts=settings.restarts,
        n_covariates=problem.n_covariates,
        posterior_depth=settings.posterior_depth,
        n_coupling_functions=problem.n_coupling_functions,
        max_count=settings.max_count,
        scattered=problem.settings.count_law == NEGATIVE_BINOMIAL,
    )
    train = problem.windows(problem.split.train, CORE_BINS)
    signs = first_signs(settings.restarts, settings.hidden_sign)
    return Training(
        model,
        n_hidden=n_hidden,
        train=train,
        heldout=problem.windows(problem.split.heldout, HELDOUT_CORE_BINS),
        everything=problem.windows(problem.split.everything, CORE_BINS),
        estimator=choose_estimator(settings),
        settings=LoopSettings(
            learning_rate=0.0 if settings.learning_rate is None else settings.learning_rate,  # 0 until it is found
            n_draws=settings.n_draws,
            ridge=problem.ridge,
            batch_windows=batch_windows(problem.split.n_train, train.core),
            part_windows=problem.memory.part_windows,
            hidden_sign=settings.hidden_sign,
            structure=problem.structure,
            kernels=problem.kernels,
        ),
        max_epochs=settings.max_epochs,
        polish=polish,
        early_signs=signs,
        seed=settings.seed,
        name_unit=lambda index: (*problem.unit_ids, *hidden_ids(n_first))[index],
    )


def _start_from(fit: GLMFit, design: Design, training: Training, problem: Problem) -> None:
    """Start a training's model from what the fit without hidden units leaves unexplained on that design."""
    settings, model = problem.settings, training.loop.model
    signs = first_signs(settings.restarts, settings.hidden_sign)
    generator = torch.Generator().manual_seed(settings.seed)
    factors = restart_factors(design, fit, n_start(training.n_hidden), settings, signs)
    start_from_factors(model, factors, problem.mean_count, training.windows["train"], generator, signs=signs)
    with torch.no_grad():
        if model.log_dispersion is not None and fit.dispersion is not None:
            model.log_dispersion.copy_(fit.dispersion.log())
        if model.covariate_weights is not None:
            # A covariate was measured, so what it explains without hidden units is its own.
            model.covariate_weights[:, : model.n_visible] = fit.weights[:, -problem.n_covariates :].to(problem.basis)


def choose_estimator(settings: FitSettings) -> Estimator:
    """The gradient estimator that goes with the posterior's family."""
    if settings.family == "categorical":
        return categorical_estimator(settings.estimator, temperature=settings.temperature, max_count=settings.max_count)
    return get_estimator(settings.estimator, temperature=settings.temperature)


def restart_factors(
    design: Design, fit: GLMFit, n_factors: int, settings: FitSettings, signs: Sequence[int]
) -> list[Tensor]:
    """Factors for every restart: one rotation of them after another, then the same again, jittered."""
    out = []
    for restart in range(settings.restarts):
        # An inhibitory restart among excitatory ones takes the first rotation too, in place of the least sharp one.
        turn = 0 if signs[restart] < 0 < max(signs) else restart % len(ROTATIONS)
        rotation = ROTATIONS[turn]
        loadings = residual_factors(design, fit, n_factors=n_factors, link=settings.link, rotation=rotation)
        if restart >= len(ROTATIONS):
            generator = torch.Generator().manual_seed(settings.seed + restart)
            jitter = torch.randn(loadings.shape, dtype=torch.float64, generator=generator)
            loadings = loadings * torch.exp(0.5 * jitter)
        out.append(loadings)
    return out


def poglm_outcome(
    problem: Problem,
    trained: Trained,
    metrics: dict[str, Any],
    began: float,
    test_without: Callable[[str], PlainCouplings],
    folds: Sequence[POGLMNetwork] = (),
) -> FittedNetwork:
    """The trained network with its hidden units in order and their activity on all bins.

    Args:
        problem: what was fitted.
        trained: what training left; the model that is reported is taken from it.
        metrics: scores that were taken before; added to.
        began: when the fit began, on the clock of `time.perf_counter`.
        test_without: gives what is tested where the network's own couplings have no errors, told why.
        folds: models of as many hidden units that were fitted to other parts of the training bins.
    """
    everything = problem.windows(problem.split.everything, HELDOUT_CORE_BINS)
    bins, expected = posterior_counts(trained.reported, everything)
    model, expected = _strongest_first(trained.reported, expected)
    errors = marginal_errors(problem, model)
    plain = test_without(errors) if isinstance(errors, str) and not problem.has_corners else None
    metrics |= {
        "converged": trained.converged,
        "elbo_per_bin": poglm_nats(model, everything).sum().item() / everything.n_bins - problem.factorials_per_bin,
        "std_error_method": None if isinstance(errors, str) else errors.how,
        "ci_level": CI_LEVEL,
        "common_drive": False,
        "learning_rate": trained.learning_rate,
        "fit_s": time.perf_counter() - began,
    }
    if trained.turning_rates:
        metrics["learning_rate_turning"] = list(trained.turning_rates)
    with torch.no_grad():
        filters = model.coupling_filters()[0].double().cpu().numpy()
    series = {name: np.array(values, dtype=np.float64) for name, values in trained.history.items()}
    for name in series:
        if not name.endswith("_step"):
            series[name] = series[name] - problem.factorials_per_bin
    series["step"] = series.pop("objective_step")
    return FittedNetwork(
        parameters={name: p.detach()[0].cpu().numpy() for name, p in model.named_parameters()}
        | {"basis": problem.basis.cpu().numpy()},
        coupling_filters=filters,
        baseline=model.baseline.detach()[0].double().cpu().numpy(),
        **_error_fields(errors, len(filters)),
        hidden_count=expected,
        hidden_bins=bins,
        metrics=metrics,
        history=series,
        notes=notes_on(metrics, trained.converged) + _on_errors(errors),
        plain=plain,
        stability=stability_of(problem, model, (*trained.others, *folds)),
        restart_connectivity=_visible_couplings(trained.others),
    )


def _on_errors(errors: FitErrors | str) -> tuple[str, ...]:
    return (f"couplings have no standard errors: {errors}",) if isinstance(errors, str) else ()


def _error_fields(errors: FitErrors | str, n_units: int) -> dict[str, Any]:
    """Errors in matrices of all units, NaN for hidden ones; those of single lags and their correlations are of the recorded units alone."""
    std_error = np.full((n_units, n_units), np.nan)
    if isinstance(errors, str):
        return {"std_error": std_error}
    n = len(errors.sums)
    std_error[:n, :n] = errors.sums.cpu().numpy()
    fields: dict[str, Any] = {"std_error": std_error}
    if errors.by_lag is not None:
        fields["filter_std_error"] = errors.by_lag.cpu().numpy()
    if errors.correlation is not None:
        fields["coupling_correlation"] = errors.correlation.cpu().numpy()
    if errors.further is not None:
        further = np.full((n_units, errors.further.shape[1]), np.nan)
        further[:n] = errors.further.cpu().numpy()
        fields["covariate_std_error"] = further
    return fields


@torch.no_grad()
def _visible_couplings(models: Sequence[POGLMNetwork]) -> Array | None:
    """Couplings of recorded units summed over lags in every restart of some models, (restart, post, pre); None without any."""
    if not models:
        return None
    n = models[0].n_visible
    return torch.cat([model.coupling_filters()[:, :n, :n].sum(-1) for model in models]).double().cpu().numpy()


@torch.no_grad()
def _strongest_first(model: POGLMNetwork, expected: Array) -> tuple[POGLMNetwork, Array]:
    """Order hidden units by how much their fluctuations move the visible ones."""
    filters = model.coupling_filters()[0, : model.n_visible, model.n_visible :].sum(-1)
    strength = filters.norm(dim=0).cpu().numpy() * expected.std(axis=0)
    order = np.argsort(-strength, kind="stable")
    return keep_hidden(model, torch.from_numpy(order)[None]), expected[:, order]
