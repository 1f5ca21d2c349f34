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

from spikefit.config import Config
from spikefit.files import explain_os_error
from spikefit.spikes import SpikeTrains

LOG_NAME = "spikefit.log"
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
        path = self.folder / LOG_NAME
        try:
            handler = logging.FileHandler(path, encoding="utf-8")
        except OSError as fault:
            raise explain_os_error(fault, path) from fault
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("spikefit")
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(min(level, logging.INFO) if level else logging.INFO)
        logger.info("spikefit %s: %s", version("spikefit"), " ".join(sys.argv))
        try:
            yield
        except BaseException as fault:
            logger.error("ended by %s: %s", type(fault).__name__, fault)
            raise
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            handler.close()

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
            "argv": list(sys.argv),
            "seed": self.config.run.seed,
            "config_sha256": hashlib.sha256(settings.encode()).hexdigest(),
            "input": _input(self.recording),
            **({"session": dict(session)} if session else {}),
            "started_utc": self._started,
            "finished_utc": _now(),
            "cpu_s": time.process_time() - self._cpu,
            **self.usage(),
            "warnings": list(warnings),
        }


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


def _input(recording: str | Path | SpikeTrains) -> dict[str, Any]:
    if isinstance(recording, SpikeTrains):
        digest = hashlib.sha256(recording.spike_times_s.tobytes())
        digest.update(recording.offsets.tobytes())
        return {"name": recording.name, "source": recording.source, "spikes_sha256": digest.hexdigest()}
    path = Path(recording)
    record: dict[str, Any] = {"path": str(path), "name": path.name}
    if path.is_file():
        record |= {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    return record


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
