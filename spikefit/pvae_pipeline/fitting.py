"""Fitting a Poisson VAE: recordings in, a result folder out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikefit.config import Config
from spikefit.errors import NotConvergedError, UsageError
from spikefit.latent_files import LatentFit, score_of_fit, to_latents, trial_averages, write_fit
from spikefit.pipeline import Recording, claimed
from spikefit.progress import Progress, SilentProgress
from spikefit.provenance import RunRecord
from spikefit.pvae_pipeline.sessions import prepare_sessions
from spikefit.pvae_pipeline.settings import pvae_settings
from spikefit.results.latents import LATENTS_FILE
from spikefit.spikes import Counts, SpikeTrains
from spikefit.stopping import Stopper

if TYPE_CHECKING:
    import torch

    from spikefit.fitting.hooks import Hooks
    from spikefit.fitting.pvae.choose import LatentChoice

logger = logging.getLogger(__name__)


def fit(
    recordings: Recording | Sequence[Recording],
    out: str | Path | None = None,
    *,
    config: Config | None = None,
    origin: Mapping[str, str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> LatentFit:
    """Fit a Poisson VAE to one recording, or to several of the same units together.

    Args:
        recordings: files, or spike trains that were read already.
        out: folder for the result; nothing is written where None.
        config: all settings; the defaults where None.
        origin: where each setting came from, by key, for the record.
        overwrite: replace a result that `out` already holds.
        resume: go on from the checkpoint that a stopped run left in `out`.
        progress: is told what is being done.
        settings: single settings by the words of the command line (`bin="10ms"`, `latents=8`).

    Raises:
        SpikefitError: for everything that the user can mend; see `spikefit.errors`.
    """
    from spikefit.diagnostics.trial_averages import find_trials
    from spikefit.fitting.device import choose_device, compute_threads
    from spikefit.fitting.pvae.fit import join_sessions
    from spikefit.fitting.pvae.saved import LatentModel

    items: list[Recording] = [recordings] if isinstance(recordings, str | Path | SpikeTrains) else list(recordings)
    config = (config or Config()).replace(**settings) if settings else config or Config()
    progress = progress or SilentProgress()
    folder = None if out is None else Path(out)
    device = choose_device(config.run.device)
    record = RunRecord(items[0], config, folder)
    if folder is not None and resume and not overwrite:
        _refuse_a_finished_one(folder)
    with claimed([folder], overwrite=overwrite, resume=resume), Stopper() as stopper:
        progress.start("reading", None)
        read = prepare_sessions(items, config)
        warnings = read.warnings
        counts = join_sessions(read.counts)
        progress.finish()
        with record.logging():
            logger.info("%d sessions: %r", len(read.counts), counts)
            for warning in warnings:
                progress.note(warning)
            hooks = _hooks(folder, config, resume, progress, stopper)
            with compute_threads(config.run.threads, counts.n_units), stopper.patient():
                choice = _train(counts, config, device, hooks)
            fitted = choice.fitted
            if choice.tried:
                config = config.replace(latents=choice.latents)
                origin = {**(origin or {}), "latents": "chosen from the recording"}
            progress.finish()
            progress.start("scoring held-out bins", None)
            model = LatentModel(fitted.network, counts.unit_ids, counts.bin_width_s, config.to_dict())
            latents = to_latents(model, read.names, read.counts, fitted)
            metrics, notes = score_of_fit(model, counts, fitted, latents, seed=config.run.seed)
            progress.finish()
            if choice.tried:
                metrics["latents_tried"] = [dict(row) for row in choice.tried]
            metrics |= {"n_sessions": len(read.counts), "device": str(device), **record.usage()}
            warnings = (*warnings, *notes)
            for line in warnings:
                logger.warning(line)
            provenance = record.provenance(str(device), warnings, read.about)
            provenance["inputs"] = [RunRecord(item, config, None).provenance("", (), {})["input"] for item in items]
            trials = trial_averages(model, counts, find_trials(read.counts, read.epochs))
            if trials is not None:
                metrics["trials"] = dict(trials.n_trials)
            result = LatentFit(model, latents, metrics, provenance, tuple(warnings), trials)
            if folder is not None:
                progress.start("writing", None)
                write_fit(result, counts, folder, config.to_yaml(origin or {}))
                progress.finish()
    if config.run.strict and not fitted.converged:
        raise NotConvergedError(
            f"the fit of {read.names[0]} did not converge; the results are written all the same.",
            hint="raise --max-epochs, or look at training.png",
        )
    return result


def _train(counts: Counts, config: Config, device: torch.device, hooks: Hooks) -> LatentChoice:
    """Fit with the number of latents that is asked for, or with several and take one."""
    from spikefit.fitting.pvae.choose import LatentChoice, choose_latents
    from spikefit.fitting.pvae.fit import fit_pvae

    if config.pvae.latents is None:
        # A stand-in: every number that is tried takes its place.
        return choose_latents(counts, pvae_settings(config, latents=1), device=device, hooks=hooks)
    fitted = fit_pvae(counts, pvae_settings(config), device=device, hooks=hooks)
    return LatentChoice(fitted, config.pvae.latents, ())


def _refuse_a_finished_one(folder: Path) -> None:
    if (folder / LATENTS_FILE).is_file() and not any((folder / "checkpoints").rglob("*.safetensors")):
        raise UsageError(
            f"{folder} holds a finished fit ({LATENTS_FILE}) and no checkpoint to go on from; it was left as it is.",
            hint="pass --overwrite instead of --resume to replace it, or another folder with -o",
        )


def _hooks(folder: Path | None, config: Config, resume: bool, progress: Progress, stopper: Stopper) -> Hooks:
    from spikefit.fitting.hooks import Hooks

    return Hooks(
        stage=progress.start,
        update=progress.update,
        checkpoints=None if folder is None else folder / "checkpoints",
        checkpoint_every_s=config.run.checkpoint_every,
        resume=resume,
        should_stop=stopper.requested,
        stop=lambda: stopper.leave(folder),
    )
