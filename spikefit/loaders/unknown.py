"""What to say of a file that none of our readers takes: what it is, as far as its first bytes tell, and the way on."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from spikefit.errors import RecordingError
from spikefit.loaders.raw import read_head

_SORT_FIRST = "sort the spikes first, then pass the sorter's output (a folder of Phy, NWB or HDF5)"
_EXPORT = "export the spike times from its program as NWB, .nex, .plx or a table of text"
# First bytes; what such a file is; the way on.
SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x80\x02", "a Python pickle; these can run any program when opened and are never read", "save the recording as NWB or HDF5"),
    (b"\x80\x03", "a Python pickle; these can run any program when opened and are never read", "save the recording as NWB or HDF5"),
    (b"\x80\x04", "a Python pickle; these can run any program when opened and are never read", "save the recording as NWB or HDF5"),
    (b"\x80\x05", "a Python pickle; these can run any program when opened and are never read", "save the recording as NWB or HDF5"),
    (b"NEURALSG", "continuous signals of Blackrock (.nsX), without sorted spikes", "pass the .nev file beside it"),
    (b"NEURALCD", "continuous signals of Blackrock (.nsX), without sorted spikes", "pass the .nev file beside it"),
    (b"BRSMPGRP", "continuous signals of Blackrock (.nsX), without sorted spikes", "pass the .nev file beside it"),
    (b"\x02\x27\x91\xc6", "raw signals of Intan (.rhd)", _SORT_FIRST),
    (b"\xac\x27\x91\xd6", "raw signals of Intan (.rhs)", _SORT_FIRST),
    (b"ABF ", "signals of Axon (.abf), without sorted spikes", _SORT_FIRST),
    (b"ABF2", "signals of Axon (.abf), without sorted spikes", _SORT_FIRST),
    (b"0       ", "signals in the European Data Format (.edf), without sorted spikes", _SORT_FIRST),
    (b"* MICROMED", "signals of Micromed (.trc), without sorted spikes", _SORT_FIRST),
    (b"header.format = 'Open Ephys Data Format'", "signals or events of Open Ephys, without sorted spikes", "pass the .spikes files, or a sorter's output"),
    (b"acqMnMaXaDw", "the description of a SpikeGLX recording, which holds raw signals", _SORT_FIRST),
    (b"NEX5", "NeuroExplorer 5 (.nex5), which Neo does not read", "save it as .nex from NeuroExplorer"),
    (b"MCSSTRM", "Multi Channel Systems (.mcd), which is read by a library of its maker only", _EXPORT),
    (b"DAC2objects", "Elphy, whose files nobody gave us to test a reader with", _EXPORT),
    (b"\x0bDAC2objects", "Elphy, whose files nobody gave us to test a reader with", _EXPORT),
    (b"trial_date", "Axona, whose files hold spikes of tetrodes that are not sorted", _SORT_FIRST),
    (b"%PDF", "a PDF, not a recording", "pass the recording itself"),
    (b"\x89PNG", "a picture, not a recording", "pass the recording itself"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip, then pass what was in it"),
    (b"BZh", "compressed with bzip2", "unpack it with bunzip2, then pass what was in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive", "unpack it, then pass what was in it"),
    (b"\xd0\xcf\x11\xe0", "an old document of Office (.xls, .doc)", "save the sheet as CSV with the heading `time,unit`"),
    (b"\x93NUMPY", "a single array (.npy): it does not say which unit fired", "save times and units together: np.savez(file, times=…, unit=…)"),
    (b"PAR1", "a Parquet table", "save it as CSV with the heading `time,unit`, or as HDF5"),
)  # fmt: skip
# Told by the name alone, because the maker signs nothing.
ENDINGS: dict[str, tuple[str, str]] = {
    ".pl2": ("Plexon's .pl2 can only be read with a library that has to be fetched from the internet", "export it from Plexon as .plx or NeuroExplorer (.nex)"),
    ".smrx": ("CED's .smrx can only be read with a closed library of its maker", "save it as .smr from Spike2"),
    ".mpx": ("AlphaOmega's .mpx keeps the spikes of a channel together, whichever unit they are of", _EXPORT),
    ".src": ("BrainWare's .src files nobody gave us to test a reader with", "save the unit as .f32 from BrainWare"),
    ".dam": ("BrainWare's .dam holds signals, without sorted spikes", _SORT_FIRST),
    ".rec": ("SpikeGadgets' .rec holds raw signals", _SORT_FIRST),
}  # fmt: skip


def unknown(path: Path, known: Sequence[str]) -> RecordingError:
    """The error for a file or a folder of no format that can be read.

    Args:
        path: it.
        known: the formats that can be.
    """
    if path.is_dir():
        return _folder(path)
    head = read_head(path, 4096)
    for signature, what, hint in SIGNATURES:
        if head.startswith(signature):
            return RecordingError(f"{path.name}: {what}.", hint=hint)
    if path.suffix.lower() in ENDINGS:
        what, hint = ENDINGS[path.suffix.lower()]
        return RecordingError(f"{path.name}: {what}.", hint=hint)
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head[:500].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return RecordingError(
            f"{path.name}: a web page, not a recording.", hint="download the file itself; the page may ask to sign in"
        )
    if head[257:262] == b"ustar":
        return RecordingError(f"{path.name}: a tar archive.", hint="unpack it, then pass what was in it")
    if head.startswith(b"version https://git-lfs"):
        return RecordingError(f"{path.name}: only a note of Git LFS on where the file is.", hint="run `git lfs pull`")
    if not any(head):
        return RecordingError(
            f"{path.name}: the file begins with {len(head)} zero bytes.",
            hint="copy it again from where it was recorded",
        )
    return RecordingError(
        f"{path.name}: neither HDF5 nor any other format that can be read (these are: {', '.join(known)}).",
        hint="save the recording as NWB or HDF5, or name its format with --format",
    )


def _folder(path: Path) -> RecordingError:
    inside = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
    listed = ", ".join(inside[:8]) + (", …" if len(inside) > 8 else "") if inside else "nothing"
    if any((path / name).exists() for name in (".zgroup", ".zarray", "zarr.json", ".zmetadata")):
        return RecordingError(
            f"{path}: a Zarr folder, but not NWB (it holds {listed}).", hint="convert it to NWB, or to plain HDF5"
        )
    hints = {
        "structure.oebin": "Open Ephys wrote raw signals here: sort them first, then pass the sorter's output",
        "spike_times.npy": "spike_clusters.npy is missing beside spike_times.npy: copy the whole folder of Phy or Kilosort",
        "spike_clusters.npy": "spike_times.npy is missing beside spike_clusters.npy: copy the whole folder of Phy or Kilosort",
    }
    hint = next((hints[name] for name in hints if name in inside), "pass one of the files in it")
    return RecordingError(f"{path}: this is a folder, expected a recording (it holds {listed}).", hint=hint)


def _archive(path: Path) -> RecordingError:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        names = []
    if any(name.startswith("xl/") for name in names):
        return RecordingError(
            f"{path.name}: a spreadsheet.", hint="save the sheet as CSV with the heading `time,unit`, a spike per line"
        )
    listed = f" (it holds {', '.join(names[:5])})" if names else ""
    return RecordingError(f"{path.name}: a zip archive{listed}.", hint="unpack it, then pass what was in it")
