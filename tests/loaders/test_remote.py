"""Recordings on the network, from a server on this machine that can also misbehave."""

from __future__ import annotations

import importlib.util
import json
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from spikefit.addresses import is_address, name_of_recording, without_credentials
from spikefit.errors import RecordingError, UsageError
from spikefit.loaders import read, remote
from spikefit.loaders.remote import RemoteFile
from spikefit.provenance import input_record

Build = Callable[..., Path]


class Server:
    """Serves one content under every path, and says what was asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag: str | None = '"one"'
        self.ranges = True
        self.status = 200
        self.delay_s = 0.0
        self.requests: list[tuple[str, str | None]] = []
        self.sent = 0
        self.break_after = 10**9  # bytes, after which every connection is cut
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                wanted = self.headers.get("Range")
                server.requests.append((self.command, wanted))
                time.sleep(server.delay_s)
                content, status = server.content, server.status
                if status == 200 and server.ranges and wanted:
                    a, b = re.fullmatch(r"bytes=(\d+)-(\d+)", wanted).groups()  # type: ignore[union-attr]
                    content, status = content[int(a) : int(b) + 1], 206
                if status >= 400:
                    content = b"no"
                if body and server.sent + len(content) > server.break_after:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if server.etag:
                    self.send_header("ETag", server.etag)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {a}-{b}/{len(server.content)}")
                self.end_headers()
                if body:
                    server.sent += len(content)
                    self.wfile.write(content)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}/some/session.nwb"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(autouse=True)
def _a_cache_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "PAUSES_S", (0.01,))


@pytest.fixture
def padded(nwb_file: Build, tmp_path: Path) -> Path:
    """A recording with 24 MB of raw voltages in front of its spikes."""

    def change(file: Any) -> None:
        file["acquisition/speed/data"] = np.arange(100.0)
        file["acquisition/speed/timestamps"] = np.arange(100.0)

    with h5py.File(tmp_path / "session.nwb", "w") as file:
        file["acquisition/raw/data"] = np.random.default_rng(0).integers(0, 255, 24_000_000, dtype=np.uint8)
    return nwb_file(change=change)


@pytest.fixture
def server(padded: Path) -> Iterator[Server]:
    made = Server(padded.read_bytes())
    yield made
    made.close()


def test_the_same_spikes_for_a_part_of_the_bytes(server: Server, padded: Path) -> None:
    here, there = read(padded), read(server.address)
    np.testing.assert_array_equal(there.spike_times_s, here.spike_times_s)
    assert there.unit_ids == here.unit_ids
    assert (there.name, there.source) == ("session", server.address)
    assert server.sent < 0.3 * len(server.content)
    assert all(wanted for command, wanted in server.requests if command == "GET")
    np.testing.assert_array_equal(there.covariates["speed"].values, here.covariates["speed"].values)
    # Looking for covariates does not fetch what they hold.
    assert server.sent < 0.5 * len(server.content)


def test_all_bytes_come_through_the_blocks(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(remote, "BLOCKS_IN_MEMORY", 4)
    server.content = server.content[: 4096 * 9 + 17]
    random = np.random.default_rng(1)
    with RemoteFile(server.address).open("rb") as file:
        for _ in range(60):
            start = int(random.integers(0, len(server.content)))
            size = int(random.integers(0, 20_000))
            file.seek(start)
            assert file.read(size) == server.content[start : start + size]
        file.seek(-5, 2)
        assert file.read() == server.content[-5:]


def test_what_was_fetched_is_kept_until_the_file_changes(server: Server, tmp_path: Path) -> None:
    read(server.address)
    asked = len(server.requests)
    read(server.address)
    assert [command for command, _ in server.requests[asked:]] == ["HEAD"]
    server.etag = '"two"'
    sent = server.sent
    read(server.address)
    assert server.sent > sent
    # A damaged block is fetched again.
    for block in (tmp_path / "cache").rglob("0"):
        block.write_bytes(b"short")
    read(server.address)


def test_without_a_version_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    server.etag = None
    read(server.address)
    assert not list((tmp_path / "cache").rglob("0"))


def test_the_oldest_blocks_make_room(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(server.address)
    monkeypatch.setattr(remote, "MOST_KEPT_BYTES", 1)
    time.sleep(0.01)
    server.etag = '"two"'
    read(server.address)
    assert len(list((tmp_path / "cache/spikefit/blocks").iterdir())) == 1


@pytest.mark.parametrize("split", [False, True])
def test_damaged_heaps_of_texts_are_found_before_hdf5_hangs_on_them(
    server: Server, nwb_file: Build, monkeypatch: pytest.MonkeyPatch, split: bool
) -> None:
    """Read as it is, such a file keeps HDF5 in a loop that nothing can stop."""
    content = bytearray(nwb_file(columns={"quality": ["good", "mua", "good"]}, name="texts.nwb").read_bytes())
    place = content.find(b"GCOL\x01")
    assert place > 0
    server.content = bytes(content)
    if split:  # the signature begins in one block and ends in the next
        size = next(n for n in range(600, 6000) if place % n == n - 2)
        monkeypatch.setattr(remote, "BLOCK_BYTES", size)
    assert read(server.address).unit_columns["quality"].tolist() == ["good", "mua", "good"]
    content[place + 16 : place + 32] = bytes(16)  # an object of no size
    server.content, server.etag = bytes(content), '"two"'
    refused(server.address, f"the texts stored {place} bytes into the file are damaged")


def refused(address: str, words: str, kind: type[Exception] = RecordingError) -> None:
    with pytest.raises(kind, match=words) as caught:
        read(address)
    assert caught.value.hint  # type: ignore[attr-defined]
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "there is no such file"),
        (403, r"does not let you read it \(status 403\)"),
        (401, r"does not let you read it \(status 401\)"),
        (503, r"in trouble \(status 503\)"),
        (418, "answers with status 418"),
    ],
)
def test_a_server_that_refuses(server: Server, status: int, words: str) -> None:
    server.status = status
    refused(server.address.replace("//", "//me:secret@") + "?token=secret", words)


def test_a_server_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "READ_TIMEOUT_S", 0.1)
    server.delay_s = 0.4
    refused(server.address, "does not answer")


def test_a_server_that_is_not_there() -> None:
    refused("http://127.0.0.1:9/session.nwb", "cannot be reached")


def test_a_server_that_only_hands_out_whole_files(server: Server) -> None:
    server.ranges = False
    refused(server.address, "whole files only")
    assert server.sent <= 2 * len(server.content)


def test_a_line_that_breaks_in_the_middle(server: Server) -> None:
    server.break_after = remote.BLOCK_BYTES
    refused(server.address, "cannot be reached, or the connection broke")


def test_a_page_is_no_recording(server: Server) -> None:
    server.content = b"<html>please sign in</html>" * 30
    refused(server.address, "only NWB and plain HDF5 can be read in parts")


def test_links_to_other_files_are_never_followed(server: Server, nwb_file: Build) -> None:
    def change(file: h5py.File) -> None:
        del file["units/spike_times"]
        file["units/spike_times"] = h5py.ExternalLink("other.nwb", "/units/spike_times")

    server.content = nwb_file(change=change, name="linked.nwb").read_bytes()
    with pytest.raises(RecordingError, match="never followed on the network"):
        read(server.address, follow_links=True)


def test_kinds_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    refused("ftp://host/session.nwb", "that begin with ftp:// are not read", UsageError)
    if importlib.util.find_spec("s3fs") is None:  # where it is installed, tests/loaders/test_s3.py uses it
        refused("s3://bucket/session.nwb", "needs s3fs, which is not installed")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    refused("https://host/session.nwb", "needs aiohttp")


def test_nothing_that_gives_access_is_shown_or_recorded(server: Server) -> None:
    address = server.address.replace("//", "//me:secret@") + "?X-Amz-Signature=secret&versionId=7#part"
    shown = without_credentials(address)
    assert shown == server.address + "?versionId=7"
    file = RemoteFile(address)
    assert "secret" not in f"{file} {file!r}"
    assert pickle.loads(pickle.dumps(file)).size == len(server.content)  # noqa: S301
    assert input_record(address) == {"path": shown, "name": "session.nwb", "bytes": len(server.content), "etag": "one"}
    assert read(address).source == shown


@pytest.mark.parametrize(
    ("text", "is_one", "name"),
    [
        ("https://host/a/b%20c.nwb?x=1", True, "b c.nwb"),
        ("s3://bucket/key.h5", True, "key.h5"),
        ("C://data/a.nwb", False, "a.nwb"),
        ("data/a.nwb", False, "a.nwb"),
    ],
)
def test_addresses_are_told_from_paths(text: str, is_one: bool, name: str) -> None:
    assert is_address(text) is is_one
    assert name_of_recording(text) == name


def spikefit(*arguments: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "spikefit", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_from_the_command_line(server: Server, tmp_path: Path) -> None:
    address = server.address.replace("//", "//me:secret@")
    shown = spikefit("inspect", address)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("session.nwb (nwb)")
    done = spikefit("infer", address, "-o", str(tmp_path / "out"), "--bin", "50ms", "--figures", "none", "--quiet")
    assert done.returncode == 0, done.stderr
    known = json.loads((tmp_path / "out/provenance.json").read_text())["input"]
    assert known == {"path": server.address, "name": "session.nwb", "bytes": len(server.content), "etag": "one"}
    for file in (tmp_path / "out").rglob("*"):
        assert file.is_dir() or b"secret" not in file.read_bytes(), file
    server.status = 404
    gone = spikefit("convert", address, str(tmp_path / "a.nwb"))
    assert gone.returncode == 4
    assert "there is no such file" in gone.stderr
    assert "Traceback" not in gone.stderr
