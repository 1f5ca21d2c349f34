"""The result folder, written whole or not at all.

A folder holds several files and no file system renames several at once. So everything is written and flushed in a
hidden folder inside the result folder first; only then is file after file renamed to its place, `connectivity.h5`
last. That one file holds the whole result and is all that `load_result` reads: whatever moment a run is killed at, what
is read back is the earlier result or the new one. It also lists the size and hash of the files beside it, so that a
reader can tell when those belong to another save, and says so.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from spikefit.errors import UsageError
from spikefit.results.documents import to_json, to_yaml
from spikefit.results.h5file import to_h5
from spikefit.results.layout import FIGURE_FORMATS, MAIN_FILE, RESULT_FILES, claim_output
from spikefit.results.model import Result
from spikefit.results.staging import move_all, staged
from spikefit.results.tables import write_edges_csv, write_units_csv

Writer = Callable[[Path], object]

log = logging.getLogger(__name__)


def save_result(
    result: Result,
    folder: Path,
    *,
    overwrite: bool = False,
    figures: bool | tuple[str, ...] = True,
    further: Mapping[str, Writer] | None = None,
) -> Path:
    """Write the result folder; see `Result.save`."""
    formats = (("png",) if figures else ()) if isinstance(figures, bool) else tuple(figures)
    unknown = [ending for ending in formats if ending not in FIGURE_FORMATS]
    if unknown:
        raise UsageError(f"figures cannot be drawn as {unknown[0]!r}.", hint=f"choose from {', '.join(FIGURE_FORMATS)}")
    folder = claim_output(folder, overwrite=overwrite)
    with staged(folder) as staging:
        for name, write in {**_writers(result), **dict(further or {})}.items():
            write(staging / name)
        draw_figures(result, staging, formats)
        names = sorted(path.name for path in staging.iterdir())
        side_files = {name: _fingerprint(staging / name) for name in names}
        (staging / MAIN_FILE).write_bytes(h5_bytes(result, side_files))
        move_all(staging, folder, [*names, MAIN_FILE])
        for name in set(RESULT_FILES) - {*names, MAIN_FILE}:
            with contextlib.suppress(OSError):
                (folder / name).unlink()  # of the result that was replaced
    return folder


def h5_bytes(result: Result, side_files: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of `connectivity.h5` as of now; `side_files` are the size and hash of the files beside it."""
    return to_h5(result, generator=generator(), created_utc=now_utc(), side_files=side_files or {})


def _writers(result: Result) -> dict[str, Writer]:
    """Each data file beside `connectivity.h5` with the function that writes it."""

    def text(content: str) -> Writer:
        return lambda path: path.write_text(content, encoding="utf-8", newline="\n")

    provenance = {**result.provenance}
    provenance.setdefault("config_origin", dict(result.config_origin))
    provenance.setdefault("warnings", list(result.warnings))
    writers: dict[str, Writer] = {
        "edges.csv": lambda path: write_edges_csv(result, path),
        "units.csv": lambda path: write_units_csv(result, path),
        "metrics.json": text(result.metrics_json()),
        "config.yaml": text(to_yaml(result.config)),
        "provenance.json": text(to_json(provenance)),
    }
    if result.parameters:
        writers["model.safetensors"] = lambda path: _write_parameters(result, path)
    return writers


def _write_parameters(result: Result, path: Path) -> None:
    from safetensors.numpy import save

    path.write_bytes(save(dict(result.parameters), metadata={"format": "spikefit-model", "name": result.name}))


def draw_figures(result: Result, folder: Path, formats: tuple[str, ...]) -> None:
    """Draw every figure that the result has the data for into `folder`; one that fails is logged and left out."""
    if not formats:
        return
    from spikefit import plots

    for stem, draw in plots.figures_of(result).items():
        try:
            figure = draw(result)
            for ending in formats:
                plots.save_figure(figure, folder / f"{stem}.{ending}")
        except OSError:
            raise
        except Exception:
            # A night's fit must not be lost over a font: the numbers are saved, the picture can be drawn again.
            log.warning("%s could not be drawn; the result is complete without it.", stem, exc_info=True)
            for ending in formats:
                (folder / f"{stem}.{ending}").unlink(missing_ok=True)


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def generator() -> str:
    """The program and its version, as files name it."""
    try:
        return f"spikefit {metadata.version('spikefit')}"
    except metadata.PackageNotFoundError:
        return "spikefit (not installed)"


def now_utc() -> str:
    """ISO time."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
