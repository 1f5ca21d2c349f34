"""A real Dask scheduler with two worker processes, one of which is killed in the middle of a job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import spikefit
from spikefit.errors import DeviceError
from spikefit.results import load_result

pytest.importorskip("distributed", reason="pip install 'spikefit[dask]'")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and its two workers."""
    told = tmp_path / "scheduler.json"
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(told), "--no-dashboard"], **common
    )  # fmt: skip
    workers: list[subprocess.Popen[bytes]] = []
    try:
        until = time.monotonic() + 60
        while not told.exists() and time.monotonic() < until:
            assert scheduler.poll() is None
            time.sleep(0.05)
        address = json.loads(told.read_text())["address"]
        for number in range(2):
            workers.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "distributed.cli.dask_worker",
                        address,
                        "--nthreads",
                        "1",
                        "--no-nanny",
                        "--no-dashboard",
                        "--local-directory",
                        str(tmp_path / f"w{number}"),
                    ],
                    **common,
                )
            )  # fmt: skip
        from distributed import Client

        with Client(address, timeout=30) as client:
            client.wait_for_workers(2, timeout=60)
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_all_results_arrive_though_a_worker_is_killed_in_the_middle_of_a_job(
    cluster, sessions, tiny, tmp_path, display, differing
):
    address, workers = cluster
    paths = sessions("a", "b", "c", "d")
    out = tmp_path / "out"
    settings = {**tiny, "hidden": 1, "max_epochs": 6, "checkpoint_every": "100ms"}
    killed: list[str] = []

    def kill_one(jobs: dict) -> None:
        # As soon as one of them trains, the worker that does so dies.
        for name, event in jobs.items():
            if not killed and "fitting 1 hidden" in str(event.get("stage")):
                killed.append(name)
                os.kill(pid_of(out, name, workers), signal.SIGKILL)

    display.running = kill_one
    result = spikefit.batch(paths, out, executor="dask", scheduler=address, display=display, **settings)
    assert killed
    assert result.exit_code == 0, [outcome.reason for outcome in result.outcomes]
    attempts = (out / ".batch" / "events" / f"{killed[0]}.jsonl").read_text().count('"started"')
    assert attempts == 2
    spikefit.infer(paths[0], tmp_path / "alone", **settings)
    for path in paths:
        assert load_result(out / path.stem).metrics["n_hidden"] == 1
        # All four hold the same spikes, and seeds are those of the settings: the killed one ended at the same bits.
        assert differing(out / path.stem, tmp_path / "alone") == []


def pid_of(out: Path, name: str, workers: list[subprocess.Popen[bytes]]) -> int:
    """The worker that keeps the log of a job open."""
    log = (out / name / "spikefit.log").resolve()
    for worker in workers:
        for link in Path(f"/proc/{worker.pid}/fd").iterdir():
            try:
                if link.resolve() == log:
                    return worker.pid
            except OSError:
                continue
    raise AssertionError(f"no worker is at {name}")


def test_a_scheduler_that_does_not_answer_is_a_plain_error(sessions, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("spikefit.batching.engines.dask.CONNECT_S", 0.2)
    with pytest.raises(DeviceError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        spikefit.batch(sessions("a"), tmp_path / "out", executor="dask", scheduler="tcp://127.0.0.1:9", **tiny)


def test_without_dask_it_says_how_to_install_it(sessions, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(spikefit.SpikefitError, match=r"Dask is not installed here.*spikefit\[dask\]"):
        spikefit.batch(sessions("a"), tmp_path / "out", executor="dask", **tiny)
