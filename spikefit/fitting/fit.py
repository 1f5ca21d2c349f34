"""From counts to a fitted network: the fully observed GLM always, hidden units where asked for.

What comes out is plain numpy, so that nothing downstream needs torch to look at a fit.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import torch
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.expected import judged_bins
from spikefit.fitting.glm import GLMFit
from spikefit.fitting.how_many import CountShared, candidates_for, overfit_nats, say_choice
from spikefit.fitting.outcome import Array, FittedNetwork, score_metrics, size_metrics
from spikefit.fitting.problem import HELDOUT_CORE_BINS, FitSettings, Hooks, Problem, pose_problem
from spikefit.fitting.ridge import RidgeScore, choose_ridge
from spikefit.fitting.scores import choose_hidden, describe_blocks, glm_nats, poglm_nats
from spikefit.fitting.uncertainty import connectivity_errors
from spikefit.fitting.with_hidden import poglm_outcome, train_candidate
from spikefit.fitting.without_hidden import fit_observed, glm_outcome
from spikefit.models.coupling import filters_from_weights
from spikefit.models.poglm import POGLMNetwork
from spikefit.spikes import Counts


def fit_network(
    counts: Counts,
    settings: FitSettings,
    *,
    device: torch.device,
    hooks: Hooks | None = None,
    count_shared: CountShared | None = None,
) -> FittedNetwork:
    """Fit every candidate number of hidden units and keep the one the held-out bins support.

    With one candidate that one is kept, and the notes say so where H = 0 predicts better. The common drive belongs to
    H = 0 alone: hidden units are the common drive, and with covariates in their place they would not be found. So
    hidden units must beat the best that can be done without them.

    Args:
        counts: binned recording.
        settings: see `FitSettings`.
        device: where to compute.
        hooks: progress and checkpoints.
        count_shared: counts the inputs that units share, from couplings and their errors; for `hidden_auto` alone.

    Raises:
        UsageError: if window, bins and held-out share leave nothing to fit or to judge.
        NotConvergedError: if the optimiser diverges whatever the rate.
        ResultError: if a checkpoint belongs to another run.
    """
    hooks = hooks or Hooks()
    began = time.perf_counter()
    problem = pose_problem(counts, settings, device)
    ridge_path: list[RidgeScore] = []
    if settings.ridge is None:
        ridge, ridge_path = choose_ridge(problem, hooks)
        problem = dataclasses.replace(problem, settings=dataclasses.replace(settings, ridge=ridge))
    heldout = problem.windows(problem.split.heldout, HELDOUT_CORE_BINS)
    hooks.stage("fitting without hidden units", None)
    design, fit = fit_observed(problem, problem.split.train, hooks, None)
    blocks = describe_blocks(heldout, problem.mean_count)
    nats: dict[int, Tensor] = {0: glm_nats(fit, heldout, problem.basis, settings.link, problem.inputs)}
    fitted: dict[int, tuple[POGLMNetwork, POGLMNetwork, bool, dict[str, list[float]]]] = {}
    plain = fit
    candidates, n_shared = settings.hidden, None
    if settings.hidden_auto and count_shared is not None and len(heldout):
        n_shared = count_shared(*_couplings(problem, design, fit))
        candidates = candidates_for(n_shared, len(problem.counts))
    if max(candidates) > 0 and problem.common_drive is not None:
        # Hidden units start from what couplings alone leave unexplained.
        design, plain = fit_observed(problem, problem.split.train, hooks, None, common_drive=False)
    for n_hidden in sorted({h for h in candidates if h > 0}):
        trained = train_candidate(problem, n_hidden, design, plain, hooks)
        nats[n_hidden] = poglm_nats(trained[0], heldout)
        fitted[n_hidden] = trained
    chosen = candidates[0]
    if len(candidates) > 1 and len(heldout):
        compared = {h: nats[h] for h in candidates}
        if settings.hidden_auto:
            compared[0] = nats[0] + blocks.n_bins * overfit_nats(fit, problem.split.n_train)
        chosen = choose_hidden(compared, blocks.n_bins)
    metrics = score_metrics(nats, chosen, blocks) | size_metrics(problem, heldout)
    metrics["ridge"] = problem.ridge
    if ridge_path:
        metrics["ridge_path"] = [score._asdict() for score in ridge_path]
    metrics["h0_common_drive"] = problem.common_drive is not None
    if settings.hidden_auto:
        metrics |= {"hidden_auto": True, "n_shared_inputs_train": n_shared}
        metrics["hidden_bar_nats_per_bin"] = overfit_nats(fit, problem.split.n_train)
        metrics["hidden_choice"] = say_choice(n_shared, chosen, candidates)
    if chosen == 0:
        network = glm_outcome(problem, fit, metrics, hooks, began)
    else:
        network = poglm_outcome(problem, *fitted[chosen][1:], metrics, began)
    # Two fits of one recording can be compared block by block, which is far sharper than by their totals.
    by_block = {
        "heldout_block_start_s": counts.time_s[heldout.starts],
        "heldout_block_bins": heldout.lengths.astype(np.float64),
        "heldout_block_nats": (nats[chosen] - blocks.factorials).numpy(),
    }
    h0 = filters_from_weights(fit.weights[:, : design.n_couplings], problem.basis.to(fit.weights)).sum(-1).cpu().numpy()
    judged = judged_bins(problem, fitted[chosen][0] if chosen else fit)
    return dataclasses.replace(
        network, history=dict(network.history) | by_block, judged=judged, h0_connectivity=h0 if chosen else None
    )


def _couplings(problem: Problem, design: Design, fit: GLMFit) -> tuple[Array, Array]:
    """Couplings of a fit without hidden units summed over lags, and their standard errors; (post, pre) each."""
    settings, basis = problem.settings, problem.basis.to(design.device)
    errors, _ = connectivity_errors(design, fit, basis, ridge=problem.ridge, link=settings.link)
    filters = filters_from_weights(fit.weights[:, : design.n_couplings], basis.double())
    return filters.sum(-1).cpu().numpy(), errors.cpu().numpy()
