"""Recordings of the same units, read and binned for one fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.inspection import choose_units
from spikefit.intervals import Intervals
from spikefit.pipeline import Recording
from spikefit.reading import read_recording
from spikefit.spikes import Counts, SpikeTrains


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
        refuse_lost(trains.select(kept))
    return Sessions(
        names=tuple(trains.name for trains in all_trains),
        counts=tuple(trains.select(kept).bin(config.model.bin) for trains in all_trains),
        epochs=tuple(trains.epochs for trains in all_trains),
        warnings=tuple(warning for trains in all_trains for warning in trains.warnings),
        about=all_trains[0].session,
    )


def refuse_lost(trains: SpikeTrains) -> None:
    """Refuse units that are lost part of the time: the encoder reads all units in every bin."""
    if trains.lost_s:
        unit = next(iter(trains.lost_s))
        raise UsageError(
            f"{trains.name}: {len(trains.lost_s)} of {trains.n_units} units are lost part of the time (first: {unit!r}), and the latents are "
            "read from all units in every bin.",
            hint=f"pass --observed common to use only the time common to all, choose a stretch with --interval, or --drop-unit {unit}",
        )
