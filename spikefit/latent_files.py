"""A fitted Poisson VAE as a result folder, and latents as files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit import plots
from spikefit.files import replacing
from spikefit.report.latents import write_latents_report
from spikefit.results.documents import to_json
from spikefit.results.latents import (
    DEAD_NATS_PER_BIN,
    LATENTS_FILE,
    Latents,
    latents_bytes,
    lifetime_sparsity,
    mean_divergence,
    population_sparsity,
)
from spikefit.results.saving import generator, now_utc
from spikefit.results.staging import move_all, staged
from spikefit.spikes import Counts

if TYPE_CHECKING:
    from spikefit.diagnostics.trial_averages import TrialAverages, Trials
    from spikefit.fitting.pvae.fit import FittedPvae
    from spikefit.fitting.pvae.saved import LatentModel

log = logging.getLogger(__name__)

EXAMPLE_BINS = 300
EXAMPLE_UNITS = 6


@dataclass(frozen=True, eq=False)
class LatentFit:
    """What a fit of a Poisson VAE gives.

    Attributes:
        model: the network with what it was fitted to.
        latents: of all bins, with the decoder's weights and the course of the training.
        metrics: scores and costs; the content of metrics.json.
        provenance: what the run used.
        warnings: doubts about input and fit.
        trials: averages over trials by type; None where the recordings have none.
    """

    model: LatentModel
    latents: Latents
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    warnings: tuple[str, ...]
    trials: TrialAverages | None = None


def to_latents(
    model: LatentModel,
    names: Sequence[str],
    sessions: Sequence[Counts],
    fitted: FittedPvae | None = None,
    *,
    present: Sequence[bool] | None = None,
    draws: int = 0,
    seed: int = 0,
) -> Latents:
    """Encode sessions, and describe the model.

    Args:
        model: fitted.
        names: of the sessions.
        sessions: their counts.
        fitted: the fit, where these are the sessions it was made from.
        present: which of the model's units the sessions have; None for all.
        draws: latent counts to draw from the posterior.
        seed: of the draws.
    """
    from spikefit.fitting.pvae.apply import encode

    network = model.network
    parts = [encode(network, counts, present=present) for counts in sessions]
    expected = parts[0] if len(parts) == 1 else np.concatenate(parts)
    prior = network.log_prior.detach().exp().cpu().numpy()
    segments, n_before = [], 0
    for counts in sessions:
        segments.append(n_before + np.repeat(np.arange(counts.n_segments), np.diff(counts.segment_offsets)))
        n_before += counts.n_segments
    kernels = network.decoder.kernels().cpu().numpy()
    reach = network.decoder.reach
    arrays: dict[str, Any] = {
        "time_s": np.concatenate([counts.time_s for counts in sessions]),
        "session": np.repeat(np.arange(len(sessions)), [counts.n_bins for counts in sessions]).astype(np.int32),
        "segment": np.concatenate(segments).astype(np.int32),
        "expected_count": expected,
        "prior_count": prior,
        "decoder_weights": network.decoder.weights().cpu().numpy(),
        "kernels": kernels,
        "kernel_lag_s": model.bin_width_s * np.arange(-reach, reach + 1),
        "divergence": mean_divergence(expected, prior),
        "lifetime_sparsity": lifetime_sparsity(expected),
    }
    if draws:
        random = np.random.default_rng([seed, 7])
        arrays["counts"] = random.poisson(expected, size=(draws, *expected.shape)).astype(np.uint16)
    history = {}
    if fitted is not None:
        fold = np.zeros(len(expected), dtype=np.uint8)
        for number, ranges in ((1, fitted.ranges.choose), (2, fitted.ranges.heldout)):
            for start, stop in ranges.tolist():
                fold[start:stop] = number
        arrays["fold"] = fold
        history = {name: np.asarray(series) for name, series in fitted.history.items()}
    return Latents(
        name=names[0],
        unit_id=model.unit_ids,
        bin_width_s=model.bin_width_s,
        session_name=tuple(names),
        arrays=arrays,
        history=history,
    )


def score_of_fit(
    model: LatentModel, counts: Counts, fitted: FittedPvae, latents: Latents, *, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """The metrics of a fit on its held-out bins, and doubts about it.

    Returns:
        Plain values, and sentences.
    """
    from spikefit.diagnostics import latent_scores as scores
    from spikefit.diagnostics.cosmoothing import quartiles
    from spikefit.fitting.pvae.folds import take

    heldout = take(counts, fitted.ranges.heldout)
    whole = model.network.observation.whole_counts
    divergence = latents.arrays["divergence"]
    dead = int((divergence < DEAD_NATS_PER_BIN).sum())
    found = scores.bounds(model.network, heldout, seed=seed)
    metrics: dict[str, Any] = {
        "heldout_elbo_per_bin": found["elbo_per_bin"],
        "heldout_iwae_per_bin": found["iwae_per_bin"],
        "iwae_draws": found["iwae_draws"],
        "heldout_divergence_per_bin": found["divergence_per_bin"],
        "n_units": counts.n_units,
        "n_latents": len(divergence),
        "n_active_latents": len(divergence) - dead,
        "lifetime_sparsity": float(np.median(latents.arrays["lifetime_sparsity"])),
        "population_sparsity": population_sparsity(latents.expected_count),
        "n_bins": counts.n_bins,
        "n_heldout_bins": heldout.n_bins,
        "converged": fitted.converged,
        "n_epochs": fitted.n_epochs,
        "fit_s": fitted.fit_s,
    }
    if whole:
        units = scores.choose_heldout_units(range(counts.n_units), seed=seed)
        co = scores.co_smoothing_readout(model.network, fitted.ranges.of(counts), units).co_bps
        fano = scores.fano_factors(model.network, heldout, seed=seed)
        metrics |= {
            "bits_per_spike": scores.reconstruction(model.network, heldout, shown=None).pooled,
            "co_bps": co.pooled,
            "co_bps_quartiles": quartiles(co),
            "co_bps_decoder": scores.co_smoothing(model.network, heldout, units).pooled,
            "fano_factor_data": fano["data"],
            "fano_factor_model": fano["model"],
        }
    notes = []
    if dead:
        notes.append(
            f"{dead} of {len(divergence)} latents are dead: they say less than {DEAD_NATS_PER_BIN:g} nats per bin."
        )
    if not fitted.converged:
        notes.append(f"the score was still rising after {fitted.n_epochs} epochs: raise --max-epochs.")
    return metrics, notes


def trial_averages(model: LatentModel, counts: Counts, trials: Trials | None) -> TrialAverages | None:
    """Averages over trials of all bins, those that trained among them."""
    from spikefit.diagnostics.trial_averages import average_over_trials
    from spikefit.fitting.pvae.apply import pieces

    if trials is None or not model.network.observation.whole_counts:
        return None
    return average_over_trials(trials, counts.bin_width_s, pieces(model.network, counts))


def write_fit(fit: LatentFit, counts: Counts, folder: Path, config_yaml: str) -> None:
    """Write the result folder, whole or not at all."""
    from spikefit.fitting.pvae.apply import predict
    from spikefit.fitting.pvae.folds import take
    from spikefit.fitting.pvae.saved import MODEL_FILE, model_bytes

    heldout = np.flatnonzero(fit.latents.arrays["fold"] == 2)
    start = int(heldout[0])
    same = np.flatnonzero(fit.latents.arrays["segment"] == fit.latents.arrays["segment"][start])
    stop = min(start + EXAMPLE_BINS, int(same[-1]) + 1)
    piece = take(counts, np.array([[start, stop]]))
    example = plots.Example(
        time_s=fit.latents.time_s[start:stop],
        counts=np.asarray(piece.counts),
        expected_count=predict(fit.model.network, piece),
        latent_count=fit.latents.expected_count[start:stop],
    )
    with staged(folder) as staging:
        writers: dict[str, Callable[[Path], object]] = {
            "config.yaml": lambda path: path.write_text(config_yaml, encoding="utf-8"),
            "provenance.json": lambda path: path.write_text(to_json(fit.provenance), encoding="utf-8"),
            "metrics.json": lambda path: path.write_text(to_json(fit.metrics), encoding="utf-8"),
            MODEL_FILE: lambda path: path.write_bytes(model_bytes(fit.model)),
            LATENTS_FILE: lambda path: path.write_bytes(_bytes(fit.latents)),
        }
        for name, write in writers.items():
            write(staging / name)
        pictures = _draw(fit, example, staging)
        write_latents_report(fit.latents, fit.metrics, fit.provenance, fit.warnings, pictures, staging / "report.html")
        names = sorted(path.name for path in staging.iterdir() if path.name != MODEL_FILE)
        move_all(staging, folder, [*names, MODEL_FILE])
    if "trials" not in pictures:
        (folder / "trials.png").unlink(missing_ok=True)  # of the fit that this one replaces
    for checkpoint in (folder / "checkpoints").glob("pvae*.safetensors"):
        checkpoint.unlink()  # the result is whole: there is nothing left to resume


def write_latents(latents: Latents, path: Path) -> None:
    """Write latents as `.h5`, `.npz` or `.nwb`, whole or not at all."""
    with replacing(path) as scratch:
        if path.suffix == ".h5":
            scratch.write_bytes(_bytes(latents))
        elif path.suffix == ".npz":
            everything: dict[str, Any] = {key: np.array(getattr(latents, key)) for key in ("unit_id", "session_name")}
            everything |= {"bin_width_s": latents.bin_width_s, **latents.arrays}
            np.savez(scratch, allow_pickle=False, **everything)
        else:
            from spikefit.exporters.latents_nwb import write_nwb

            write_nwb(latents, scratch)


def _bytes(latents: Latents) -> bytes:
    return latents_bytes(latents, generator=generator(), created_utc=now_utc())


def _draw(fit: LatentFit, example: Any, folder: Path) -> dict[str, Path]:
    drawings: dict[str, Callable[[], Any]] = {
        "latents": lambda: plots.plot_latents(fit.latents, example),
        "reconstruction": lambda: plots.plot_reconstruction(fit.latents, example, n_units=EXAMPLE_UNITS),
        "decoder": lambda: plots.plot_decoder(fit.latents),
        "activity": lambda: plots.plot_activity(fit.latents),
        "training": lambda: plots.plot_latent_training(fit.latents),
    }
    trials = fit.trials
    if trials is not None:
        drawings["trials"] = lambda: plots.plot_trials(trials, fit.latents.unit_id)
    made = {}
    for stem, draw in drawings.items():
        try:
            plots.save_figure(draw(), folder / f"{stem}.png")
            made[stem] = folder / f"{stem}.png"
        except OSError:
            raise
        except Exception:
            # A night's fit must not be lost over a font: the numbers are saved.
            log.warning("%s could not be drawn; the result is complete without it.", stem, exc_info=True)
            (folder / f"{stem}.png").unlink(missing_ok=True)
    return made
