"""NIX files, as Neo writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from spikefit.loaders.h5 import H5Reader, opened
from spikefit.loaders.h5_storage import check_storage
from spikefit.loaders.neo import check_unit_texts, read_with
from spikefit.loaders.raw import RawRecording, ReadOptions


def recognise(reader: H5Reader) -> bool:
    """Whether an open HDF5 file is NIX; such files say so."""
    return reader.attribute_text(reader.file, "format") == "nix"


def read(path: Path, options: ReadOptions) -> RawRecording:
    """Read the spike trains of a NIX file.

    Raises:
        RecordingError: as `spikefit.loaders.neo.read_with`.
    """
    with opened(path, options) as reader:
        _check(reader)

    def open_blocks() -> list[Any]:
        from neo.io import NixIO

        # The default mode, "rw", would write to the recording.
        source = NixIO(str(path), mode="ro")
        try:
            return list(source.read_all_blocks())
        finally:
            source.close()

    return read_with(open_blocks, path, "nix")


def _check(reader: H5Reader) -> None:
    """The reader below Neo follows whatever it meets, so links, sizes and units are checked before it sees the file."""
    texts: set[str] = set()
    for path, node in [("/", reader.file), *reader.walk()]:
        text = reader.attribute_text(node, "unit")
        if text:
            texts.add(text)
        if isinstance(node, h5py.Dataset):
            check_storage(reader, node)
            continue
        for name in reader.names(node):
            with reader.guarded(f"{path}/{name}"):
                hard = isinstance(node.get(name, getlink=True), h5py.HardLink)
            if not hard:
                reader.node(name, node)  # refuses what leads out of the file, to nothing, or round in circles
    check_unit_texts(texts, reader.path)
