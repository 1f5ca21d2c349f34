"""Files on the network (`https://`, `s3://`), read in blocks of which each is fetched once.

fsspec speaks to the server. A server that only hands out whole files is refused: nobody who asks for the spikes of a session
wants its raw voltages. Blocks are kept on disk between runs where the server says which version of the file they are of.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import stat
import time
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from spikefit.addresses import name_of_recording, scheme_of, without_credentials
from spikefit.errors import RecordingError, UsageError
from spikefit.loaders.h5_heaps import SIGNATURE, check_heap

SCHEMES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs"}
BLOCK_BYTES = 2**20
# Blocks held in memory, and bytes kept on disk over all files; the files that were used last stay.
BLOCKS_IN_MEMORY = 64
MOST_KEPT_BYTES = 4 * 2**30
CONNECT_TIMEOUT_S = 20.0
READ_TIMEOUT_S = 60.0
# Waits before a request is tried again: lines drop.
PAUSES_S = (0.5, 2.0)
HOW_TO_INSTALL = 'run `pip install "spikefit[remote]"`, then try again'


class RemoteFile:
    """A file on the network; as far as readers of HDF5 need it, it behaves like a path.

    Args:
        address: where it is, with what is needed to be let in.

    Raises:
        UsageError: for a kind of address that is not known.
    """

    def __init__(self, address: str) -> None:
        scheme = scheme_of(address)
        if scheme not in SCHEMES:
            raise UsageError(
                f"{without_credentials(address)}: addresses that begin with {scheme}:// are not read.",
                hint="use https:// or s3://, or download the file",
            )
        self.address = address
        self._anonymous = False
        self.name = name_of_recording(address)
        self.stem, self.suffix = Path(self.name).stem, Path(self.name).suffix

    def __str__(self) -> str:
        return without_credentials(self.address)

    def __repr__(self) -> str:
        return f"RemoteFile({str(self)!r})"

    def __getstate__(self) -> dict[str, Any]:
        # Connections stay where they were made.
        return {key: self.__dict__[key] for key in ("address", "name", "stem", "suffix", "_anonymous")}

    # -- what a path has ----------------------------------------------------------------------------------------

    def is_file(self) -> bool:
        return True

    def is_dir(self) -> bool:
        return False

    def stat(self) -> os.stat_result:
        """Size and kind; nothing else is known."""
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, self.size, 0, 0, 0))

    def open(self, mode: str = "rb") -> IO[bytes]:
        """The file, for reading bytes."""
        if mode != "rb":
            raise ValueError(f"files on the network are read as bytes, not {mode!r}")
        return io.BufferedReader(_Blocks(self), BLOCK_BYTES // 16)

    # -- what the server says -----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.info["size"])

    @property
    def version(self) -> str | None:
        """What the server calls this version of the file; None where it does not."""
        for key in ("ETag", "etag", "Last-Modified", "LastModified"):
            if self.info.get(key):
                return str(self.info[key]).strip('"')
        return None

    def record(self) -> dict[str, Any]:
        """For the record of a run: size and version. There is no SHA-256: that would take reading all of it."""
        return {"bytes": self.size, "etag": self.version}

    @cached_property
    def info(self) -> dict[str, Any]:
        """What the server says of the file.

        Raises:
            RecordingError: if it is not there, or the server refuses, does not answer or hides its size.
        """
        with self._explained():
            try:
                info = dict(self._system.info(self._place))
            except Exception as fault:
                if not any(type(f).__name__ == "NoCredentialsError" for f in _chain(fault)):
                    raise
                # Most recordings at s3:// addresses are open to all; who has no key asks without one.
                self._anonymous = True
                self.__dict__.pop("_filesystem", None)
                info = dict(self._system.info(self._place))
        if not info.get("size") or info.get("type") == "directory":
            raise RecordingError(
                f"{self}: the server does not say how large the file is, so it cannot be read in parts.",
                hint="download the file first",
            )
        return info

    @cached_property
    def _filesystem(self) -> tuple[Any, str]:
        try:
            import fsspec
        except ImportError as fault:
            raise RecordingError(f"{self}: reading over the network needs fsspec.", hint=HOW_TO_INSTALL) from fault
        options: dict[str, Any] = {"skip_instance_cache": True}
        if scheme_of(self.address) != "s3":
            try:
                from aiohttp import ClientTimeout
            except ImportError as fault:
                raise RecordingError(f"{self}: reading over the network needs aiohttp.", hint=HOW_TO_INSTALL) from fault
            limits = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
            options["client_kwargs"] = {"timeout": limits}
        else:
            options["config_kwargs"] = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
            options["anon"] = self._anonymous
        try:
            system, place = fsspec.url_to_fs(self.address, **options)
        except ImportError as fault:
            needed = SCHEMES[scheme_of(self.address)]
            raise RecordingError(
                f"{self}: reading {scheme_of(self.address)}:// needs {needed}, which is not installed.",
                hint=f"run `pip install {needed}`, or use the https:// address of the file",
            ) from fault
        return system, place

    @property
    def _system(self) -> Any:
        return self._filesystem[0]

    @property
    def _place(self) -> str:
        return self._filesystem[1]

    def fetch(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`, from the server.

        Raises:
            RecordingError: if the server hands out something else, or nothing.
        """
        with self._explained():
            for pause_s in (*PAUSES_S, None):
                try:
                    with self._system.open(self._place, "rb", cache_type="none", size=self.size) as file:
                        file.seek(start)
                        content: bytes = file.read(stop - start)
                    break
                except Exception as fault:
                    if pause_s is None or not _is_passing(fault):
                        raise
                    time.sleep(pause_s)
        if len(content) != stop - start:
            raise RecordingError(
                f"{self}: the server sent {len(content)} bytes where {stop - start} were asked for.",
                hint="try again later, or download the file first",
            )
        return content

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except RecordingError:
            raise
        except Exception as fault:
            raise self._explain(fault) from fault

    def _explain(self, fault: BaseException) -> RecordingError:
        chain = _chain(fault)
        status = next((s for s in (getattr(f, "status", None) for f in chain) if isinstance(s, int)), None)
        if status in (401, 403) or any(isinstance(f, PermissionError) for f in chain):
            return RecordingError(
                f"{self}: the server does not let you read it{f' (status {status})' if status else ''}.",
                hint="sign in, or ask for an address that gives access; those that are signed run out",
            )
        if status is not None and status >= 500:
            return RecordingError(f"{self}: the server is in trouble (status {status}).", hint="try again later")
        if any(isinstance(f, TimeoutError) for f in chain):
            return RecordingError(
                f"{self}: the server does not answer (after {CONNECT_TIMEOUT_S:g} s, or {READ_TIMEOUT_S:g} s in the middle of it).",
                hint="check the connection and try again, or download the file first",
            )
        if any("range requests" in str(f) or "expected only" in str(f) for f in chain):
            return RecordingError(
                f"{self}: the server hands out whole files only, not parts of them.", hint="download the file first"
            )
        if status is not None and status not in (404, 410):
            return RecordingError(f"{self}: the server answers with status {status}.", hint="check the address")
        if status is None and any(_is_of_the_line(f) for f in chain):
            return RecordingError(
                f"{self}: the server cannot be reached, or the connection broke.",
                hint="check the address and the connection",
            )
        if status is not None or isinstance(fault, FileNotFoundError):
            return RecordingError(f"{self}: there is no such file.", hint="check the address")
        return RecordingError(
            f"{self}: it cannot be read ({type(fault).__name__}: {str(fault)[:200].replace(self.address, str(self))}).",
            hint="check the address, or download the file first",
        )


class _Blocks(io.RawIOBase):
    """Bytes of a remote file through its blocks."""

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self._file, self._at = file, 0
        self._memory: OrderedDict[int, bytes] = OrderedDict()
        self._checked: set[int] = set()
        self._folder = _folder_for(file)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the file goes; a short answer would be taken for its end."""
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._file.size)
        if stop <= self._at:
            return 0
        first, last = self._at // BLOCK_BYTES, (stop - 1) // BLOCK_BYTES
        written = 0
        for number, content in self._blocks(first, last):
            a = max(self._at - number * BLOCK_BYTES, 0)
            b = min(stop - number * BLOCK_BYTES, len(content))
            view[written : written + b - a] = content[a:b]
            written += b - a
        self._at += written
        return written

    def _blocks(self, first: int, last: int) -> Any:
        number = first
        while number <= last:
            known = self._known(number)
            if known is not None:
                self._check(number, known)
                yield number, known
                number += 1
                continue
            # Blocks that are missing side by side come in one request, a few at a time so that memory stays small.
            behind = number + 1
            while behind <= last and behind - number < BLOCKS_IN_MEMORY // 2 and self._known(behind) is None:
                behind += 1
            content = self._file.fetch(number * BLOCK_BYTES, min(behind * BLOCK_BYTES, self._file.size))
            for k in range(number, behind):
                block = content[(k - number) * BLOCK_BYTES : (k - number + 1) * BLOCK_BYTES]
                self._keep(k, block)
                self._check(k, block)
                yield k, block
            number = behind

    def _check(self, number: int, content: bytes) -> None:
        """Look at the heaps of texts that begin in a block, before HDF5 sees them: damaged ones keep it busy for ever."""
        if number in self._checked:
            return
        self._checked.add(number)
        start, overlap = number * BLOCK_BYTES, len(SIGNATURE) - 1
        # A signature may begin in this block and end in the next, so that one is asked for its first bytes.
        ending = self._at_place(start + len(content), overlap) if content[-overlap:].rfind(SIGNATURE[:1]) >= 0 else b""
        look = content + ending
        place = look.find(SIGNATURE)
        while place >= 0:
            check_heap(self._at_place, self._file.size, start + place, self._file)
            place = look.find(SIGNATURE, place + len(SIGNATURE))

    def _at_place(self, start: int, n_bytes: int) -> bytes:
        """Some bytes of the file, through the blocks, whatever heaps are in these."""
        found, stop = b"", min(start + n_bytes, self._file.size)
        while start < stop:
            number = start // BLOCK_BYTES
            content = self._known(number)
            if content is None:
                content = self._file.fetch(number * BLOCK_BYTES, min((number + 1) * BLOCK_BYTES, self._file.size))
                self._keep(number, content)
            piece = content[start - number * BLOCK_BYTES :][: stop - start]
            found, start = found + piece, start + len(piece)
        return found

    def _known(self, number: int) -> bytes | None:
        if number in self._memory:
            self._memory.move_to_end(number)
            return self._memory[number]
        if self._folder is None:
            return None
        try:
            content = (self._folder / str(number)).read_bytes()
        except OSError:
            return None
        if len(content) != min(BLOCK_BYTES, self._file.size - number * BLOCK_BYTES):
            return None
        self._remember(number, content)
        return content

    def _keep(self, number: int, content: bytes) -> None:
        self._remember(number, content)
        if self._folder is None:
            return
        scratch = self._folder / f"{number}.{os.getpid()}.part"
        try:
            scratch.write_bytes(content)
            scratch.replace(self._folder / str(number))
        except OSError:  # a full disk must not stop the reading
            self._folder = None
            with contextlib.suppress(OSError):
                scratch.unlink()

    def _remember(self, number: int, content: bytes) -> None:
        self._memory[number] = content
        while len(self._memory) > BLOCKS_IN_MEMORY:
            self._memory.popitem(last=False)


def cache_folder() -> Path:
    """Where blocks are kept between runs; it may be deleted at any time."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "spikefit" / "blocks"


def _folder_for(file: RemoteFile) -> Path | None:
    """The blocks of this very version of a file; None where no version is known or nothing can be kept."""
    if file.version is None:
        return None
    key = "\n".join([str(file), file.version, str(file.size), str(BLOCK_BYTES)])
    folder = cache_folder() / hashlib.sha256(key.encode()).hexdigest()[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.utime(folder)
        _make_room(folder)
    except (OSError, RuntimeError):
        return None
    return folder


def _make_room(in_use: Path) -> None:
    """Delete the blocks of the files that were not read for longest."""
    folders = sorted((f for f in in_use.parent.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime, reverse=True)
    kept = 0
    for folder in folders:
        kept += sum(block.stat().st_size for block in folder.iterdir())
        if kept > MOST_KEPT_BYTES and folder != in_use:
            shutil.rmtree(folder, ignore_errors=True)


def _chain(fault: BaseException) -> list[BaseException]:
    """A fault and what caused it."""
    chain: list[BaseException] = []
    here: BaseException | None = fault
    while here is not None and here not in chain:
        chain.append(here)
        here = here.__cause__ or here.__context__
    return chain


def _is_passing(fault: BaseException) -> bool:
    """Whether it may go better the next time."""
    chain = _chain(fault)
    status = next((s for s in (getattr(f, "status", None) for f in chain) if isinstance(s, int)), None)
    if status is not None:
        return status >= 500 or status == 429
    return any(_is_of_the_line(f) for f in chain)


def _is_of_the_line(fault: BaseException) -> bool:
    """Whether the connection is at fault; not all that aiohttp raises of it is an `OSError`."""
    if isinstance(fault, OSError):  # a TimeoutError is one
        return not isinstance(fault, FileNotFoundError | PermissionError)
    kind, library = type(fault).__name__, type(fault).__module__.partition(".")[0]
    return library == "aiohttp" or (
        library == "botocore" and any(word in kind for word in ("Connect", "Timeout", "Closed"))
    )
