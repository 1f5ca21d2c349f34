"""A model that was fitted before, and a recording as it wants it: its units, in its order and bins."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.latent_files import LatentFit
from spikefit.pipeline import Recording
from spikefit.pvae_pipeline.sessions import refuse_lost
from spikefit.reading import read_recording
from spikefit.spikes import Counts, SpikeTrains

if TYPE_CHECKING:
    import torch

    from spikefit.fitting.pvae.saved import LatentModel

# A folder that a fit left, its model file, or what the fit returned.
Model = str | Path | LatentFit


@contextlib.contextmanager
def opened(
    model: Model, recording: Recording, config: Config | None, allow_missing: bool
) -> Iterator[tuple[LatentModel, SpikeTrains, Counts, list[bool]]]:
    """A model, and a recording's counts as it wants them; computing with the threads that were asked for."""
    from spikefit.fitting.device import choose_device, compute_threads

    config = config or Config()
    fitted = load(model, choose_device(config.run.device))
    trains = read_recording(recording, config)
    counts, present = counts_for(fitted, trains, allow_missing=allow_missing)
    with compute_threads(config.run.threads, counts.n_units):
        yield fitted, trains, counts, present


def load(model: Model, device: torch.device) -> LatentModel:
    """A fitted model on a device, from wherever it is."""
    from spikefit.fitting.pvae.saved import load_model

    if isinstance(model, LatentFit):
        return dataclasses.replace(model.model, network=model.model.network.to(device))
    return load_model(Path(model), device)


def counts_for(model: LatentModel, trains: SpikeTrains, *, allow_missing: bool) -> tuple[Counts, list[bool]]:
    """Counts of the model's units in its order and bins, silent where the recording lacks one.

    Returns:
        The counts, and which units the recording has.

    Raises:
        UsageError: if units are missing and may not be, or all are.
    """
    known = set(trains.unit_ids)
    present = [unit in known for unit in model.unit_ids]
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
    refuse_lost(trains.select(there))
    binned = trains.select(there).bin(model.bin_width_s)
    if not missing:
        return binned, present
    values = np.zeros((binned.n_bins, len(present)), dtype=binned.counts.dtype, order="F")
    values[:, np.flatnonzero(present)] = binned.counts
    return Counts(values, binned.bin_width_s, binned.segment_offsets, binned.segment_start_s, model.unit_ids), present
