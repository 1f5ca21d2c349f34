"""What `spikefit pvae` does: fit a Poisson VAE to recordings, encode others with it, score it, and draw from it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.config import Config
from spikefit.config.command_sections import PVAE_LEARNING_RATE
from spikefit.covariates import Covariate
from spikefit.errors import NotConvergedError, ResultError, UsageError, did_you_mean
from spikefit.expressions import select_units
from spikefit.inspection import choose_units
from spikefit.intervals import Intervals
from spikefit.latent_files import LatentFit, score_of_fit, to_latents, trial_averages, write_fit, write_latents
from spikefit.pipeline import Recording, claimed
from spikefit.progress import Progress, SilentProgress
from spikefit.provenance import RunRecord
from spikefit.reading import read_recording
from spikefit.results.latents import LATENTS_FILE, Latents
from spikefit.spikes import Counts, SpikeTrains
from spikefit.stopping import Stopper

if TYPE_CHECKING:
    import torch

    from spikefit.fitting.problem import Hooks
    from spikefit.fitting.pvae.saved import LatentModel
    from spikefit.fitting.pvae.settings import PvaeSettings

logger = logging.getLogger(__name__)

# A folder that a fit left, its model file, or what the fit returned.
Model = str | Path | LatentFit


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
    from spikefit.fitting.pvae.choose import choose_latents
    from spikefit.fitting.pvae.fit import fit_pvae, join_sessions
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
                tried: tuple[Mapping[str, float], ...] = ()
                if config.pvae.latents is None:
                    # A stand-in: every number that is tried takes its place.
                    choice = choose_latents(counts, pvae_settings(config, latents=1), device=device, hooks=hooks)
                    fitted, tried, chosen = choice.fitted, choice.tried, choice.latents
                    config = config.replace(latents=chosen)
                    origin = {**(origin or {}), "latents": "chosen from the recording"}
                else:
                    fitted = fit_pvae(counts, pvae_settings(config), device=device, hooks=hooks)
            progress.finish()
            progress.start("scoring held-out bins", None)
            model = LatentModel(fitted.network, counts.unit_ids, counts.bin_width_s, config.to_dict())
            latents = to_latents(model, read.names, read.counts, fitted)
            metrics, notes = score_of_fit(model, counts, fitted, latents, seed=config.run.seed)
            progress.finish()
            if tried:
                metrics["latents_tried"] = [dict(row) for row in tried]
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


def encode(
    model: Model,
    recording: Recording,
    out: str | Path | None = None,
    *,
    config: Config | None = None,
    draws: int = 0,
    allow_missing: bool = False,
    overwrite: bool = False,
) -> Latents:
    """The latents of a recording under a fitted model.

    Args:
        model: the folder that `fit` left, its model file, or what `fit` returned.
        recording: of the model's units.
        out: where to write them: `.h5`, `.nwb` or `.npz`; nothing is written where None.
        config: how to read the recording, and where to compute; the bin width is the model's, whatever it says.
        draws: latent counts to draw from the posterior beside its mean.
        allow_missing: go on where the recording lacks some of the model's units.
        overwrite: replace a file that is there.

    Raises:
        UsageError: if units or bin width are not the model's.
    """
    place = _place(out, (".h5", ".nwb", ".npz"), recording, overwrite=overwrite)
    with _opened(model, recording, config, allow_missing) as (opened, trains, counts, present):
        latents = to_latents(
            opened, (trains.name,), [counts], present=present, draws=draws, seed=(config or Config()).run.seed
        )
    if place is not None:
        write_latents(latents, place)
    return latents


def score(
    model: Model,
    recording: Recording,
    *,
    config: Config | None = None,
    allow_missing: bool = False,
    predict: str | None = None,
    few_shot_s: float | None = None,
    covariate: str | Path | None = None,
    circular: bool = False,
    with_baselines: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a model on the held-out bins of a recording, beside simpler methods on the same bins.

    The recording is split as the fit split it, so that for the recording of the fit the scored bins are those that the
    fit never saw. The simpler methods learn from the other bins.

    Args:
        model: the folder that `fit` left, its model file, or what `fit` returned.
        recording: of the model's units.
        config: how to read the recording, and where to compute; the bin width is the model's, whatever it says.
        allow_missing: go on where the recording lacks some of the model's units.
        predict: the units to predict from the others, as `--units` names them; a random quarter where None.
        few_shot_s: seconds of training data for a second, few-shot score; None for none.
        covariate: a behavioural variable to decode: the name of one that the recording holds, or a file, `.npy` or text, with a
            column of seconds and then its values.
        circular: the values in that file are angles in radians; of its own the recording knows which are.
        with_baselines: fit the simpler methods, too.
        progress: is told what is being done.

    Returns:
        Plain values: `co_bps`, `bits_per_spike`, `baselines` {name: {`co_bps`}} and more; docs/pvae.md tells all.
    """
    from spikefit.latent_scoring import score_model

    progress = progress or SilentProgress()
    with _opened(model, recording, config, allow_missing) as (opened, trains, counts, present):
        return score_model(
            opened,
            pvae_settings(model_config(opened)),
            counts,
            name=trains.name,
            present=present,
            predict=None if predict is None else _named(predict, trains),
            few_shot_s=few_shot_s,
            covariate=_covariate(covariate, trains),
            circular=circular,
            with_baselines=with_baselines,
            progress=progress,
        )


def generate(
    model: Model,
    out: str | Path,
    *,
    duration_s: float,
    seed: int = 0,
    device: str = "cpu",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Draw a recording from a model's prior and write it as NWB.

    Spikes lie anywhere in their bin, at random: within a bin the model knows no time.

    Returns:
        Plain values that say what was made.
    """
    import torch

    from spikefit.files import replacing
    from spikefit.fitting.device import choose_device
    from spikefit.fitting.pvae.apply import generate as draw
    from spikefit.simulated_files import write_nwb

    place = _place(out, (".nwb",), None, overwrite=overwrite)
    assert place is not None
    opened = _load(model, choose_device(device))
    if not opened.network.observation.whole_counts:
        raise UsageError(
            "this model has Gaussian observations, which are no spikes.", hint="fit with --observation poisson"
        )
    n_bins = round(duration_s / opened.bin_width_s)
    if n_bins < 1:
        raise UsageError(f"{duration_s:g} s is shorter than one bin of the model ({opened.bin_width_s:g} s).")
    with torch.no_grad():
        values, _ = draw(opened.network, n_bins, seed=seed)
    random = np.random.default_rng([seed, 11])
    trains = {}
    for k, unit in enumerate(opened.unit_ids):
        bins = np.repeat(np.arange(n_bins), values[:, k].astype(np.int64))
        trains[unit] = np.sort((bins + random.random(bins.size)) * opened.bin_width_s)
    made = SpikeTrains.from_trains(trains, intervals_s=[[0.0, n_bins * opened.bin_width_s]], name=place.stem)
    with replacing(place) as scratch:
        write_nwb(made, scratch, description="Drawn by spikefit from a Poisson VAE; not a recording.", seed=seed)
    return {
        "recording": str(place),
        "n_units": made.n_units,
        "n_spikes": made.n_spikes,
        "duration_s": made.duration_s,
        "mean_rate_hz": float(made.rate_hz.mean()),
        "seed": seed,
    }


@dataclass(frozen=True, eq=False)
class Sessions:
    """Recordings of the same units, read and binned.

    Attributes:
        names: of the recordings.
        counts: of each, of the units that all have.
        epochs: named intervals of each, in seconds.
        warnings: doubts about the input.
        about: what the first file says of its session.
    """

    names: tuple[str, ...]
    counts: tuple[Counts, ...]
    epochs: tuple[Mapping[str, Intervals], ...]
    warnings: tuple[str, ...]
    about: Mapping[str, str]


def prepare_sessions(recordings: Sequence[Recording], config: Config) -> Sessions:
    """Read recordings and bin the units that all of them have.

    Raises:
        UsageError: if a unit that one recording keeps is not in another.
    """
    all_trains = [read_recording(item, config) for item in recordings]
    kept: dict[str, None] = {}
    for trains in all_trains:
        wanted = config.recording
        choices = choose_units(trains, units=wanted.units, min_spikes=wanted.min_spikes)
        kept |= dict.fromkeys(choice.id for choice in choices if choice.kept)
    for trains in all_trains:
        missing = [unit for unit in kept if unit not in trains.unit_ids]
        if missing:
            raise UsageError(
                f"{trains.name} lacks {len(missing)} of the {len(kept)} units of the other recordings "
                f"(first: {missing[0]!r}); sessions that train together have the same units.",
                hint="name the units that all have with --units, or fit each recording by itself",
            )
    if len(kept) < 2:
        raise UsageError(
            f"{all_trains[0].name}: {len(kept)} units can be used, expected at least 2.",
            hint="choose more units, or look at the recording with `spikefit inspect`",
        )
    for trains in all_trains:
        _refuse_lost(trains.select(kept))
    return Sessions(
        names=tuple(trains.name for trains in all_trains),
        counts=tuple(trains.select(kept).bin(config.model.bin) for trains in all_trains),
        epochs=tuple(trains.epochs for trains in all_trains),
        warnings=tuple(warning for trains in all_trains for warning in trains.warnings),
        about=all_trains[0].session,
    )


def _refuse_lost(trains: SpikeTrains) -> None:
    """Refuse units that are lost part of the time: the encoder reads all units in every bin."""
    if trains.lost_s:
        unit = next(iter(trains.lost_s))
        raise UsageError(
            f"{trains.name}: {len(trains.lost_s)} of {trains.n_units} units are lost part of the time (first: {unit!r}), and the latents are "
            "read from all units in every bin.",
            hint=f"pass --observed common to use only the time common to all, choose a stretch with --interval, or --drop-unit {unit}",
        )


def pvae_settings(config: Config, *, latents: int | None = None) -> PvaeSettings:
    """What the fitting needs to know of a config.

    Args:
        config: all settings.
        latents: their number, where the config leaves it to be chosen.
    """
    from spikefit.fitting.pvae.settings import PvaeSettings

    wanted = config.pvae
    number = wanted.latents if latents is None else latents
    assert number is not None, "the number of latents is chosen first"
    return PvaeSettings(
        latents=number,
        encoder=wanted.encoder,
        decoder=wanted.decoder,
        observation=wanted.observation,
        link=config.model.link,
        excitatory=wanted.excitatory,
        context_s=wanted.context,
        smoothing_s=wanted.smoothing,
        width=wanted.width,
        unit_dropout=wanted.unit_dropout,
        beta=wanted.beta,
        estimator=config.gradient.estimator,
        temperature=config.gradient.temperature,
        n_draws=config.gradient.draws,
        heldout=config.fit.heldout,
        max_epochs=config.fit.max_epochs,
        learning_rate=config.fit.learning_rate if isinstance(config.fit.learning_rate, float) else PVAE_LEARNING_RATE,
        seed=config.run.seed,
    )


def model_config(model: LatentModel) -> Config:
    """The settings that a model was fitted with.

    Raises:
        ResultError: if this version cannot read them.
    """
    from pydantic import ValidationError

    try:
        return Config(**model.config)
    except (ValidationError, TypeError) as fault:
        raise ResultError(
            "this spikefit cannot use the settings in the model.", hint="score with the version that made it"
        ) from fault


def counts_for(model: LatentModel, trains: SpikeTrains, *, allow_missing: bool) -> tuple[Counts, list[bool]]:
    """Counts of the model's units in its order and bins, silent where the recording lacks one.

    Returns:
        The counts, and which units the recording has.

    Raises:
        UsageError: if units are missing and may not be, or all are.
    """
    present = [unit in set(trains.unit_ids) for unit in model.unit_ids]
    missing = [unit for unit, there in zip(model.unit_ids, present, strict=True) if not there]
    if len(missing) == len(present):
        raise UsageError(
            f"{trains.name} has other units than the model: it has {trains.unit_ids[0]!r} and so on, "
            f"the model {model.unit_ids[0]!r} and so on.",
            hint="pass a recording of the units that the model was fitted to",
        )
    if missing and not allow_missing:
        raise UsageError(
            f"{trains.name} lacks {len(missing)} of the model's {len(present)} units (first: {missing[0]!r}).",
            hint="pass --allow-missing to go on without them, or fit a model to the units that are there",
        )
    there = [unit for unit, is_there in zip(model.unit_ids, present, strict=True) if is_there]
    _refuse_lost(trains.select(there))
    binned = trains.select(there).bin(model.bin_width_s)
    if not missing:
        return binned, present
    values = np.zeros((binned.n_bins, len(present)), dtype=binned.counts.dtype, order="F")
    values[:, np.flatnonzero(present)] = binned.counts
    return Counts(values, binned.bin_width_s, binned.segment_offsets, binned.segment_start_s, model.unit_ids), present


@contextlib.contextmanager
def _opened(
    model: Model, recording: Recording, config: Config | None, allow_missing: bool
) -> Iterator[tuple[LatentModel, SpikeTrains, Counts, list[bool]]]:
    """A model, and a recording's counts as it wants them; computing with the threads that were asked for."""
    from spikefit.fitting.device import choose_device, compute_threads

    config = config or Config()
    opened = _load(model, choose_device(config.run.device))
    trains = read_recording(recording, config)
    counts, present = counts_for(opened, trains, allow_missing=allow_missing)
    with compute_threads(config.run.threads, counts.n_units):
        yield opened, trains, counts, present


def _load(model: Model, device: torch.device) -> LatentModel:
    from spikefit.fitting.pvae.saved import load_model

    if isinstance(model, LatentFit):
        return dataclasses.replace(model.model, network=model.model.network.to(device))
    return load_model(Path(model), device)


def _covariate(wanted: str | Path | None, trains: SpikeTrains) -> Path | Covariate | None:
    if wanted is None:
        return None
    if str(wanted) in trains.covariates:
        return trains.covariates[str(wanted)]
    if not Path(wanted).exists():
        held = ", ".join(list(trains.covariates)[:8])
        raise UsageError(
            f"--covariate {wanted}: there is no such file, and {trains.name} holds "
            + (f"no covariate of that name (it holds {held})." if held else "no covariates."),
            hint=(did_you_mean(str(wanted), trains.covariates) if held else "")
            or "pass a table: seconds in the first column, values in the others",
        )
    return Path(wanted)


def _named(expression: str, trains: SpikeTrains) -> list[str]:
    chosen = select_units(expression, trains)
    return [unit for unit, hit in zip(trains.unit_ids, chosen.tolist(), strict=True) if hit]


def _place(
    out: str | Path | None, endings: tuple[str, ...], source: Recording | None, *, overwrite: bool
) -> Path | None:
    """Refuse a file that cannot be written, before any work."""
    if out is None:
        return None
    place = Path(out)
    if place.suffix not in endings:
        raise UsageError(f"{place}: expected a name that ends in {' or '.join(endings)}.")
    if isinstance(source, str | Path) and place.exists() and place.samefile(source):
        raise UsageError(f"{place} is the recording itself, which is never written to.", hint="pass another -o")
    if place.exists() and not overwrite:
        raise UsageError(f"{place}: there is a file already.", hint="pass --overwrite to replace it, or another -o")
    if not place.parent.is_dir():
        raise UsageError(f"{place}: there is no folder {place.parent}.", hint="make it first, or pass another -o")
    return place


def _refuse_a_finished_one(folder: Path) -> None:
    if (folder / LATENTS_FILE).is_file() and not any((folder / "checkpoints").rglob("*.safetensors")):
        raise UsageError(
            f"{folder} holds a finished fit ({LATENTS_FILE}) and no checkpoint to go on from; it was left as it is.",
            hint="pass --overwrite instead of --resume to replace it, or another folder with -o",
        )


def _hooks(folder: Path | None, config: Config, resume: bool, progress: Progress, stopper: Stopper) -> Hooks:
    from spikefit.fitting.problem import Hooks

    return Hooks(
        stage=progress.start,
        update=progress.update,
        checkpoints=None if folder is None else folder / "checkpoints",
        checkpoint_every_s=config.run.checkpoint_every,
        resume=resume,
        should_stop=stopper.requested,
        stop=lambda: stopper.leave(folder),
    )
