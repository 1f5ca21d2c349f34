"""The local engine with real processes: twenty sessions, workers that die, a batch that is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import spikefit
from spikefit.results import load_result


def events_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "events.jsonl").read_text("utf-8").splitlines()]


def start(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "spikefit", "batch", *(str(arg) for arg in args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def words(settings: dict) -> list[str]:
    return [text for key, value in settings.items() for text in (f"--{key.replace('_', '-')}", str(value))]


def wait_until(true, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while not true():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            pytest.fail(f"the batch ended too early: {process.communicate()}")
        time.sleep(0.02)


@pytest.mark.slow
def test_twenty_sessions_of_which_two_are_broken(sessions, tiny, tmp_path, display):
    paths = sessions(*(f"sub-{number:02}" for number in range(20)))
    for number in (4, 11):
        paths[number].write_bytes(b"no recording at all")
    out = tmp_path / "out"
    result = spikefit.batch(paths, out, jobs=2, display=display, **tiny)
    assert (result.count("done"), result.count("failed"), result.exit_code) == (18, 2, 10)
    failed = [outcome for outcome in result.outcomes if outcome.status == "failed"]
    assert [outcome.name for outcome in failed] == ["sub-04", "sub-11"]
    assert all("neither HDF5 nor any other format" in outcome.reason for outcome in failed)
    for outcome in result.outcomes:
        if outcome.status == "done":
            assert load_result(out / outcome.folder).metrics["n_visible"] == 6
    assert not (out / "sub-04").exists()
    # Only those two are run again; one of them is whole by now.
    paths[4].write_bytes(paths[0].read_bytes() + bytes(4))
    again = spikefit.batch(paths, out, jobs=2, only_failed=True, **tiny)
    assert (again.count("done"), again.count("failed"), again.exit_code) == (19, 1, 10)
    events = events_of(out)
    place = max(number for number, event in enumerate(events) if event["event"] == "batch started")
    assert {event["job"] for event in events[place:] if event["event"] == "started"} == {"sub-04", "sub-11"}
    assert sum(outcome.again for outcome in again.outcomes) == 18


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_job_and_no_other(sessions, tiny, tmp_path):
    paths = sessions("a", "b", "c")
    out = tmp_path / "out"
    settings = {**tiny, "hidden": 1, "max_epochs": 2000, "checkpoint_every": "100ms"}
    # Only the first is long: it is the one that is killed.
    table = tmp_path / "t.csv"
    rows = "".join(f"data/{path.name},{1 if path.stem == 'a' else 0}\n" for path in paths)
    table.write_text("path,hidden\n" + rows, encoding="utf-8")
    del settings["hidden"]
    process = start("--sessions", table, "-o", out, "--jobs", 1, "--json", *words(settings))
    checkpoints = out / "a" / "checkpoints"
    wait_until(lambda: checkpoints.is_dir() and any(checkpoints.iterdir()), process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (worker,) = [int(pid) for pid in children]
    os.kill(worker, signal.SIGKILL)
    told, err = process.communicate(timeout=60)
    assert process.returncode == 10, err
    jobs = {job["name"]: job for job in json.loads(told)["jobs"]}
    assert {name: job["status"] for name, job in jobs.items()} == {"a": "failed", "b": "done", "c": "done"}
    assert "was killed (signal 9)" in jobs["a"]["reason"]
    ends = [event for event in events_of(out) if event["event"] == "finished" and event["job"] == "a"]
    assert [event["status"] for event in ends] == ["failed"]


@pytest.fixture(scope="module")
def alone(simulated, tiny, tmp_path_factory):
    """The result of the long settings, of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("alone") / "out"
    spikefit.infer(simulated, folder, **tiny, **LONG)
    return folder


LONG = {"hidden": 1, "checkpoint_every": "100ms"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "killed"])
def test_a_batch_that_is_stopped_goes_on_to_the_same_bits(sessions, tiny, tmp_path, differing, alone, number):
    paths = sessions("a", "b")
    settings = {**tiny, **LONG}
    out = tmp_path / "out"
    process = start(*paths, "-o", out, "--jobs", 1, *words(settings))
    checkpoint = out / "a" / "checkpoints" / "hidden-1.safetensors"
    wait_until(checkpoint.exists, process)
    process.send_signal(number)
    told, err = process.communicate(timeout=60)
    if number == signal.SIGTERM:
        assert process.returncode == 75, err
        assert "1 stopped, 1 not run" in told
        assert "Traceback" not in err
        assert not (out / ".batch" / "lock").exists()
    else:
        # The worker sees that its batch is gone, writes a checkpoint and ends; the lock is known to be stale.
        ended = out / ".batch" / "outcomes" / "a.json"
        until = time.monotonic() + 30
        while not ended.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert json.loads(ended.read_text())["status"] == "stopped"
        assert (out / ".batch" / "lock").exists()
    assert checkpoint.exists()
    assert not (out / "a" / "connectivity.h5").exists()
    result = spikefit.batch(paths, out, jobs=1, resume=True, **settings)
    assert result.exit_code == 0
    for path in paths:  # both hold the same spikes
        assert differing(out / path.stem, alone) == []


def test_workers_that_cannot_start_are_one_plain_error(sessions, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("spikefit.batching.engines.local._START", "raise ImportError('no such thing')")
    with pytest.raises(spikefit.SpikefitError, match="cannot start: ImportError: no such thing"):
        spikefit.batch(sessions("a", "b"), tmp_path / "out", jobs=2, **tiny)
    assert not (tmp_path / "out" / ".batch" / "lock").exists()
