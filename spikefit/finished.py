"""A result that is whole already, met by a run that was asked to go on: kept if it is of this run, never replaced if not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.fitted import Fit, load_result
from spikefit.marks import MAIN_FILE
from spikefit.provenance import covariate_files, input_record, tables_of_units
from spikefit.spikes import SpikeTrains

# Settings that change how a run is carried out, not what it finds.
_OF_THE_RUN = {"device", "threads", "memory_limit", "compile", "checkpoint_every", "figures", "strict", "log_json"}


def finished_before(folder: Path, recording: str | Path | SpikeTrains, config: Config) -> Fit | None:
    """The whole result in `folder`, where it is what a run with `--resume` would end at; None where there is work to do.

    Work is to do where no result lies there, or where the checkpoint of a later run does, which is then gone on from.

    Raises:
        UsageError: if a whole result of other data or settings lies there and nothing to go on from.
        ResultError: if the result cannot be read.
    """
    if not (folder / MAIN_FILE).is_file() or any((folder / "checkpoints").rglob("*.safetensors")):
        return None
    fit = load_result(folder)
    differing = [*_settings(fit.config, config), *_data(fit.provenance, recording, config)]
    if differing:
        shown = "; ".join(differing[:4]) + ("; …" if len(differing) > 4 else "")
        raise UsageError(
            f"{folder} holds a finished result of another run ({shown}) and nothing to go on from; it was left as it is.",
            hint="pass another folder with -o, or --overwrite instead of --resume to replace it",
        )
    return fit


def _settings(then: Mapping[str, Any], now: Config) -> list[str]:
    """Where the settings differ, in words. Keys that the earlier version did not have count by their defaults."""
    known, wanted = _flat(Config.model_validate(dict(then))), _flat(now)
    return [
        f"{key}: {known[key]} then, {value} now"
        for key, value in wanted.items()
        if key not in _OF_THE_RUN and known[key] != value
    ]


def _flat(config: Config) -> dict[str, Any]:
    """Every setting by its key, times with their units."""
    return {key: value for section in config.to_dict().values() for key, value in section.items()}


def _data(then: Mapping[str, Any], recording: str | Path | SpikeTrains, config: Config) -> list[str]:
    """Which files differ, in words."""
    now = {"input": input_record(recording), **covariate_files(config), **tables_of_units(config)}
    what = {
        "input": "the recording",
        "covariate_files": "a table of covariates",
        "lost_time_file": "the table of lost time",
        "pair_mask_file": "the table of pairs",
        "pair_types_file": "the table of types",
    }
    return [
        f"{words}: not the one of then"
        for key, words in what.items()
        if _digests(then.get(key)) != _digests(now.get(key))
    ]


def _digests(record: Any) -> Any:
    """What tells a file from others whatever it is called: all digests in its record, by their keys."""
    if not isinstance(record, Mapping):
        return None
    kept = {key: value for key, value in record.items() if key.endswith("sha256") or key in ("bytes", "etag", "size")}
    kept |= {key: _digests(value) for key, value in record.items() if isinstance(value, Mapping)}
    return kept
