"""What a run used and cost: versions, input, settings, time and memory, and its log file.

No host name, user or path beyond what the user typed goes into the record.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spikefit.addresses import is_address, without_credentials
from spikefit.config import Config
from spikefit.files import explain_os_error
from spikefit.pair_types import is_table
from spikefit.pieces import ShareDone
from spikefit.spikes import SpikeTrains

LOG_NAME = "spikefit.log"
JSON_LOG_NAME = "spikefit.log.jsonl"
# In a recording that is a folder, larger files than this count by name and size.
LARGEST_HASHED_BYTES = 2**28
_RECORDED = ("spikefit", "torch", "numpy", "scipy", "h5py", "neo", "pynwb", "pydantic", "safetensors", "matplotlib")


class RunRecord:
    """Follows one run from its start.

    Args:
        recording: what is analysed.
        config: how.
        folder: where the log goes; None for nowhere.
    """

    def __init__(self, recording: str | Path | SpikeTrains, config: Config, folder: Path | None) -> None:
        self.recording, self.config, self.folder = recording, config, folder
        self._began, self._cpu = time.perf_counter(), time.process_time()
        self._started = _now()

    @contextlib.contextmanager
    def logging(self) -> Iterator[None]:
        """Write everything that spikefit logs meanwhile to the log file, too."""
        if self.folder is None:
            yield
            return
        formats: dict[str, logging.Formatter] = {
            LOG_NAME: logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
        }
        if self.config.run.log_json:
            formats[JSON_LOG_NAME] = _JsonLines()
        handlers = []
        for name, formatter in formats.items():
            try:
                handlers.append(logging.FileHandler(self.folder / name, encoding="utf-8"))
            except OSError as fault:
                raise explain_os_error(fault, self.folder / name) from fault
            handlers[-1].setFormatter(formatter)
        logger = logging.getLogger("spikefit")
        level = logger.level
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(min(level, logging.INFO) if level else logging.INFO)
        logger.info("spikefit %s: %s", version("spikefit"), " ".join(_command()))
        try:
            yield
        except ShareDone:
            logger.info("a share of this fit is done")
            raise
        except BaseException as fault:
            logger.error("ended by %s: %s", type(fault).__name__, fault)
            raise
        finally:
            for handler in handlers:
                logger.removeHandler(handler)
                handler.close()
            logger.setLevel(level)

    def usage(self) -> dict[str, float | int]:
        """Wall-clock time since the start and the most memory the process has held."""
        return {"wall_s": time.perf_counter() - self._began, "peak_rss_bytes": peak_rss_bytes()}

    def provenance(self, device: str, warnings: Sequence[str], session: Mapping[str, str]) -> dict[str, Any]:
        """Everything needed to do it again, as plain values; `session` is what the recording says of itself."""
        settings = json.dumps(self.config.to_dict(), sort_keys=True)
        return {
            "versions": {"python": platform.python_version(), **_versions()},
            "platform": f"{platform.system()} {platform.machine()}",
            "device": device,
            "argv": _command(),
            "seed": self.config.run.seed,
            "config_sha256": hashlib.sha256(settings.encode()).hexdigest(),
            "input": input_record(self.recording),
            **covariate_files(self.config),
            **tables_of_units(self.config),
            **({"session": dict(session)} if session else {}),
            "started_utc": self._started,
            "finished_utc": _now(),
            "cpu_s": time.process_time() - self._cpu,
            **self.usage(),
            "warnings": list(warnings),
        }


class _JsonLines(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time_utc": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=True)


def peak_rss_bytes() -> int:
    """The most memory this process has held so far, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def sha256_of(path: Path) -> str:
    """Of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _RECORDED:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def fingerprint(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a recording; of a folder, those of all its files and their names taken together.

    Raises:
        OSError: if it cannot be read.
    """
    if path.is_file():
        return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    whole, size = hashlib.sha256(), 0
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        n_bytes = file.stat().st_size
        size += n_bytes
        # Raw voltages lie beside the spikes of some sorters; their names and sizes must do.
        content = sha256_of(file) if n_bytes <= LARGEST_HASHED_BYTES else "not read"
        name = file.relative_to(path).as_posix()
        whole.update(json.dumps([name, n_bytes, content]).encode())
    return {"bytes": size, "sha256": whole.hexdigest()}


def covariate_files(config: Config) -> dict[str, Any]:
    """The tables outside the recording from which covariates of the fit are read, under one key; nothing where there are none."""
    places = {name: config.recording.covariates.get(name) for name in config.model.with_covariates}
    files = {name: Path(place) for name, place in places.items() if place is not None}
    found = {name: {"path": str(path), **fingerprint(path)} for name, path in files.items() if path.is_file()}
    return {"covariate_files": found} if found else {}


def tables_of_units(config: Config) -> dict[str, Any]:
    """Tables beside the recording that are about its units, each where there is one.

    They are of lost time (`lost_time_file`), of known pairs (`pair_mask_file`) and of types of units (`pair_types_file`).
    """
    types = config.fit.pair_types
    named = {
        "lost_time_file": config.recording.lost_time,
        "pair_mask_file": config.model.pair_mask,
        "pair_types_file": types if is_table(types) else None,
    }
    files = {key: Path(name) for key, name in named.items() if name is not None}
    return {key: {"path": str(path), **fingerprint(path)} for key, path in files.items() if path.is_file()}


def input_record(recording: str | Path | SpikeTrains) -> dict[str, Any]:
    """Name and digest of what is analysed; spikes in memory are told by those of their times."""
    if isinstance(recording, SpikeTrains):
        digest = hashlib.sha256(recording.spike_times_s.tobytes())
        digest.update(recording.offsets.tobytes())
        return {"name": recording.name, "source": recording.source, "spikes_sha256": digest.hexdigest()}
    if is_address(recording):
        from spikefit.loaders.remote import RemoteFile

        file = RemoteFile(str(recording))
        return {"path": str(file), "name": file.name, **file.record()}
    path = Path(recording)
    record: dict[str, Any] = {"path": str(path), "name": path.name}
    if path.exists():
        record |= fingerprint(path)
    return record


def _command() -> list[str]:
    """What was typed, addresses without what gives access."""
    return [without_credentials(word) if is_address(word) else word for word in sys.argv]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
