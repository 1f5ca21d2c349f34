"""The recording behind a result, opened again as it was fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikefit.addresses import is_address
from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.pipeline import prepare
from spikefit.provenance import sha256_of
from spikefit.results import Result
from spikefit.spikes import Counts


def reopen(result: Result, recording: str | Path | None = None) -> Counts:
    """The counts that a result was fitted to: same time, same units, same bins.

    Args:
        result: whose recording is wanted.
        recording: where it lies now; where it lay when it was fitted, if None.

    Raises:
        UsageError: if the file is not there, or is not the one that was fitted.
        RecordingError: if it cannot be read.
    """
    known = dict(result.provenance.get("input", {}))
    path = _find(result, known, recording)
    expected = known.get("sha256")
    if expected is not None and isinstance(path, Path) and path.is_file() and sha256_of(path) != expected:
        raise UsageError(
            f"{path} is not the file that {result.name} was fitted to, or it has changed since (its SHA-256 differs).",
            hint="give the path of the recording as it was, or fit this one anew",
        )
    _, _, counts = prepare(path, Config.model_validate(dict(result.config)))
    wanted = tuple(result.unit_id[: result.n_visible])
    if counts.unit_ids != wanted:
        raise UsageError(
            f"{path}: the result has {len(wanted)} recorded units, the settings now choose {counts.n_units} "
            "others from this file.",
            hint="give the path of the recording that was fitted",
        )
    if result.covariates is not None:
        _check_covariates(result, counts)
    return counts


def _check_covariates(result: Result, counts: Counts) -> None:
    """Refuse covariates that are no longer what the fit was given, as a table beside the recording may be."""
    from spikefit.covariate_design import fitted_terms

    assert result.covariates is not None
    assert counts.covariates is not None
    for then, now in zip(fitted_terms(result.covariates), counts.covariates.terms, strict=True):
        if then.columns != now.columns or not np.allclose([*then.mean, *then.sd], [*now.mean, *now.sd], rtol=1e-6):
            raise UsageError(
                f"the covariate {then.name!r} is not what {result.name} was fitted with; it has changed since.",
                hint="give the covariate as it was, or fit anew",
            )


def _find(result: Result, known: dict[str, object], recording: str | Path | None) -> Path | str:
    if recording is None and is_address(known.get("path")):
        recording = str(known["path"])
    if is_address(recording):
        return str(recording)
    if recording is not None:
        path = Path(recording)
        if not path.exists():
            raise UsageError(f"{path} is not there.", hint="check the path of the recording")
        return path
    if "path" not in known:
        raise UsageError(
            f"{result.name} was fitted to spikes that were in memory; no file is known to hold them.",
            hint="give the path of the recording",
        )
    path = Path(str(known["path"]))
    if not path.exists():
        raise UsageError(
            f"the recording that {result.name} was fitted to is no longer at {path}.",
            hint="give its path as it is now: spikefit … RESULT RECORDING",
        )
    return path
