"""The score table of a Poisson VAE: its own scores and those of simpler methods, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikefit.covariates import Covariate
from spikefit.diagnostics import latent_scores as scores
from spikefit.diagnostics.baselines import Smoothing
from spikefit.diagnostics.cosmoothing import quartiles
from spikefit.diagnostics.gpfa import MISSING, gpfa_is_installed
from spikefit.errors import RecordingError, UsageError
from spikefit.fitting.pvae.fit import pose_folds
from spikefit.fitting.pvae.folds import Folds
from spikefit.progress import Progress
from spikefit.spikes import Counts

if TYPE_CHECKING:
    from spikefit.fitting.pvae.saved import LatentModel
    from spikefit.fitting.pvae.settings import PvaeSettings

Floats = NDArray[np.float64]


def score_model(
    model: LatentModel,
    settings: PvaeSettings,
    counts: Counts,
    *,
    name: str,
    present: Sequence[bool],
    predict: Sequence[str] | None,
    few_shot_s: float | None,
    covariate: Path | Covariate | None,
    circular: bool,
    with_baselines: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Every score; see `spikefit.pvae_pipeline.score`.

    Args:
        model: fitted.
        settings: of its fit.
        counts: of the model's units.
        name: of the recording.
        present: which units the recording has.
        predict: ids of the units to predict; None takes a random quarter.
        few_shot_s: seconds of data for the few-shot read-out.
        covariate: a variable to decode, of the recording or in a file.
        circular: the values in the file are angles.
        with_baselines: fit the simpler methods.
        progress: is told what is being done.

    Raises:
        UsageError: for a model without spike counts, or units that cannot be held out.
    """
    if not model.network.observation.whole_counts:
        raise UsageError("co-smoothing counts spikes, and this model has Gaussian observations.")
    folds = pose_folds(counts, settings).of(counts)
    units = _units(model, present, predict, settings.seed)
    shown = units.shown(counts.n_units)
    everyone = None if all(present) else list(present)
    ids = counts.unit_ids
    progress.start("scoring the model", None)
    readout = scores.co_smoothing_readout(model.network, folds, units)
    co = readout.co_bps
    whole = scores.reconstruction(model.network, folds.heldout, shown=everyone)
    out: dict[str, Any] = {
        "recording": name,
        "co_bps": co.pooled,
        "co_bps_quartiles": quartiles(co),
        "co_bps_per_unit": dict(zip((ids[k] for k in units.held_out), co.per_unit.tolist(), strict=True)),
        "co_bps_decoder": scores.co_smoothing(model.network, folds.heldout, units).pooled,
        "bits_per_spike": whole.pooled,
        "bits_per_spike_per_unit": dict(
            zip((unit for unit, there in zip(ids, present, strict=True) if there), whole.per_unit.tolist(), strict=True)
        ),
        "n_heldout_bins": folds.heldout.n_bins,
        "n_heldout_spikes": int(folds.heldout.counts[:, list(units.held_out)].sum(dtype=np.int64)),
        "held_out_units": [ids[k] for k in units.held_out],
        **scores.bounds(model.network, folds.heldout, seed=settings.seed),
        "notes": [MISSING] if with_baselines and not gpfa_is_installed() else [],
        "fano_factor": scores.fano_factors(model.network, folds.heldout, seed=settings.seed),
        **scores.activity(model.network, folds.heldout, shown=everyone),
    }
    progress.finish()
    features: dict[str, Any] = {"pvae": scores.readout_features(model.network, shown, readout)}
    out["baselines"] = {}
    if with_baselines:
        progress.start("fitting simpler methods", None)
        found = scores.baselines(folds, units)
        for key, each in found.items():
            out["baselines"][key] = {
                "co_bps": each.co_bps.pooled,
                "co_bps_quartiles": quartiles(each.co_bps),
                "chosen": dict(each.chosen),
            }
        width = out["baselines"]["smoothing"]["chosen"]["width_s"]
        features["smoothing"] = Smoothing(width, units.held_in)
        progress.finish()
    if few_shot_s is not None:
        n_bins = max(1, round(few_shot_s / counts.bin_width_s))
        out["few_shot"] = {
            "seconds": n_bins * counts.bin_width_s,
            **{key: scores.few_shot(each, folds, units, n_bins) for key, each in features.items()},
        }
    if covariate is not None:
        there = tuple(k for k, is_there in enumerate(present) if is_there)
        wide: dict[str, Any] = {"pvae": scores.LatentFeatures(model.network, everyone)}
        if with_baselines:
            wide["smoothing"] = Smoothing(features["smoothing"].width_s, there)
        targets = _targets(covariate, folds, circular=circular)
        out["decoding_r2"] = {key: scores.decoding(each, folds, targets) for key, each in wide.items()}
    return out


def _units(
    model: LatentModel, present: Sequence[bool], predict: Sequence[str] | None, seed: int
) -> scores.HeldoutUnits:
    available = [k for k, there in enumerate(present) if there]
    if predict is None:
        return scores.choose_heldout_units(available, seed=seed)
    held_out = tuple(k for k in available if model.unit_ids[k] in predict)
    held_in = tuple(k for k in available if model.unit_ids[k] not in predict)
    if not held_out or not held_in:
        raise UsageError(
            f"--predict: {len(held_out)} of the model's units would be predicted from {len(held_in)}; both must be there.",
            hint=f"name some of the {len(available)} units, not none or all",
        )
    return scores.HeldoutUnits(held_in, held_out)


def read_covariate(path: Path) -> tuple[Floats, Floats]:
    """Times in seconds (n,) and values (n, column) from `.npy`, or from text with commas or blanks; a heading is fine.

    Raises:
        RecordingError: if it cannot be read, or has fewer than two columns or rows.
    """
    try:
        if path.suffix == ".npy":
            table = np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
        else:
            text = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
            rows = [line for line in text if line.strip() and not line.lstrip().startswith("#")]
            if rows and not all(map(_is_number, rows[0].split())):
                rows = rows[1:]
            table = np.array([[float(word) for word in row.split()] for row in rows], dtype=np.float64)
    except (OSError, ValueError) as fault:
        raise RecordingError(
            f"{path}: the covariate cannot be read ({fault}).",
            hint="pass a .npy or a text table: seconds in the first column, values in the others",
        ) from fault
    if table.ndim != 2 or table.shape[1] < 2 or len(table) < 2:
        raise RecordingError(
            f"{path}: the covariate has the shape {table.shape}, expected (n, 2) or more columns.",
            hint="seconds in the first column, values in the others",
        )
    if not np.isfinite(table[:, 0]).all() or (np.diff(table[:, 0]) <= 0).any():
        raise RecordingError(f"{path}: the seconds in the first column must rise.", hint="sort the rows by time")
    return table[:, 0], table[:, 1:]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _targets(covariate: Path | Covariate, folds: Folds, *, circular: bool) -> tuple[Floats, Floats]:
    """Values in the training bins (fit, then choose) and in the held-out ones; NaN where not known."""
    all_of_them = (folds.fit, folds.choose, folds.heldout)
    if isinstance(covariate, Covariate):
        parts = [covariate.at(counts).values for counts in all_of_them]
        name, time_s = covariate.name, covariate.time_s
    else:
        name = str(covariate)
        time_s, values = read_covariate(covariate)
        if circular:
            # Between two samples an angle goes the short way only as sine and cosine.
            values = np.concatenate([np.sin(values), np.cos(values)], axis=1)
        parts = []
        for counts in all_of_them:
            middle = counts.time_s + 0.5 * counts.bin_width_s
            columns = [np.interp(middle, time_s, column, left=np.nan, right=np.nan) for column in values.T]
            parts.append(np.stack(columns, axis=1))
    known = [np.isfinite(part).all(axis=1).sum() for part in parts]
    if known[0] + known[1] < 20 or known[2] < 20:
        runs = f"it runs from {time_s[0]:g} s to {time_s[-1]:g} s" if time_s.size else "it has no samples"
        raise RecordingError(
            f"{name}: the covariate is known in {known[0] + known[1]} training and {known[2]} held-out bins, expected at "
            f"least 20 each ({runs}).",
            hint="is it on the clock of the recording?",
        )
    return np.concatenate(parts[:2]), parts[2]
