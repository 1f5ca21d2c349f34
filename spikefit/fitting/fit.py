"""From counts to a fitted network: the fully observed GLM always, hidden units where asked for.

What comes out is plain numpy, so that nothing downstream needs torch to look at a fit.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import torch

from spikefit.fitting.candidates import Candidates, fit_candidates
from spikefit.fitting.choice import choice_metrics, further_scores
from spikefit.fitting.compiling import compile_metrics, compile_notes
from spikefit.fitting.data_notes import data_notes
from spikefit.fitting.expected import judged_bins
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.how_many import CountShared
from spikefit.fitting.knowing import settle_structure
from spikefit.fitting.outcome import Array, FittedNetwork, score_metrics, size_metrics
from spikefit.fitting.pieces_of_time import scores_by_piece
from spikefit.fitting.problem import Problem, pose_problem
from spikefit.fitting.ridge import RidgeScore, choose_ridge
from spikefit.fitting.settings import NEGATIVE_BINOMIAL, FitSettings
from spikefit.fitting.with_hidden import poglm_outcome
from spikefit.fitting.without_hidden import glm_outcome
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

    With one candidate that one is kept, and the notes say so where H = 0 predicts better.

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
    problem, ridge_path = _pose(counts, settings, device, hooks)
    problem, known = settle_structure(problem, hooks)
    candidates = fit_candidates(problem, hooks, count_shared)
    chosen = candidates.choose()
    metrics = score_metrics(candidates.nats, chosen, candidates.blocks) | size_metrics(problem, candidates.heldout)
    metrics["ridge"] = problem.ridge
    if ridge_path:
        metrics["ridge_path"] = [score._asdict() for score in ridge_path]
    metrics |= known
    metrics |= compile_metrics(problem.kernels)
    metrics["h0_common_drive"] = problem.common_drive is not None
    metrics |= choice_metrics(candidates, chosen, counts)
    for row in metrics.get("candidates", ()):
        row |= further_scores(candidates)[row["n_hidden"]]
    if chosen == 0:
        network = glm_outcome(problem, candidates.observed, metrics, hooks, began)
    else:
        folds = candidates.cross.models[chosen] if candidates.cross else ()
        network = poglm_outcome(
            problem,
            candidates.trained[chosen],
            metrics,
            began,
            lambda why: candidates.tested_without_hidden(hooks, why),
            folds,
        )
        network = dataclasses.replace(network, notes=network.notes + data_notes(problem, candidates.plain[0]))
    network = dataclasses.replace(
        network, notes=network.notes + compile_notes(problem.kernels) + _memory_notes(problem)
    )
    scored = candidates.trained[chosen].scored if chosen else candidates.observed
    if chosen:
        weight, curvature, inflation = candidates.plain_couplings()
        network = dataclasses.replace(
            network, h0_connectivity=weight, curvature=curvature, variance_inflation=inflation
        )
    return dataclasses.replace(
        network,
        history=dict(network.history)
        | _by_block(candidates, chosen, counts)
        | scores_by_piece(problem, scored, counts.time_s, counts.bin_width_s),
        # Rescaled intervals are exponential for Poisson counts alone.
        judged=judged_bins(problem, scored) if settings.count_law != NEGATIVE_BINOMIAL else None,
    )


def _pose(
    counts: Counts, settings: FitSettings, device: torch.device, hooks: Hooks
) -> tuple[Problem, list[RidgeScore]]:
    """The problem with its penalty, and how that was chosen where the settings leave it open."""
    problem = pose_problem(counts, settings, device)
    if settings.ridge is not None:
        return problem, []
    ridge, path = choose_ridge(problem, hooks)
    return dataclasses.replace(problem, settings=dataclasses.replace(settings, ridge=ridge)), path


def _memory_notes(problem: Problem) -> tuple[str, ...]:
    """Where the limit that was asked for was not kept."""
    asked = problem.settings.memory_limit is not None
    return (problem.memory.beyond_limit,) if asked and problem.memory.beyond_limit else ()


def _by_block(candidates: Candidates, chosen: int, counts: Counts) -> dict[str, Array]:
    """Scores block by block: so two fits of one recording can be compared far more sharply than by their totals."""
    heldout = candidates.heldout
    return {
        "heldout_block_start_s": counts.time_s[heldout.starts],
        "heldout_block_bins": heldout.lengths.astype(np.float64),
        "heldout_block_nats": (candidates.nats[chosen] - candidates.blocks.factorials).numpy(),
    }
