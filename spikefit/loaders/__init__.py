"""Files in, spike trains out.

`read` tells the format by the content of the file, never by its ending, and hands it to the module of that format. A new
format is a new module beside the others with two functions, `recognise` and `read`, and one line in `FORMATS`.

No module here knows of torch, and none is imported before a file asks for it.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikefit.addresses import is_address
from spikefit.errors import RecordingError, UsageError, did_you_mean

if TYPE_CHECKING:
    from spikefit.covariates import Covariate
    from spikefit.loaders.checks import CheckLimits
    from spikefit.loaders.raw import RawRecording, ReadOptions, SourceFile
    from spikefit.spikes import SpikeTrains


@dataclass(frozen=True)
class Format:
    """A format that can be read.

    Attributes:
        name: as `--format` takes it and `inspect` shows it.
        kind: what its `recognise` looks at: an open HDF5 file (`hdf5`), or a path and its first bytes (`file`).
        module: where its `recognise` and `read` are.
        description: in one line, for lists.
    """

    name: str
    kind: str
    module: str
    description: str


# Asked in this order; those that sign their files come first.
FORMATS = (
    Format("nwb", "hdf5", "nwb", "Neurodata Without Borders 2 (spike times of version 1, too)"),
    Format("nix", "hdf5", "nix", "NIX, as Neo writes it"),
    Format("kwik", "hdf5", "kwik", "KlustaSuite (.kwik)"),
    Format("hdf5", "hdf5", "hdf5", "plain HDF5: a dataset per unit, flat times and units, or ragged with an index"),
    Format("nwb-zarr", "file", "nwb_zarr", "Neurodata Without Borders in a Zarr folder, with the extra `zarr`"),
    Format("matlab", "file", "matlab", "MATLAB 5 to 7.2: a block as Neo saves it, or spike times in cells or columns"),
    Format(
        "neo", "file", "neo_raw", "Plexon, NeuroExplorer, Blackrock, Neuralynx, Spike2, TDT and Open Ephys, through Neo"
    ),
    Format("brainware", "file", "brainware", "BrainWare's sweeps of one unit (.f32)"),
    Format("phy", "file", "phy", "a folder of Kilosort or Phy"),
    Format(
        "spikeinterface", "file", "spikeinterface", "a folder of SpikeInterface: a sorting, or an analyzer with one"
    ),
    Format("klusters", "file", "klusters", "Klusters, KlustaKwik or NeuroScope: .clu.N with .res.N or .fet.N"),
    Format(
        "npz", "file", "npy", "NumPy archives: an array per unit, flat times and units, counts, or SpikeInterface's"
    ),
    Format("trains", "file", "text_trains", "text with one unit per line: its spike times"),
    Format("text", "file", "text", "CSV, TSV or text: one spike per line, a time and a unit"),
)

# Formats that are read in parts; the others are read whole, and so never over the network.
REMOTE_FORMATS = ("nwb", "hdf5", "kwik")
FOLDER_FORMATS = ("nwb-zarr", "neo", "phy", "spikeinterface", "klusters")
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD_BYTES = 4096


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    units_table: str | None = None,
    mapping: Mapping[str, Any] | None = None,
    covariates: Mapping[str, str] | None = None,
    time_unit: str | None = None,
    t_start_s: float | None = None,
    t_stop_s: float | None = None,
    clip: bool = False,
    drop_units: Iterable[str] = (),
    follow_links: bool = False,
    observed: str = "per-unit",
    checks: CheckLimits | None = None,
) -> SpikeTrains:
    """Read a recording, check it, and return its spike trains in seconds.

    Args:
        path: a file, or the folder of a format that is one; it is opened for reading only. Or the address of a file,
            `https://…` or `s3://…`.
        format: the name of a format, to overrule what the content says.
        units_table: where in the file the units are, if it holds several tables or hides them.
        mapping: paths inside an HDF5 file by role, for a layout of its own: `{"times": "/a", "units": "/b"}`.
        covariates: where covariates are that the file does not offer by itself, by name: `/path/in/file` (HDF5) with
            `@/path/of/times` or `@30Hz` behind it, or a table of text with a column `time_s`.
        time_unit: the unit that the times are in (`s`, `ms`, `us`, `ns`, `min`, or `samples@30000` for times counted in
            samples at 30 kHz), if the file is wrong or silent about it. It also ends all doubt about the unit.
        t_start_s: start of the recording in seconds, if the file is wrong or silent about it.
        t_stop_s: its end.
        clip: leave spikes outside the observed intervals out, with a warning, instead of refusing them.
        drop_units: ids of units to leave out before anything is checked.
        follow_links: follow links to other HDF5 files in the recording's own folder.
        observed: where units were observed at different times, keep all of it and what is lost of each (`per-unit`), or only
            the time common to all (`common`).
        checks: thresholds of the checks; by default those of the configuration.

    Returns:
        The recording; doubts about it are in its `warnings`. Its `covariates` are looked for when the first is asked for.

    Raises:
        RecordingError: if the file cannot be read, or holds nothing that can be used.
        UsageError: if an argument names a format, unit or place that does not exist.
    """
    from spikefit.covariates import Covariates
    from spikefit.loaders.assemble import assemble
    from spikefit.loaders.raw import ReadOptions

    if checks is None:
        from spikefit.config import ChecksConfig

        checks = ChecksConfig()
    file = _source(path)
    options = ReadOptions(
        limits=checks,
        units_table=units_table,
        mapping=mapping,
        follow_links=follow_links,
        covariates=dict(covariates or {}),
    )
    raw = _read_raw(file, format, options)
    return assemble(
        raw,
        file,
        checks,
        time_unit=time_unit,
        t_start_s=t_start_s,
        t_stop_s=t_stop_s,
        clip=clip,
        drop_units=drop_units,
        covariates=Covariates(_Search(file, raw.format, options)),
        observed=observed,
    )


@dataclass(frozen=True)
class _Search:
    """Looks for covariates; what that takes is not imported before."""

    path: SourceFile
    format: str
    options: ReadOptions

    def __call__(self) -> tuple[dict[str, Covariate], list[str]]:
        from spikefit.loaders.covariates import CovariateSearch

        return CovariateSearch(self.path, self.format, self.options)()


def recognise(path: str | os.PathLike[str]) -> str | None:
    """The name of the format of a file, told by its content, or None where it is none that can be read.

    Raises:
        RecordingError: if the file cannot be opened at all.
    """
    from spikefit.config import ChecksConfig
    from spikefit.loaders.raw import ReadOptions

    found = _recognised(_source(path), ReadOptions(limits=ChecksConfig()))
    return None if found is None else found.name


def _source(path: str | os.PathLike[str]) -> SourceFile:
    if is_address(path):
        from spikefit.loaders.remote import RemoteFile

        return RemoteFile(str(path))
    _check_file(Path(path))
    return Path(path)


def _read_raw(path: SourceFile, name: str | None, options: ReadOptions) -> RawRecording:
    if name is None and options.mapping:
        name = "hdf5"  # paths inside a file speak of HDF5, whatever else the file may be
    if name is None:
        found = _recognised(path, options)
        if found is None:
            from spikefit.loaders.unknown import unknown

            raise unknown(Path(str(path)), [known.name for known in FORMATS])
    else:
        names = [known.name for known in FORMATS]
        if name not in names:
            raise UsageError(f"the format {name!r} is not known.", hint=did_you_mean(name, names))
        found = FORMATS[names.index(name)]
        if path.is_dir() and found.name not in FOLDER_FORMATS:
            raise RecordingError(
                f"{path.name}: this is a folder, and {name} is read from a file.", hint="pass one of the files in it"
            )
        if found.kind == "hdf5" and not _is_hdf5(path):
            raise RecordingError(f"{path.name}: this is not an HDF5 file, so not {name}.", hint="leave --format out")
    if not isinstance(path, Path) and found.name not in REMOTE_FORMATS:
        raise _not_in_parts(path)
    raw: RawRecording = _module(found).read(path, options)
    return raw


def _recognised(path: SourceFile, options: ReadOptions) -> Format | None:
    head = b"" if path.is_dir() else _head(path)
    if not path.is_dir() and _is_hdf5(path):
        from spikefit.loaders.h5 import opened

        with opened(path, options) as reader:
            for known in FORMATS:
                if known.kind == "hdf5" and _module(known).recognise(reader):
                    return known
    if not isinstance(path, Path):
        raise _not_in_parts(path)
    for known in FORMATS:
        if known.kind == "file" and _module(known).recognise(path, head):
            return known
    return None


def _not_in_parts(path: SourceFile) -> RecordingError:
    return RecordingError(
        f"{path}: over the network only NWB and plain HDF5 can be read in parts, and this is neither.",
        hint="check the address (is it a page about the file?), or download the file first",
    )


def _module(known: Format) -> Any:
    return importlib.import_module(f"spikefit.loaders.{known.module}")


def _is_hdf5(path: SourceFile) -> bool:
    """Whether the signature of HDF5 stands at the start, or behind a user block of 512 bytes or a power of two more."""
    try:
        with path.open("rb") as file:
            place, size = 0, path.stat().st_size
            while place < size:
                file.seek(place)
                if file.read(8) == HDF5_SIGNATURE:
                    return True
                place = max(512, 2 * place)
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    return False


def _head(path: SourceFile) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as fault:
        raise _unreadable(path, fault) from fault


def _check_file(path: Path) -> None:
    if re.match(r"(https?|s3):/", str(path)):
        raise RecordingError(
            f"{path}: a path is no address, it has lost one of its slashes.",
            hint="pass the address as text, not as a path",
        )
    try:
        status = path.stat()
    except FileNotFoundError as fault:
        folder = path.parent
        known = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        raise RecordingError(
            f"{path}: there is no such file." if folder.is_dir() else f"{path}: there is no folder {str(folder)!r}.",
            hint=did_you_mean(path.name, known) if known else "check the path",
        ) from fault
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    except ValueError as fault:
        raise RecordingError(f"{str(path)!r} is not a path.", hint="check the path") from fault
    if stat.S_ISDIR(status.st_mode):
        return
    # A pipe or a device would be read for ever.
    if not stat.S_ISREG(status.st_mode):
        raise RecordingError(f"{path}: this is not a regular file.", hint="save the recording to a file first")
    if status.st_size == 0:
        raise RecordingError(
            f"{path.name}: the file is empty (0 bytes).", hint="copy it again from where it was recorded"
        )


def _unreadable(path: SourceFile, fault: OSError) -> RecordingError:
    if isinstance(fault, PermissionError):
        return RecordingError(f"{path.name}: no permission to read it.", hint="ask its owner for read access")
    return RecordingError(
        f"{path}: cannot be read ({os.strerror(fault.errno or 0)}).", hint="check the path and the disk"
    )
