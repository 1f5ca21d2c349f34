"""From counts to a fitted network: the fully observed GLM always, hidden units where asked for.

What comes out is plain numpy, so that nothing downstream needs torch to look at a fit.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikefit.fitting.checkpoint import load_checkpoint, save_checkpoint
from spikefit.fitting.design import Design
from spikefit.fitting.device import float64_device
from spikefit.fitting.glm import GLMFit, fit_glm
from spikefit.fitting.loop import LoopSettings
from spikefit.fitting.pruning import keep_hidden
from spikefit.fitting.residuals import residual_factors
from spikefit.fitting.scores import (
    Blocks,
    Score,
    bits_per_spike,
    choose_hidden,
    describe_blocks,
    glm_nats,
    nats_per_bin,
    poglm_nats,
)
from spikefit.fitting.split import Split, split_bins
from spikefit.fitting.start import start_from_factors
from spikefit.fitting.training import Training, TrainingState, n_start
from spikefit.fitting.uncertainty import connectivity_errors
from spikefit.fitting.windows import Windows
from spikefit.models.basis import make_basis
from spikefit.models.coupling import filters_from_weights
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.estimators import get_estimator
from spikefit.spikes import Counts

CORE_BINS = 500  # scored bins of a training window; the context beside it is what is wasted
FEWEST_BATCH_BINS, MOST_BATCH_BINS = 2000, 16_000
STEPS_PER_PASS = 20
HELDOUT_CORE_BINS = 2000
CI_LEVEL, CI_SIGMAS = 0.9, 1.6448536269514722

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FitSettings:
    """What a fit depends on beside the counts; see `spikefit.config` for the meaning and the defaults."""

    hidden: tuple[int, ...]
    window_s: float
    basis: str
    n_functions: int
    link: str
    estimator: str
    temperature: float
    n_draws: int
    ridge: float
    restarts: int
    heldout: float
    max_epochs: int
    learning_rate: float
    seed: int


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A fit, in numpy and float64.

    Attributes:
        parameters: of the chosen model, by name, enough to score other recordings.
        coupling_filters: (post, pre, lag), visible units first.
        baseline: (post,).
        std_error: of the filters' sums, (post, pre); NaN where there is none.
        hidden_count: posterior expected counts over `hidden_bins`; (bin, hidden).
        hidden_bins: indices into the binned recording.
        metrics: scores and sizes, plain values.
        history: series over steps.
        notes: what the reader must know, as sentences.
    """

    parameters: dict[str, NDArray[Any]]
    coupling_filters: Array
    baseline: Array
    std_error: Array
    hidden_count: Array
    hidden_bins: NDArray[np.int64]
    metrics: dict[str, Any]
    history: dict[str, Array]
    notes: tuple[str, ...] = ()

    @property
    def n_hidden(self) -> int:
        return int(self.hidden_count.shape[1])


@dataclass
class Hooks:
    """What a caller wants to hear and to keep.

    Attributes:
        stage: told of a new stage and its length.
        update: told how far it is, with figures.
        checkpoints: folder for checkpoints; None for none.
        checkpoint_every_s: seconds between two of them.
        resume: go on from the checkpoints in the folder, where there are some.
        stop: raises when the run shall stop; called between epochs, after a checkpoint has been written.
        should_stop: whether the run shall stop.
    """

    stage: Callable[[str, float | None], None] = lambda stage, total: None
    update: Callable[..., None] = lambda done, **figures: None
    checkpoints: Path | None = None
    checkpoint_every_s: float = 60.0
    resume: bool = False
    should_stop: Callable[[], bool] = lambda: False
    stop: Callable[[], None] = lambda: None
    last_checkpoint: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, eq=False)
class _Problem:
    """What every candidate is fitted to."""

    counts: Tensor
    segment_offsets: NDArray[np.int64]
    split: Split
    basis: Tensor
    settings: FitSettings
    unit_ids: tuple[str, ...]
    mean_count: Tensor
    identity: dict[str, str]

    @property
    def device(self) -> torch.device:
        return self.basis.device

    @property
    def context(self) -> tuple[int, int]:
        """The same for every candidate, so that all are scored on the same windows."""
        return 2 * len(self.basis), len(self.basis)

    def windows(self, ranges: NDArray[np.int64], core: int) -> Windows:
        return Windows(
            self.counts, self.segment_offsets, ranges, context=self.context, core_bins=core, dtype=self.basis.dtype
        )


def fit_network(
    counts: Counts, settings: FitSettings, *, device: torch.device, hooks: Hooks | None = None
) -> FittedNetwork:
    """Fit every candidate number of hidden units and keep the one the held-out bins support.

    With one candidate that one is kept, and the notes say so where H = 0 predicts better.

    Args:
        counts: binned recording.
        settings: see `FitSettings`.
        device: where to compute.
        hooks: progress and checkpoints.

    Raises:
        UsageError: if window, bins and held-out share leave nothing to fit or to judge.
        NotConvergedError: if the optimiser diverges whatever the rate.
        ResultError: if a checkpoint belongs to another run.
    """
    hooks = hooks or Hooks()
    began = time.perf_counter()
    problem = _pose(counts, settings, device)
    heldout = problem.windows(problem.split.heldout, HELDOUT_CORE_BINS)
    hooks.stage("fitting without hidden units", None)
    design, fit = _fit_glm(problem, problem.split.train, hooks, None)
    blocks = describe_blocks(heldout, problem.mean_count)
    nats: dict[int, Tensor] = {0: glm_nats(fit, heldout, problem.basis, settings.link)}
    fitted: dict[int, tuple[POGLMNetwork, bool, dict[str, list[float]]]] = {}
    for n_hidden in sorted({h for h in settings.hidden if h > 0}):
        trained = _train(problem, n_hidden, design, fit, hooks)
        nats[n_hidden] = poglm_nats(trained[0], heldout)
        fitted[n_hidden] = trained[1:]
    chosen = settings.hidden[0]
    if len(settings.hidden) > 1 and len(heldout):
        chosen = choose_hidden({h: nats[h] for h in settings.hidden}, blocks.n_bins)
    metrics = _score(nats, chosen, blocks) | _sizes(problem, counts, heldout)
    if chosen == 0:
        return _glm_outcome(problem, fit, metrics, hooks, began)
    return _poglm_outcome(problem, *fitted[chosen], metrics, began)


def _pose(counts: Counts, settings: FitSettings, device: torch.device) -> _Problem:
    basis = make_basis(
        settings.basis, window_s=settings.window_s, bin_width_s=counts.bin_width_s, n_functions=settings.n_functions
    )
    split = split_bins(counts.segment_offsets, n_lags=len(basis), heldout=settings.heldout, seed=settings.seed)
    # Stored unit after unit, so the transpose is the memory as it lies; torch has few unsigned types.
    by_unit = counts.counts.T
    if by_unit.dtype != np.uint8:
        by_unit = by_unit.astype(np.int16 if by_unit.max(initial=0) < 2**15 else np.int32)
    on_device = torch.from_numpy(np.ascontiguousarray(by_unit)).to(device)
    mean_count = torch.zeros(counts.n_units, dtype=torch.float64)
    for start, stop in split.train.tolist():
        mean_count += on_device[:, start:stop].sum(1, dtype=torch.int64).cpu()
    # Half a spike where there was none: a rate of zero could never be surprised.
    mean_count = mean_count.clamp(min=0.5) / max(1, split.n_train)
    content = hashlib.sha256(np.ascontiguousarray(counts.counts.T).tobytes())
    content.update(counts.segment_offsets.tobytes())
    identity = {"data": content.hexdigest()[:16], "bin_width_s": repr(counts.bin_width_s)}
    identity |= {name: repr(value) for name, value in vars(settings).items() if name != "hidden"}
    dtype = torch.float32
    return _Problem(
        counts=on_device,
        segment_offsets=counts.segment_offsets,
        split=split,
        basis=torch.from_numpy(basis).to(device, dtype),
        settings=settings,
        unit_ids=counts.unit_ids,
        mean_count=mean_count,
        identity=identity,
    )


# -- without hidden units ------------------------------------------------------------------------------------------


def _fit_glm(problem: _Problem, ranges: NDArray[np.int64], hooks: Hooks, start: GLMFit | None) -> tuple[Design, GLMFit]:
    where = float64_device(problem.device)
    design = Design(problem.counts.to(where), ranges, problem.basis.to(where), cache_bytes=feature_cache_bytes())
    # The penalty belongs to the whole recording: a part of it gets its share.
    share = design.n_bins / max(1, int(np.diff(problem.split.everything, axis=1).sum()))

    def tell(iteration: int, objective: float, decrement: float) -> None:
        hooks.update(iteration, nats_per_bin=objective / design.n_bins, nats_to_go=decrement)
        if hooks.should_stop():
            hooks.stop()

    fit = fit_glm(
        design, ridge=problem.settings.ridge * share, link=problem.settings.link, start=start, on_iteration=tell
    )
    return design, fit


def feature_cache_bytes() -> int:
    """How much of the features may be kept between passes: a quarter of the machine's memory, 2 GB at most."""
    import os

    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        total = 4 * 1024**3
    return min(total // 4, 2 * 1024**3)


def _glm_outcome(
    problem: _Problem, on_train: GLMFit, metrics: dict[str, Any], hooks: Hooks, began: float
) -> FittedNetwork:
    settings = problem.settings
    design, fit = _fit_glm(problem, problem.split.everything, hooks, on_train)
    basis = problem.basis.to(design.device)
    std_error, how = connectivity_errors(design, fit, basis, ridge=settings.ridge, link=settings.link)
    filters = filters_from_weights(fit.weights, basis.double()).cpu().numpy()
    n_bins = design.n_bins
    metrics |= {
        "converged": fit.converged and on_train.converged,
        "elbo_per_bin": fit.objective[-1] / n_bins - _factorials_per_bin(problem),
        "std_error_method": how,
        "ci_level": CI_LEVEL,
        "fit_s": time.perf_counter() - began,
    }
    objective = np.array(fit.objective) / n_bins - _factorials_per_bin(problem)
    return FittedNetwork(
        parameters={
            "basis": problem.basis.cpu().numpy(),
            "baseline": fit.baseline.cpu().numpy(),
            "visible_weights": fit.weights.cpu().numpy(),
        },
        coupling_filters=filters,
        baseline=fit.baseline.cpu().numpy(),
        std_error=std_error.cpu().numpy(),
        hidden_count=np.empty((0, 0)),
        hidden_bins=np.empty(0, dtype=np.int64),
        metrics=metrics,
        history={"step": np.arange(len(objective), dtype=np.float64), "objective": objective},
        notes=_notes(metrics, fit.converged),
    )


def _factorials_per_bin(problem: _Problem) -> float:
    """Σ log x! per scored bin over the whole recording."""
    total, n_bins = 0.0, 0
    for start, stop in problem.split.everything.tolist():
        values, n = torch.unique(problem.counts[:, start:stop], return_counts=True)
        total += float((torch.lgamma(values.double() + 1) * n).sum())
        n_bins += stop - start
    return total / max(1, n_bins)


# -- with hidden units ---------------------------------------------------------------------------------------------


def _train(
    problem: _Problem, n_hidden: int, design: Design, fit: GLMFit, hooks: Hooks
) -> tuple[POGLMNetwork, POGLMNetwork, bool, dict[str, list[float]]]:
    """Train one candidate; the model that is scored, the one that is reported, whether it converged, its history."""
    settings = problem.settings
    n_first = n_start(n_hidden)
    model = POGLMNetwork(len(problem.counts), n_first, problem.basis, link=settings.link, n_restarts=settings.restarts)
    n_train = problem.split.n_train
    batch_bins = min(max(n_train // STEPS_PER_PASS, FEWEST_BATCH_BINS), MOST_BATCH_BINS)
    train = problem.windows(problem.split.train, CORE_BINS)
    training = Training(
        model,
        n_hidden=n_hidden,
        train=train,
        heldout=problem.windows(problem.split.heldout, HELDOUT_CORE_BINS),
        everything=problem.windows(problem.split.everything, CORE_BINS),
        estimator=get_estimator(settings.estimator, temperature=settings.temperature),
        settings=LoopSettings(
            learning_rate=settings.learning_rate,
            n_draws=settings.n_draws,
            ridge=settings.ridge,
            batch_windows=max(1, batch_bins // max(1, train.core)),
        ),
        max_epochs=settings.max_epochs,
        seed=settings.seed,
        name_unit=lambda index: [*problem.unit_ids, *(f"hidden-{h}" for h in range(n_first))][index],
    )
    path = None if hooks.checkpoints is None else hooks.checkpoints / f"hidden-{n_hidden}.safetensors"
    if path is not None and hooks.resume and path.exists():
        training.restore(*load_checkpoint(path, problem.identity, problem.device))
    else:
        generator = torch.Generator().manual_seed(settings.seed)
        factors = restart_factors(design, fit, n_first, n_hidden, settings)
        start_from_factors(model, factors, problem.mean_count, train, generator)
    hooks.stage(f"fitting {n_hidden} hidden unit{'s' if n_hidden > 1 else ''}", None)

    def checkpoint(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        stopping = hooks.should_stop()
        due = time.monotonic() - hooks.last_checkpoint >= hooks.checkpoint_every_s
        # A finished candidate is kept too: a run over several resumes at the next one.
        if path is not None and (stopping or due or values["phase"] == "done"):
            save_checkpoint(path, tensors, values, problem.identity)
            hooks.last_checkpoint = time.monotonic()
        if stopping:
            hooks.stop()

    def tell(state: TrainingState, bound: float) -> None:
        hooks.update(state.epoch, nats_per_bin=bound - _offset)

    _offset = _factorials_per_bin(problem)
    trained = training.run(on_epoch=tell, checkpoint=checkpoint)
    return trained.scored, trained.reported, trained.converged, trained.history


def restart_factors(design: Design, fit: GLMFit, n_first: int, n_hidden: int, settings: FitSettings) -> list[Tensor]:
    """Factors for every restart: as many as the model holds, then as few as were asked for, then in between."""
    out = []
    for restart in range(settings.restarts):
        n = n_first - restart % (n_first - n_hidden + 1)
        loadings = residual_factors(design, fit, n_factors=n, link=settings.link)
        if restart > n_first - n_hidden:
            generator = torch.Generator().manual_seed(settings.seed + restart)
            jitter = torch.randn(loadings.shape, dtype=torch.float64, generator=generator)
            loadings = loadings * torch.exp(0.5 * jitter)
        out.append(torch.nn.functional.pad(loadings, (0, n_first - n)))
    return out


def _poglm_outcome(
    problem: _Problem,
    model: POGLMNetwork,
    converged: bool,
    history: Mapping[str, list[float]],
    metrics: dict[str, Any],
    began: float,
) -> FittedNetwork:
    everything = problem.windows(problem.split.everything, HELDOUT_CORE_BINS)
    bins, expected = posterior_counts(model, everything)
    model, expected = _strongest_first(model, expected)
    metrics |= {
        "converged": converged,
        "elbo_per_bin": poglm_nats(model, everything).sum().item() / everything.n_bins - _factorials_per_bin(problem),
        "std_error_method": None,
        "fit_s": time.perf_counter() - began,
    }
    with torch.no_grad():
        filters = model.coupling_filters()[0].double().cpu().numpy()
    n_units = len(filters)
    factorials = _factorials_per_bin(problem)
    series = {name: np.array(values, dtype=np.float64) for name, values in history.items()}
    for name in series:
        if not name.endswith("_step"):
            series[name] = series[name] - factorials
    series["step"] = series.pop("objective_step")
    return FittedNetwork(
        parameters={name: p.detach()[0].cpu().numpy() for name, p in model.named_parameters()}
        | {"basis": problem.basis.cpu().numpy()},
        coupling_filters=filters,
        baseline=model.baseline.detach()[0].double().cpu().numpy(),
        std_error=np.full((n_units, n_units), np.nan),
        hidden_count=expected,
        hidden_bins=bins,
        metrics=metrics,
        history=series,
        notes=_notes(metrics, converged),
    )


@torch.no_grad()
def posterior_counts(model: POGLMNetwork, windows: Windows) -> tuple[NDArray[np.int64], Array]:
    """Posterior expected hidden counts of a model of one restart, in the windows' scored bins; (bin,), (bin, hidden)."""
    bins, rows = [], []
    per_batch = max(1, 8192 // max(1, windows.core))
    at = 0
    for batch in windows.batches(per_batch):
        log_expected = model.posterior(model.posterior.features(batch.counts))
        expected = log_expected[:, 0, :, model.n_lags :].exp().double().cpu().numpy()
        for one in expected:
            start, length = int(windows.starts[at]), int(windows.lengths[at])
            bins.append(np.arange(start, start + length))
            rows.append(one[:, :length].T)
            at += 1
    return np.concatenate(bins), np.concatenate(rows)


@torch.no_grad()
def _strongest_first(model: POGLMNetwork, expected: Array) -> tuple[POGLMNetwork, Array]:
    """Order hidden units by how much their fluctuations move the visible ones."""
    filters = model.coupling_filters()[0, : model.n_visible, model.n_visible :].sum(-1)
    strength = filters.norm(dim=0).cpu().numpy() * expected.std(axis=0)
    order = np.argsort(-strength, kind="stable")
    return keep_hidden(model, torch.from_numpy(order)[None]), expected[:, order]


# -- scores --------------------------------------------------------------------------------------------------------


def _sizes(problem: _Problem, counts: Counts, heldout: Windows) -> dict[str, Any]:
    return {
        "n_visible": counts.n_units,
        "n_bins": int(np.diff(problem.split.everything, axis=1).sum()),
        "n_train_bins": problem.split.n_train,
        "n_heldout_bins": heldout.n_bins,
        "n_lags": len(problem.basis),
    }


def _score(nats: dict[int, Tensor], chosen: int, blocks: Blocks) -> dict[str, Any]:
    """Held-out scores of the chosen candidate, of H = 0, and of the difference."""
    if not len(blocks.n_bins):
        return {"n_hidden": chosen, "heldout_nats_per_bin": math.nan, "heldout_bits_per_spike": math.nan}
    absolute = {h: nats_per_bin(values - blocks.factorials, blocks) for h, values in nats.items()}
    bits = {h: bits_per_spike(values, blocks) for h, values in nats.items()}
    out: dict[str, Any] = {"n_hidden": chosen}
    for prefix, h in (("heldout", chosen), ("h0_heldout", 0)):
        out |= _named(f"{prefix}_nats_per_bin", absolute[h]) | _named(f"{prefix}_bits_per_spike", bits[h])
    gain = nats_per_bin(nats[chosen] - nats[0], blocks)
    out |= {"heldout_gain_nats_per_bin": gain.value, "heldout_gain_se": gain.error}
    if len(nats) > 1:
        out["candidates"] = [
            {"n_hidden": h}
            | _named("heldout_nats_per_bin", absolute[h])
            | _named("heldout_gain_nats_per_bin", nats_per_bin(nats[h] - nats[0], blocks))
            for h in sorted(nats)
        ]
    return out


def _named(name: str, score: Score) -> dict[str, float]:
    return {name: score.value, f"{name}_se": score.error}


def _notes(metrics: dict[str, Any], converged: bool) -> tuple[str, ...]:
    notes = []
    if not converged:
        notes.append("the fit did not converge within max_epochs; its numbers may still move")
    gain, error = metrics.get("heldout_gain_nats_per_bin", math.nan), metrics.get("heldout_gain_se", math.nan)
    n_hidden = metrics["n_hidden"]
    if n_hidden > 0 and gain < -error:
        notes.append(
            f"H = 0 is better: without hidden units the held-out score is higher by {-gain:.4f} ± {error:.4f} nats per "
            f"bin than with {n_hidden}; trust the fit without hidden units"
        )
    elif n_hidden > 0 and gain <= error:
        notes.append(
            f"the held-out score cannot tell {n_hidden} hidden units from none "
            f"(gain {gain:.4f} ± {error:.4f} nats per bin)"
        )
    return tuple(notes)
