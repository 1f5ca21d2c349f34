"""Standard errors of couplings beside hidden units, from the scores of the marginal likelihood.

What the data say of a coupling is what they say of it while the hidden spikes stay unknown. By Fisher's identity the score of
the visible spikes x alone is the expectation of the score that known hidden spikes z would give, over their posterior:

    ∂ log p(x) / ∂θ = E[ ∂ log p(x, z) / ∂θ | x ] ≈ mean over draws of z from the trained posterior

and its variance is the information. So each receiver's scores are summed over blocks of bins that are longer than a coupling
reaches, and the products of these sums estimate the information of its baseline and all its weights, those of its hidden inputs among
them: where a hidden unit could do the work of a coupling, the error of that coupling is wide. Known hidden spikes, or posterior means in
their place, would give errors that are far too small: they were read from the very spikes to be explained.

The trained posterior stands in for the true one, so the errors are as good as it is; the null over pairs puts them on scale.

Source: Louis, "Finding the observed information matrix when using the EM algorithm", J R Stat Soc B (1982); Berndt, Hall, Hall and
Hausman, "Estimation and inference in nonlinear structural models", Ann Econ Soc Meas (1974), for the products of scores.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spikefit.fitting.loop import JUDGE_BATCH_BINS, JUDGE_SEED
from spikefit.fitting.memory import halving
from spikefit.fitting.objective import hard_draws
from spikefit.fitting.problem import Problem
from spikefit.fitting.processes import add_up, own_share
from spikefit.fitting.sizes import CORE_BINS
from spikefit.fitting.uncertainty import MOST_SENDERS_AND_LAGS, FitErrors, correlation_of
from spikefit.fitting.windows import WindowBatch, Windows
from spikefit.models.coupling import history_features
from spikefit.models.link import LINKS
from spikefit.models.own_history import may_use
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.self_encoder import ForwardSelfPosterior
from spikefit.models.window_draws import WindowDraws, window_seed

MARGINAL = "marginal scores"
N_DRAWS = 16
LAGS_PER_BLOCK = 2  # length of a block in windows of lags, so that what belongs together is seldom cut
FEWEST_BLOCKS_PER_PARAMETER = 2  # with fewer the products are no estimate of a matrix of that size
MOST_MULTIPLICATIONS = 1.5e11  # some seconds; beyond that some of the windows must do
MOST_MATRIX_BYTES = 1 << 30


def marginal_errors(problem: Problem, model: POGLMNetwork) -> FitErrors | str:
    """Errors of the couplings between recorded units in a network with hidden ones, or why there are none.

    Args:
        problem: what was fitted.
        model: of one restart, at the end of its training.

    Returns:
        Matrices of the recorded units, without what the other senders cost (`inflation`), or a sentence.
    """
    if problem.has_corners:
        return "couplings that a group lasso shrinks or a sign holds do not scatter as the likelihood's curvature says"
    windows = problem.windows(problem.split.everything, CORE_BINS)
    n, n_parameters = model.n_visible, _n_parameters(model)
    n_blocks = len(windows) * _blocks_per_window(model, windows)
    if n_blocks < FEWEST_BLOCKS_PER_PARAMETER * n_parameters:
        return (
            f"the recording has {n_blocks:,} stretches of {_block(model)} bins, too few for errors of {n_parameters:,} parameters "
            "of each unit"
        )
    used = windows_used(model, windows)
    n_used = len(used) * _blocks_per_window(model, windows)
    if n_used < FEWEST_BLOCKS_PER_PARAMETER * n_parameters or 8 * n * n_parameters**2 > MOST_MATRIX_BYTES:
        return (
            f"there are {n_parameters:,} parameters of each of {n:,} units, too many for an information matrix of each"
        )
    information = marginal_information(model, windows, used) * (len(windows) / len(used))
    return _errors(problem, model, information, n_used)


def windows_used(model: POGLMNetwork, windows: Windows) -> Int[Tensor, " window"]:
    """Windows spread evenly over the recording, as many as the work allows: all of them unless units and bins are very many."""
    each = model.n_visible * _blocks_per_window(model, windows) * _n_parameters(model) ** 2
    n_used = min(len(windows), int(MOST_MULTIPLICATIONS // each))
    return torch.arange(n_used) * len(windows) // max(1, n_used)


@torch.no_grad()
def marginal_information(
    model: POGLMNetwork,
    windows: Windows,
    which: Int[Tensor, " window"] | None = None,
    *,
    n_draws: int = N_DRAWS,
    seed: int = JUDGE_SEED,
) -> Float[Tensor, "post parameter parameter"]:
    """Information of each visible unit's parameters in some windows, in the order of `block_scores`; float64, on the model's device.

    Draws belong to their windows, so that it does not matter how these are cut or shared among processes.
    """
    everything = torch.arange(len(windows)) if which is None else which
    # A posterior that reads its own spikes draws for all windows of a batch at once.
    whole = isinstance(model.posterior, ForwardSelfPosterior)
    mine = everything if whole else own_share(everything)
    n, n_parameters = model.n_visible, _n_parameters(model)

    def work(n_windows: int) -> Tensor:
        total = torch.zeros(n, n_parameters, n_parameters, dtype=torch.float64, device=model.basis.device)
        for which in mine.split(n_windows) if len(mine) else ():
            seeds = [window_seed(seed, k) for k in which.tolist()]
            draw = WindowDraws(lambda generator: hard_draws(model, n_draws, generator), seeds)
            batch = windows.batch(which)
            counts = _hidden_counts(model, batch, draw)
            scores = block_scores(model, batch, counts, block=_block(model)).double().transpose(0, 1)
            total += scores.transpose(1, 2) @ scores
        return total

    size = max(1, JUDGE_BATCH_BINS // (2 * max(1, windows.core)))
    total, _ = halving(work, size, what="errors of the couplings")
    if not whole:
        add_up([total])
    return total


def _hidden_counts(model: POGLMNetwork, batch: WindowBatch, draw: WindowDraws) -> Tensor:
    _, posterior_drive = model.read(batch.counts, batch.covariates, batch.spikes)
    return model.posterior.draw_at(posterior_drive, draw)[1].counts


def block_scores(
    model: POGLMNetwork,
    batch: WindowBatch,
    hidden_counts: Float[Tensor, "draw window restart hidden padded_bin"],
    *,
    block: int,
    weight: Float[Tensor, "draw window"] | None = None,
) -> Float[Tensor, "window_block post parameter"]:
    """Scores of each visible unit's parameters, averaged over draws and summed over each block of bins.

    Args:
        model: of one restart.
        batch: windows with `model.context` around their cores.
        hidden_counts: draws from the posterior, from one window of lags before the cores on.
        block: bins of a block.
        weight: of each draw in each window, adding up to one; all alike where None.

    Returns:
        The parameters are the visible weights, the hidden ones, those of covariates, and the baseline.
    """
    before, after = model.context
    n_visible, core_end = model.n_visible, batch.counts.shape[-1] - after
    visible = model.in_core(history_features(batch.counts[..., :core_end], model.basis))
    hidden = history_features(hidden_counts[:, :, 0], model.basis)
    plain = model.visible_drive(visible, batch.covariates)[:, 0, :n_visible]
    expected, slope = LINKS[model.link](plain + model.hidden_weights[0, :n_visible] @ hidden)
    residual = (batch.counts[..., before:core_end] / expected - 1) * slope
    if model.dispersion is not None:
        residual = residual / (1 + model.dispersion[0, :, None] * expected)
    scored = batch.scored_counts
    if scored is not None:
        residual = residual * (scored if scored.ndim == 3 else scored[:, None])
    share = residual.new_full(residual.shape[:2], 1 / len(residual)) if weight is None else weight
    residual = residual * share[:, :, None, None]
    mean = _in_blocks(residual.sum(0), block)
    parts = [mean @ _in_blocks(visible, block).transpose(-1, -2)]
    # Residual and hidden history go together draw by draw: products of their means would be those of known spikes.
    parts.append((_in_blocks(residual, block) @ _in_blocks(hidden, block).transpose(-1, -2)).sum(0))
    if batch.covariates is not None:
        parts.append(mean @ _in_blocks(batch.covariates, block).transpose(-1, -2))
    parts.append(mean.sum(-1, keepdim=True))
    return torch.cat(parts, dim=-1).flatten(0, 1)


def _in_blocks(values: Float[Tensor, "*batch row bin"], block: int) -> Float[Tensor, "*batch block row in_block"]:
    """Bins in blocks, the last one filled up with zeros."""
    padded = torch.nn.functional.pad(values, (0, -values.shape[-1] % block))
    return padded.unflatten(-1, (-1, block)).transpose(-2, -3)


def _block(model: POGLMNetwork) -> int:
    return LAGS_PER_BLOCK * model.n_lags


def _blocks_per_window(model: POGLMNetwork, windows: Windows) -> int:
    return math.ceil(windows.core / _block(model))


def _n_parameters(model: POGLMNetwork) -> int:
    """Of one visible unit."""
    return (model.n_visible + model.n_hidden) * model.basis.shape[1] + model.n_covariates + 1


def _errors(problem: Problem, model: POGLMNetwork, information: Tensor, n_blocks: int) -> FitErrors:
    n, n_functions = model.n_visible, model.basis.shape[1]
    basis = model.basis.double()
    ridge, free = _penalty_and_free(problem, model, information.shape[1])
    information = information + torch.diag_embed(ridge)
    information.diagonal(dim1=1, dim2=2).add_(1e-9 * information.diagonal(dim1=1, dim2=2).amax(1, keepdim=True))
    rows = basis.sum(0, keepdim=True)
    if n * len(basis) <= MOST_SENDERS_AND_LAGS:
        rows = torch.cat([rows, basis])
    one = torch.eye(n, dtype=torch.float64, device=basis.device)
    couplings = (one[:, None, :, None] * rows.T[None, :, None, :]).reshape(n * n_functions, -1)
    columns = torch.nn.functional.pad(couplings, (0, 0, 0, information.shape[1] - len(couplings)))
    further = problem.covariate_rows
    if further is not None:
        added = columns.new_zeros(len(columns), len(further))
        added[-1 - further.shape[1] : -1] = further.to(columns).T
        columns = torch.cat([columns, added], dim=1)
    errors, covariances = [], []
    for own, kept in zip(information, free, strict=True):  # all solutions at once would be larger than the matrices
        solved = torch.linalg.solve(own[kept][:, kept], columns[kept])
        variance = (solved * columns[kept]).sum(0).clamp(min=0)
        variance[(kept.double() @ columns.abs()) == 0] = torch.nan  # it rests on nothing that was fitted
        errors.append(variance.sqrt())
        sums = slice(0, couplings.shape[1], len(rows))
        covariances.append(columns[kept][:, sums].T @ solved[:, sums])
    # The inverse of a matrix that is estimated from few products is too large (inverse Wishart law).
    scale = math.sqrt(max(n_blocks - information.shape[1] - 1, 1) / n_blocks)
    error = torch.stack(errors) * scale
    by_row = error[:, : couplings.shape[1]].unflatten(1, (n, len(rows)))
    return FitErrors(
        sums=by_row[:, :, 0],
        by_lag=by_row[:, :, 1:] if len(rows) > 1 else None,
        further=None if further is None else error[:, couplings.shape[1] :],
        correlation=correlation_of(torch.stack(covariances)),
        how=MARGINAL,
    )


def _penalty_and_free(
    problem: Problem, model: POGLMNetwork, n_parameters: int
) -> tuple[Float[Tensor, "post parameter"], Bool[Tensor, "post parameter"]]:
    """The ridge on every parameter, none on the baseline, and which may differ from zero."""
    n, n_hidden, n_functions, device = model.n_visible, model.n_hidden, model.basis.shape[1], model.basis.device
    ridge = torch.full((n, n_parameters), float(problem.ridge), dtype=torch.float64, device=device)
    free = torch.ones(n, n_parameters, dtype=torch.bool, device=device)
    if model.n_coupling_functions < n_functions:
        weights = may_use(n, range(n + n_hidden), n_functions, model.n_coupling_functions, device)
        free[:, : weights.shape[1]] &= weights
    structure = None if problem.structure is None else problem.structure.to(device)
    if structure is not None:
        n_visible_weights = n * n_functions
        free[:, :n_visible_weights] &= (~structure.forbidden).repeat_interleave(n_functions, dim=1)
        ridge[:, :n_visible_weights] *= (~structure.required).repeat_interleave(n_functions, dim=1)
    ridge[:, -1] = 0.0
    return ridge, free
