"""What a fitted Poisson VAE is good for: the latents of a recording, scores on it, and recordings of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikefit.config import Config
from spikefit.covariates import Covariate
from spikefit.errors import UsageError, did_you_mean
from spikefit.expressions import select_units
from spikefit.files import is_same_file, replacing
from spikefit.latent_files import to_latents, write_latents
from spikefit.pipeline import Recording
from spikefit.progress import Progress, SilentProgress
from spikefit.pvae_pipeline.opened import Model, load, opened
from spikefit.pvae_pipeline.settings import model_config, pvae_settings
from spikefit.results.latents import Latents
from spikefit.spikes import SpikeTrains


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
    with opened(model, recording, config, allow_missing) as (fitted, trains, counts, present):
        latents = to_latents(
            fitted, (trains.name,), [counts], present=present, draws=draws, seed=(config or Config()).run.seed
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
    with opened(model, recording, config, allow_missing) as (fitted, trains, counts, present):
        return score_model(
            fitted,
            pvae_settings(model_config(fitted)),
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

    from spikefit.fitting.device import choose_device
    from spikefit.fitting.pvae.apply import generate as draw
    from spikefit.simulated_files import write_nwb

    place = _place(out, (".nwb",), None, overwrite=overwrite)
    assert place is not None
    fitted = load(model, choose_device(device))
    if not fitted.network.observation.whole_counts:
        raise UsageError(
            "this model has Gaussian observations, which are no spikes.", hint="fit with --observation poisson"
        )
    n_bins = round(duration_s / fitted.bin_width_s)
    if n_bins < 1:
        raise UsageError(f"{duration_s:g} s is shorter than one bin of the model ({fitted.bin_width_s:g} s).")
    with torch.no_grad():
        values, _ = draw(fitted.network, n_bins, seed=seed)
    random = np.random.default_rng([seed, 11])
    trains = {}
    for k, unit in enumerate(fitted.unit_ids):
        bins = np.repeat(np.arange(n_bins), values[:, k].astype(np.int64))
        trains[unit] = np.sort((bins + random.random(bins.size)) * fitted.bin_width_s)
    made = SpikeTrains.from_trains(trains, intervals_s=[[0.0, n_bins * fitted.bin_width_s]], name=place.stem)
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
    if is_same_file(place, source):
        raise UsageError(f"{place} is the recording itself, which is never written to.", hint="pass another -o")
    if place.exists() and not overwrite:
        raise UsageError(f"{place}: there is a file already.", hint="pass --overwrite to replace it, or another -o")
    if not place.parent.is_dir():
        raise UsageError(f"{place}: there is no folder {place.parent}.", hint="make it first, or pass another -o")
    return place
