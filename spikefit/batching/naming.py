"""What the folder of a job is called: from BIDS entities or the file, safe on every disk, each name once."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

# Longer names leave no room for the files that are written beside them.
MOST_BYTES = 120
_ENTITY = re.compile(r"(sub|ses)-[0-9A-Za-z]+")
_DATA_SUFFIXES = (".nwb", ".h5", ".hdf5", ".mat", ".nix", ".npy", ".npz", ".csv", ".tsv", ".txt", ".res", ".zarr")


def safe_name(text: str) -> str:
    """`text` as the name of a folder: letters and digits of any script, and `-_.=+` as they are.

    Everything else (spaces, quotes, line breaks, slashes) becomes `_`. What comes out never leaves the folder it is put
    into, is never hidden and is never taken for a flag.
    """
    kept = "".join(sign if sign.isalnum() or sign in "-_.=+" else "_" for sign in unicodedata.normalize("NFC", text))
    kept = re.sub(r"_{2,}", "_", kept).strip("_").lstrip(".-").rstrip(".") or "session"
    if len(kept.encode("utf-8")) <= MOST_BYTES:
        return kept
    cut = kept.encode("utf-8")[: MOST_BYTES - 9].decode("utf-8", "ignore")
    return f"{cut}-{_digest(text)}"


def recording_name(path: Path) -> str:
    """What a recording is called: its BIDS subject and session, where only its folders tell, and its file name."""
    stem = path.name
    while Path(stem).suffix.lower() in _DATA_SUFFIXES:
        stem = Path(stem).stem
    entities = []
    for part in path.parent.parts:
        match = _ENTITY.fullmatch(part)
        if match is not None and f"{match[1]}-" not in stem:
            entities.append(part)
    return safe_name("_".join([*entities[-2:], stem]))


def unique_names(paths: Sequence[Path], variants: Sequence[str]) -> list[str]:
    """A name for each job, the same whatever the order of the jobs.

    Args:
        paths: the recording of each job.
        variants: what sets the job apart from others of the same recording (`hidden-2_bin-10ms`), or nothing.
    """
    names = dict.fromkeys(paths, "")
    for path in names:
        names[path] = recording_name(path)
    for path in _clashing(names):
        names[path] = safe_name("_".join((*path.parent.parts[-1:], recording_name(path))))
    for path in _clashing(names):
        names[path] = f"{names[path]}-{_digest(str(path))}"
    return [safe_name("_".join(filter(None, (names[p], v)))) for p, v in zip(paths, variants, strict=True)]


def repeated(names: Sequence[str]) -> list[str]:
    """Names that stand more than once, also on a disk that does not tell capitals apart."""
    folded = [name.casefold() for name in names]
    return sorted({name for name, fold in zip(names, folded, strict=True) if folded.count(fold) > 1})


def _clashing(names: dict[Path, str]) -> list[Path]:
    taken: dict[str, list[Path]] = {}
    for path, name in names.items():
        taken.setdefault(name.casefold(), []).append(path)
    return [path for paths in taken.values() if len(paths) > 1 for path in paths]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
