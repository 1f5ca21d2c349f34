"""Reading HDF5 files that may be damaged, enormous or hostile.

Every access goes through `H5Reader`: links are looked at before they are followed, sizes before they are read, and
whatever the library raises becomes a `RecordingError` that names the place. The facts behind the checks: a virtual
dataset whose source is missing reads as zeros; external raw storage turns the bytes of any file into numbers; a file
of a few bytes can declare terabytes; a compression filter that is not installed is reported as a missing folder.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from spikefit.errors import RecordingError
from spikefit.loaders.h5_heaps import check_heaps
from spikefit.loaders.h5_storage import check_storage, check_text_lengths
from spikefit.loaders.raw import ReadOptions, SourceFile, damaged

# A group or a dataset; h5py comes without types.
Node: TypeAlias = Any

# What h5py is known to raise on damaged files; anything else is a fault of ours and must be seen as one.
H5_FAULTS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    MemoryError,
    OverflowError,
    SystemError,
)
MAX_LINK_HOPS = 16
# Deeper than any format nests; HDF5 takes ever longer to find its way down.
MAX_DEPTH = 100


@contextlib.contextmanager
def opened(path: SourceFile, options: ReadOptions) -> Iterator[H5Reader]:
    """Open an HDF5 file for reading only; a Zarr folder is copied into memory first, as far as it is needed.

    Raises:
        RecordingError: if it is cut short, damaged, or open for writing elsewhere.
    """
    source: Any = path
    if isinstance(path, Path) and path.is_dir():
        from spikefit.loaders.zarr_folder import in_memory

        copy, left_out = in_memory(path, options)
        try:
            yield H5Reader(path, copy, options, left_out)
        finally:
            copy.close()
        return
    if isinstance(path, Path):
        check_heaps(path)
    else:  # looking through all of a file on the network would mean to fetch all of it
        source = path.open("rb")
    try:
        # Disks without locks (some network shares) must not stop us; a lock that somebody holds must.
        file = h5py.File(source, "r", **({"locking": "best-effort"} if source is path else {}))
    except H5_FAULTS as fault:
        raise _explain_open(path, fault) from fault
    try:
        yield H5Reader(path, file, options)
    finally:
        with contextlib.suppress(*H5_FAULTS):
            file.close()


def _explain_open(path: SourceFile, fault: BaseException) -> RecordingError:
    text = " ".join(str(fault).split())
    short = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text)
    if short:
        return RecordingError(
            f"{path.name}: the file is cut short: it has {int(short[1]):,} bytes and should have {int(short[2]):,}.",
            hint="copy it again from where it was recorded",
        )
    if isinstance(fault, BlockingIOError) or "unable to lock file" in text:
        return RecordingError(
            f"{path.name}: another program has the file open for writing.",
            hint="close it there (or end that recording), or read a copy",
        )
    if "h5clear" in text or "already open for write" in text:
        return RecordingError(
            f"{path.name}: the program that wrote the file did not close it.",
            hint="run `h5clear --status` on a copy of the file, then read the copy",
        )
    if isinstance(fault, PermissionError):
        return RecordingError(f"{path.name}: no permission to read the file.", hint="ask its owner for read access")
    return damaged(path, "", fault)


class H5Reader:
    """One open HDF5 file, read with care.

    Args:
        path: the file.
        file: it, open.
        options: limits, and whether links to other files may be followed.
        left_out: places that are in the recording but not in `file`, with the reason.
    """

    def __init__(self, path: SourceFile, file: h5py.File, options: ReadOptions, left_out: Sequence[str] = ()) -> None:
        self.path = path
        self.file = file
        self.options = options
        self.left_out = tuple(left_out)

    @contextlib.contextmanager
    def guarded(self, where: str) -> Iterator[None]:
        """Turn what h5py raises into a `RecordingError` about `where`."""
        try:
            yield
        except H5_FAULTS as fault:
            raise damaged(self.path, where, fault) from fault

    # -- finding ------------------------------------------------------------------------------------------------

    def node(self, path: str, parent: h5py.Group | None = None) -> Node | None:
        """The group or dataset at `path` (below `parent`), or None where there is none.

        Raises:
            RecordingError: if the way there leaves the file, runs in circles or is damaged.
        """
        return self._walk(self.file if parent is None or path.startswith("/") else parent, path, MAX_LINK_HOPS)

    def _walk(self, start: h5py.Group, path: str, hops: int) -> Node | None:
        here: Node = self.file if path.startswith("/") else start
        for part in PurePosixPath(path.lstrip("/")).parts:
            if not isinstance(here, h5py.Group):
                return None
            found = self._step(here, part, hops)
            if found is None:
                return None
            here = found
        return here

    def _step(self, group: h5py.Group, name: str, hops: int) -> Node | None:
        where = f"{name_of(group).rstrip('/')}/{name}"
        with self.guarded(where):
            link = group.get(name, getlink=True)
        if link is None:
            return None
        if isinstance(link, h5py.SoftLink):
            if hops == 0:
                raise RecordingError(
                    f"{self.path.name}: {where} is a link that leads round in circles.",
                    hint="repair or remove the link",
                )
            target = self._walk(group, link.path, hops - 1)
            if target is None:
                raise RecordingError(
                    f"{self.path.name}: {where} is a link to {link.path!r}, which is not there.",
                    hint="the data were left behind: find the file they are in",
                )
            return target
        if isinstance(link, h5py.ExternalLink):
            self.refuse_other_file(where, str(link.filename), "a link into")
        with self.guarded(where):
            return _readable(group[name])

    def referred(self, reference: Any, where: str) -> Node | None:
        """What an object reference in the dataset `where` points at, or None where it points at nothing."""
        with self.guarded(where):
            return _readable(self.file[reference]) if reference else None

    def refuse_other_file(self, where: str, filename: str, how: str) -> None:
        """Refuse data in another file, unless links may be followed and it lies in the recording's own folder."""
        if not isinstance(self.path, Path):
            raise RecordingError(
                f"{self.path.name}: {where} is {how} another file ({filename!r}), which is never followed on the network.",
                hint="download both files into one folder",
            )
        folder = self.path.resolve().parent
        target = (folder / filename).resolve()
        if not self.options.follow_links:
            raise RecordingError(
                f"{self.path.name}: {where} is {how} another file ({filename!r}), which is not read unless you ask for it.",
                hint="pass --follow-links if that file belongs to the recording, or copy the data into one file",
            )
        if folder not in target.parents:
            raise RecordingError(
                f"{self.path.name}: {where} is {how} a file outside the recording's own folder ({filename!r}).",
                hint="put that file beside the recording",
            )
        if not target.is_file():
            raise RecordingError(
                f"{self.path.name}: {where} is {how} another file ({filename!r}), which is not there.",
                hint="put that file beside the recording",
            )

    def group(self, path: str, parent: h5py.Group | None = None) -> h5py.Group | None:
        """The group at `path`, or None where there is none."""
        found = self.node(path, parent)
        return found if isinstance(found, h5py.Group) else None

    def dataset(self, path: str, parent: h5py.Group | None = None) -> h5py.Dataset | None:
        """The dataset at `path`, or None where there is none.

        Raises:
            RecordingError: if a group stands in its place.
        """
        found = self.node(path, parent)
        if isinstance(found, h5py.Group):
            raise RecordingError(
                f"{self.path.name}: {name_of(found)} is a group, expected a dataset.",
                hint="point at the dataset inside it",
            )
        return found

    def names(self, group: h5py.Group) -> list[str]:
        """Names of the members of a group."""
        with self.guarded(name_of(group)):
            return [name for name in group if isinstance(name, str)]

    # -- reading ------------------------------------------------------------------------------------------------

    def numbers(self, dataset: h5py.Dataset, *, expected: str = "numbers") -> NDArray[Any]:
        """The whole of a numeric dataset, as it is stored.

        Raises:
            RecordingError: if it holds something else, is stored outside the file, declares more than may be read,
                or needs a filter that is not installed.
        """
        where = name_of(dataset)
        with self.guarded(where):
            kind = dataset.dtype.kind
        if kind not in "fiub":
            raise RecordingError(
                f"{self.path.name}: {where} holds {_kind_name(dataset.dtype)}, expected {expected}.",
                hint="convert it to numbers and write it again",
            )
        values = self._read(dataset)
        return np.asarray(values)

    def texts(self, dataset: h5py.Dataset) -> list[str]:
        """The whole of a one-dimensional dataset as texts, whatever it holds."""
        check_text_lengths(self, dataset)
        values = np.asarray(self._read(dataset)).ravel()
        return [as_text(value) for value in values]

    def references(self, dataset: h5py.Dataset) -> NDArray[Any]:
        """The whole of a dataset of object or region references."""
        return np.asarray(self._read(dataset))

    def _read(self, dataset: h5py.Dataset) -> Any:
        where = name_of(dataset)
        with self.guarded(where):
            shape = dataset.shape
        if shape is None:
            return np.empty(0)
        check_storage(self, dataset)
        with self.guarded(where):
            return dataset[()]

    # -- attributes ---------------------------------------------------------------------------------------------

    def has_attribute(self, node: Node, name: str) -> bool:
        """Whether an attribute is there; its value is not read."""
        try:
            return name in node.attrs
        except H5_FAULTS:
            return False

    def attribute(self, node: Node, name: str) -> Any:
        """An attribute, or None where there is none or it cannot be read."""
        try:
            if name not in node.attrs:
                return None
            value = node.attrs[name]
        except H5_FAULTS:
            return None
        return None if isinstance(value, h5py.Empty) else value

    def attribute_text(self, node: Node, name: str) -> str | None:
        """An attribute as text, or None."""
        value = self.attribute(node, name)
        if value is None:
            return None
        array = np.asarray(value, dtype=object).ravel()
        return as_text(array[0]) if array.size else None

    def attribute_number(self, node: Node, name: str) -> float | None:
        """A numeric attribute, or None."""
        value = self.attribute(node, name)
        try:
            array = np.asarray(value, dtype=np.float64).ravel()
        except (TypeError, ValueError):
            return None
        return float(array[0]) if array.size == 1 and np.isfinite(array[0]) else None

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Every group and dataset of the file once, with its path, members in turn before what is below them.

        Links to other files and links by name are left alone, and groups that contain each other are met once.

        Raises:
            RecordingError: where the structure is damaged, or nests deeper than `MAX_DEPTH`.
        """
        met: set[int] = set()
        level: list[tuple[str, Node]] = [("", self.file)]
        for _ in range(MAX_DEPTH):
            below: list[tuple[str, Node]] = []
            for path, group in level:
                for name in self.names(group):
                    place = f"{path}/{name}"
                    with self.guarded(place):
                        link = group.get(name, getlink=True)
                        node = _readable(group[name]) if isinstance(link, h5py.HardLink) else None
                        address = -1 if node is None else int(h5py.h5o.get_info(node.id).addr)
                    if node is None or address in met:
                        continue
                    met.add(address)
                    yield place, node
                    if isinstance(node, h5py.Group):
                        below.append((place, node))
            if not below:
                return
            level = below
        raise RecordingError(
            f"{self.path.name}: groups are nested more than {MAX_DEPTH} deep.", hint="is the file damaged?"
        )

    # -- telling ------------------------------------------------------------------------------------------------

    def listing(self, limit: int = 12) -> str:
        """What the file holds, for a message: the first datasets with their shapes."""
        found: list[str] = []
        try:
            for name, node in self.walk():
                if isinstance(node, h5py.Dataset):
                    short = name if len(name) <= 80 else f"{name[:30]}…{name[-30:]}"
                    found.append(f"{short} {_shape_text(node)}")
                if len(found) > limit:
                    break
        except RecordingError:
            pass  # what was found before the damage is still worth telling
        if not found:
            return "no datasets"
        return ", ".join(found[:limit]) + (", …" if len(found) > limit else "")


def _readable(found: Any) -> Node | None:
    """A group, or a dataset whose shape and type make sense; asking for them raises where they do not."""
    if isinstance(found, h5py.Dataset):
        _ = found.shape, found.dtype
        return found
    return found if isinstance(found, h5py.Group) else None


def as_text(value: object) -> str:
    """Text from what HDF5 gives: bytes, numbers or text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)


def name_of(node: Node) -> str:
    """Where a group or dataset stands in its file."""
    try:
        return node.name or "(a dataset without a name)"
    except H5_FAULTS:
        return "(a place without a name)"


def _shape_text(dataset: h5py.Dataset) -> str:
    try:
        size = " × ".join(str(n) for n in dataset.shape) if dataset.shape else "single value"
        return f"({size}, {_kind_name(dataset.dtype)})"
    except H5_FAULTS:
        return "(unreadable)"


def _kind_name(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "O":
        return "references" if h5py.check_ref_dtype(dtype) is not None else "text"
    names = {
        "S": "text",
        "U": "text",
        "V": "compound records",
        "c": "complex numbers",
        "f": "numbers",
        "i": "whole numbers",
    }
    return names.get(dtype.kind, "whole numbers" if dtype.kind in "ub" else f"{dtype}")
