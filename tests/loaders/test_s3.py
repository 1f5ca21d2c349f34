"""Recordings at s3:// addresses, from a server of S3 on this machine (moto); skipped where it or s3fs is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("moto.server", reason="moto, a server of S3 for tests, is not installed")

from spikefit.errors import RecordingError
from spikefit.loaders import read, recognise
from spikefit.loaders.remote import RemoteFile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # what botocore and moto say of themselves
]


@pytest.fixture
def bucket(
    nwb_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, Path]]:
    """A bucket `lab` with `day 1/session.nwb` in it; the same file on the disk."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def with_much_else(file: h5py.File) -> None:
        file["acquisition/raw/data"] = np.random.default_rng(0).integers(0, 255, 6_000_000, np.uint8)

    path = nwb_file(change=with_much_else)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="lab")
    client.put_object(Bucket="lab", Key="day 1/session.nwb", Body=path.read_bytes())
    yield client, path
    server.stop()


ADDRESS = "s3://lab/day 1/session.nwb"


def test_the_same_spikes_from_a_part_of_the_file(bucket: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    original = RemoteFile.fetch

    def counted(self: RemoteFile, start: int, stop: int) -> bytes:
        fetched.append(stop - start)
        return original(self, start, stop)

    monkeypatch.setattr(RemoteFile, "fetch", counted)
    client, path = bucket
    found, expected = read(ADDRESS), read(path)
    assert recognise(ADDRESS) == "nwb"
    np.testing.assert_array_equal(found.spike_times_s, expected.spike_times_s)
    assert found.unit_ids == expected.unit_ids
    assert sum(fetched) < path.stat().st_size / 2
    n_requests = len(fetched)
    read(ADDRESS)
    assert len(fetched) == n_requests  # from the cache
    etag = client.head_object(Bucket="lab", Key="day 1/session.nwb")["ETag"].strip('"')
    assert RemoteFile(ADDRESS).record() == {"bytes": path.stat().st_size, "etag": etag}


def test_without_a_key_it_is_asked_as_anyone(bucket: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    client, path = bucket
    client.put_object_acl(Bucket="lab", Key="day 1/session.nwb", ACL="public-read")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert read(ADDRESS).n_spikes == read(path).n_spikes


@pytest.mark.parametrize("address", ["s3://lab/nothing.nwb", "s3://elsewhere/session.nwb"])
def test_what_is_not_there(bucket: tuple[Any, Path], address: str) -> None:
    with pytest.raises(RecordingError, match="there is no such file"):
        read(address)


def test_a_server_that_is_gone(bucket: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(RecordingError, match="cannot be reached"):
        read(ADDRESS)


def test_from_the_command_line(bucket: tuple[Any, Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spikefit", "inspect", ADDRESS, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_units"] == 3
    assert "secret" not in done.stdout + done.stderr
