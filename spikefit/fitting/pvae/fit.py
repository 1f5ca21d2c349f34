"""Fit a Poisson VAE to binned counts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikefit.errors import RecordingError, UsageError
from spikefit.fitting.checkpoint import load_checkpoint, save_checkpoint
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.pvae.data import constant_units, moments, windows_of
from spikefit.fitting.pvae.folds import FoldRanges, cut_folds
from spikefit.fitting.pvae.loop import LoopSettings, PvaeLoop
from spikefit.fitting.pvae.settings import PvaeSettings
from spikefit.fitting.pvae.training import PvaeTraining, TrainingState
from spikefit.fitting.pvae.unseen import learn_unseen
from spikefit.models.pvae.network import PVAE
from spikefit.prob.estimators import get_estimator
from spikefit.spikes import Counts

CHECKPOINT = "pvae.safetensors"


@dataclass(frozen=True, eq=False)
class FittedPvae:
    """What a fit leaves.

    Attributes:
        network: with the parameters of the best epoch, on its device.
        ranges: which bins trained, chose and are held out.
        history: series over epochs: `objective` (training bins, with β), `bound` and `hidden_units` (bins set aside).
        converged: whether the score on the bins set aside had stopped rising.
        n_epochs: passes over the training bins.
        fit_s: seconds that the training took.
    """

    network: PVAE
    ranges: FoldRanges
    history: Mapping[str, list[float]]
    converged: bool
    n_epochs: int
    fit_s: float


def join_sessions(sessions: Sequence[Counts]) -> Counts:
    """Counts of several recordings of the same units behind one another; no segment reaches from one to the next."""
    first = sessions[0]
    lengths = np.concatenate([np.diff(part.segment_offsets) for part in sessions])
    return Counts(
        counts=np.asfortranarray(np.concatenate([part.counts for part in sessions])),
        bin_width_s=first.bin_width_s,
        segment_offsets=np.concatenate([[0], np.cumsum(lengths)]),
        segment_start_s=np.concatenate([part.segment_start_s for part in sessions]),
        unit_ids=first.unit_ids,
    )


def pose_folds(counts: Counts, settings: PvaeSettings) -> FoldRanges:
    """The split of a recording for these settings.

    Raises:
        UsageError: if no segment is as long as the context, or the recording is too short.
    """
    shape = settings.shape(counts.n_units, counts.bin_width_s)
    longest = int(np.diff(counts.segment_offsets).max(initial=0))
    if longest <= shape.encoder_reach:
        raise UsageError(
            f"the longest stretch of the recording ({longest} bins, {longest * counts.bin_width_s:g} s) is shorter than "
            f"the context of the encoder ({shape.encoder_reach} bins on either side, {settings.context_s:g} s).",
            hint="pass a shorter --context, or choose longer epochs or trials",
        )
    shortest = 4 * (shape.encoder_reach + shape.decoder_reach)
    return cut_folds(counts.segment_offsets, shortest=shortest, heldout=settings.heldout, seed=settings.seed)


def fit_pvae(
    counts: Counts,
    settings: PvaeSettings,
    *,
    device: torch.device,
    hooks: Hooks | None = None,
    checkpoint_name: str = CHECKPOINT,
    keep_checkpoint: bool = False,
) -> FittedPvae:
    """Fit to the training bins of some counts.

    Args:
        counts: all bins; what is held out is left alone.
        settings: what to fit and how.
        device: where to compute.
        hooks: progress, stopping and checkpoints.
        checkpoint_name: of the file among the checkpoints.
        keep_checkpoint: write one at the end, too, from which the fit is there again at once.

    Raises:
        UsageError: if the settings do not go with the data; the two values that disagree are named.
        RecordingError: if a unit is constant.
    """
    hooks = hooks or Hooks()
    ranges = pose_folds(counts, settings)
    _check(counts, ranges, settings)
    training = new_training(counts, ranges, settings, device)
    identity = _identity(counts, settings)
    path = None if hooks.checkpoints is None else hooks.checkpoints / checkpoint_name
    if hooks.resume and path is not None and path.exists():
        training.load(*load_checkpoint(path, identity, device))
    hooks.stage(f"fitting {settings.latents} latents", settings.max_epochs)
    began = time.perf_counter()

    def on_epoch(state: TrainingState, score: float) -> None:
        hooks.update(state.epoch, bound_nats_per_bin=state.history["bound"][-1], unseen_units=score)

    def checkpoint(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        stopping = hooks.should_stop()
        due = keep_checkpoint and values["phase"] == "done"
        due |= time.monotonic() - hooks.last_checkpoint >= hooks.checkpoint_every_s
        if path is not None and (stopping or due):
            save_checkpoint(path, tensors, values, identity)
            hooks.last_checkpoint = time.monotonic()
        if stopping:
            hooks.stop()

    training.run(on_epoch=on_epoch, checkpoint=checkpoint)
    learn_unseen(training.loop.model, counts, ranges)
    state = training.state
    return FittedPvae(
        network=training.loop.model,
        ranges=ranges,
        history=state.history,
        converged=bool(state.converged),
        n_epochs=state.epoch,
        fit_s=time.perf_counter() - began,
    )


def new_training(counts: Counts, ranges: FoldRanges, settings: PvaeSettings, device: torch.device) -> PvaeTraining:
    """A network at its start, and what trains it on some bins.

    Raises:
        UsageError: if the exact estimator is asked for where there is none.
    """
    mean, spread = moments(counts, ranges.fit)
    network = PVAE(
        settings.shape(counts.n_units, counts.bin_width_s),
        mean_count=torch.from_numpy(mean),
        scale=torch.from_numpy(spread),
        generator=torch.Generator().manual_seed(settings.seed),
    ).to(device)
    exact = settings.estimator == "exact"
    if exact and not network.has_closed_form:
        raise UsageError(
            f"--estimator exact needs an expectation in closed form, which the {settings.decoder} decoder with "
            f"{settings.observation} observations and link {settings.link} has not.",
            hint="pass --decoder linear with --observation gaussian or --link exp, or another estimator",
        )
    loop = PvaeLoop(
        network,
        windows_of(counts, network, ranges=ranges.fit),
        estimator=None if exact else get_estimator(settings.estimator, temperature=settings.temperature),
        settings=LoopSettings(
            settings.learning_rate, settings.n_draws, settings.beta, settings.hidden_share(counts.n_units)
        ),
        generator=torch.Generator(device).manual_seed(settings.seed),
        shuffle=torch.Generator().manual_seed(settings.seed),
    )
    return PvaeTraining(loop, windows_of(counts, network, ranges=ranges.choose), max_epochs=settings.max_epochs)


def _check(counts: Counts, ranges: FoldRanges, settings: PvaeSettings) -> None:
    n_bins, ids = int(np.diff(ranges.fit, axis=1).sum()), counts.unit_ids
    if settings.latents > n_bins:
        raise UsageError(
            f"--latents {settings.latents}: more latents than the {n_bins} bins that train them.",
            hint="pass fewer latents, or narrower bins",
        )
    constant = np.flatnonzero(constant_units(counts, ranges.fit)).tolist()
    if constant:
        first = constant[0]
        told = ", ".join(repr(ids[k]) for k in constant[:5]) + (" …" if len(constant) > 5 else "")
        raise RecordingError(
            f"{len(constant)} of {len(ids)} units are constant over the training bins (units {told}; the first has "
            f"{int(counts.counts[ranges.fit[0, 0], first])} spikes in each of the {n_bins} bins): they say nothing.",
            hint=f"leave them out with --drop-unit {ids[first]}, or with a higher --min-spikes",
        )


def _identity(counts: Counts, settings: PvaeSettings) -> dict[str, str]:
    content = hashlib.sha256()
    for k in range(counts.n_units):
        content.update(np.ascontiguousarray(counts.counts[:, k]).tobytes())
    content.update(counts.segment_offsets.tobytes())
    identity = {"data": content.hexdigest()[:16], "bin_width_s": repr(counts.bin_width_s)}
    return identity | {name: repr(value) for name, value in vars(settings).items()}
