"""Which jobs are done already: told by what a result was made from, its settings and its data, never by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikefit.batching.jobs import Job, config_key
from spikefit.batching.outcome import Outcome, from_dict, of_result
from spikefit.batching.places import Places, read_json
from spikefit.errors import ResultError
from spikefit.provenance import fingerprint
from spikefit.results import Result, load_result
from spikefit.results.layout import MAIN_FILE, RESULT_FILES


class KnownResults:
    """The whole results that lie in an output folder.

    Args:
        places: of the batch.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._found: dict[str, dict[str, Result]] = {}
        self._hashes: dict[str, str | None] = {}
        for main in sorted(places.out.glob(f"*/{MAIN_FILE}")):
            try:
                result: Result = load_result(main.parent)
            except ResultError:
                continue  # damaged: it is computed anew where it may be replaced
            key = config_key(result.config)
            if key is not None:
                self._found.setdefault(key, {})[main.parent.name] = result

    def outcome_of(self, job: Job) -> Outcome | None:
        """The outcome of a job whose result is there, under whatever name."""
        candidates = self._found.get(job.key)
        if not candidates:
            return None
        sha256 = self._sha256(job.recording)
        matching = [
            name
            for name, result in candidates.items()
            if sha256 is not None
            and (result.provenance.get("input") or {}).get("sha256") == sha256
            and _same_tables(result)
        ]
        if not matching:
            return None
        folder = job.name if job.name in matching else matching[0]
        strict = bool(job.config["run"]["strict"])
        outcome = of_result(candidates[folder], job.name, folder, key=job.key, strict=strict)
        return outcome.but(again=True, wall_s=float(candidates[folder].metrics.get("wall_s") or 0.0))

    def _sha256(self, recording: str) -> str | None:
        if recording not in self._hashes:
            try:
                self._hashes[recording] = fingerprint(Path(recording))["sha256"]
            except OSError:
                self._hashes[recording] = None
        return self._hashes[recording]


def _same_tables(result: Result) -> bool:
    """Whether the tables beside the recording, of covariates, lost time, known pairs and types, are still what they were."""
    told = result.provenance
    of_units = [told[key] for key in ("lost_time_file", "pair_mask_file", "pair_types_file") if told.get(key)]
    for known in [*dict(told.get("covariate_files") or {}).values(), *of_units]:
        try:
            if fingerprint(Path(known["path"]))["sha256"] != known["sha256"]:
                return False
        except OSError:
            return False
    return True


def last_outcome(places: Places, job: Job) -> Outcome | None:
    """How this very job ended last time, where it did not leave a result."""
    told: Any = read_json(places.outcome(job.name))
    outcome = from_dict(told)
    return outcome if outcome is not None and outcome.key == job.key else None


def in_the_way(places: Places, jobs: Sequence[Job]) -> list[str]:
    """Names of jobs in whose folder lies something that this batch may not replace without being told to."""
    return [job.name for job in jobs if _holds_files(places.result(job.name)) and not is_half_of_ours(places, job)]


def is_half_of_ours(places: Places, job: Job) -> bool:
    """Whether a job's folder holds what a killed run of this batch left, and no result."""
    folder = places.result(job.name)
    return _holds_files(folder) and not (folder / MAIN_FILE).exists() and places.job_events(job.name).exists()


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any((folder / name).exists() for name in RESULT_FILES)
