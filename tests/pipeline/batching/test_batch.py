"""What a batch does with the jobs, whatever the engine: what is known, what is in the way, what is left behind."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

import spikefit
from spikefit.batching.lock import locked
from spikefit.batching.work import failure
from spikefit.config import Config
from spikefit.errors import UsageError


@pytest.fixture
def fitted(sessions, here, tiny, tmp_path):
    """Two recordings that a batch has fitted, and the folder."""
    paths = sessions("a", "b")
    out = tmp_path / "out"
    assert spikefit.batch(paths, out, **tiny).exit_code == 0
    here.clear()
    return paths, out


def names(orders):
    return [order["job"]["name"] for order in orders]


def test_what_is_done_is_known_by_its_content_and_not_by_its_name(fitted, here, tiny, tmp_path):
    paths, out = fitted
    # Under another name: known.
    moved = tmp_path / "data" / "renamed.nwb"
    shutil.move(paths[0], moved)
    result = spikefit.batch([moved, paths[1]], out, **tiny)
    assert names(here) == []
    assert [(o.name, o.folder, o.again) for o in result.outcomes] == [("renamed", "a", True), ("b", "b", True)]
    # Under the same name with other data: not the same, and not replaced without being told to.
    with paths[1].open("ab") as file:
        file.write(b"more")
    with pytest.raises(UsageError, match=r"holds results of other data or settings: b;"):
        spikefit.batch([paths[1]], out, **tiny)
    before = (out / "b" / "connectivity.h5").read_bytes()
    assert spikefit.batch([paths[1]], out, overwrite=True, **tiny).exit_code == 0
    assert names(here) == ["b"]
    assert (out / "b" / "connectivity.h5").read_bytes() != before


def test_pictures_are_drawn_only_where_they_are_asked_for(fitted, sessions, here, tiny, tmp_path):
    _, out = fitted
    assert not list(out.glob("*/*.png"))
    assert (out / "a" / "report.html").is_file()
    (third,) = sessions("c")
    # The word that is the default of a single fit is heard when it is said.
    assert spikefit.batch([third], tmp_path / "drawn", figures="png", **tiny).exit_code == 0
    assert (tmp_path / "drawn" / "c" / "connectivity.png").is_file()


def test_other_settings_are_another_job(fitted, here, tiny):
    paths, out = fitted
    with pytest.raises(UsageError, match="other data or settings: a, b"):
        spikefit.batch(paths, out, **(tiny | {"ridge": 3.0}))
    result = spikefit.batch(paths, out, grid={"ridge": [1.0, 3.0]}, **tiny)
    # Those of ridge 1 are there, under the names of the first batch.
    assert [(o.name, o.folder, o.again) for o in result.outcomes] == [
        ("a_ridge-1", "a", True),
        ("a_ridge-3", "a_ridge-3", False),
        ("b_ridge-1", "b", True),
        ("b_ridge-3", "b_ridge-3", False),
    ]
    assert names(here) == ["a_ridge-3", "b_ridge-3"]


def test_a_result_that_is_damaged_is_not_taken_for_one(fitted, here, tiny):
    paths, out = fitted
    (out / "a" / "connectivity.h5").write_bytes(b"\x89HDF\r\n\x1a\nnothing")
    with pytest.raises(UsageError, match="settings: a;"):
        spikefit.batch(paths, out, **tiny)
    # What a killed run of this very batch left is no result, and is made again.
    (out / "a" / "connectivity.h5").unlink()
    assert spikefit.batch(paths, out, **tiny).exit_code == 0
    assert names(here) == ["a"]


def test_failures_are_told_with_their_reason_and_run_again_alone(sessions, here, tiny, tmp_path):
    paths = sessions("a", "b", "c")
    paths[1].write_bytes(b"nonsense")
    out = tmp_path / "out"
    result = spikefit.batch(paths, out, **tiny)
    assert result.exit_code == 10
    rows = list(csv.DictReader((out / "summary.csv").read_text("utf-8").splitlines()))
    assert [(row["name"], row["status"]) for row in rows] == [("a", "done"), ("b", "failed"), ("c", "done")]
    assert rows[1]["reason"].startswith("b.nwb: neither HDF5")
    assert float(rows[0]["heldout_bits_per_spike"]) == result.outcomes[0].figures["heldout_bits_per_spike"]
    here.clear()
    spikefit.batch(paths, out, only_failed=True, **tiny)
    assert names(here) == ["b"]
    # With other settings nothing has failed yet.
    here.clear()
    other = spikefit.batch(paths, tmp_path / "out", only_failed=True, overwrite=True, **(tiny | {"ridge": 9.0}))
    assert names(here) == []
    assert other.count("not run") == 3


def test_fail_fast_runs_no_more(sessions, here, tiny, tmp_path, display):
    paths = sessions("a", "b", "c")
    paths[0].write_bytes(b"nonsense")
    result = spikefit.batch(paths, tmp_path / "out", keep_going=False, display=display, **tiny)
    assert [outcome.status for outcome in result.outcomes] == ["failed", "not run", "not run"]
    assert result.exit_code == 10
    assert "stopping the other jobs, because of --fail-fast" in display.said


def test_the_events_are_one_object_a_line_in_order(fitted, tiny):
    _, out = fitted
    events = [json.loads(line) for line in (out / "events.jsonl").read_text("utf-8").splitlines()]
    assert [e["event"] for e in events if e["event"] != "progress"] == [
        "batch started", "started", "finished", "started", "finished", "batch finished",
    ]  # fmt: skip
    assert all("time_utc" in event for event in events)
    assert [e["status"] for e in events if e["event"] == "finished"] == ["done", "done"]
    progress = [e for e in events if e["event"] == "progress"]
    assert progress
    assert all({"job", "stage", "share"} <= e.keys() for e in progress)


def test_nothing_is_made_outside_the_folder_and_umask_holds(sessions, here, tiny, tmp_path):
    (tmp_path / "work").mkdir()
    paths = sessions("../work/x", "y")
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    old = os.umask(0o027)
    try:
        spikefit.batch(paths, tmp_path / "out", **tiny)
    finally:
        os.umask(old)
    assert {path for path in tmp_path.rglob("*") if "out" not in path.relative_to(tmp_path).parts} == before
    for path in (tmp_path / "out").rglob("*"):
        assert not path.stat().st_mode & 0o027, path


def test_what_cannot_begin_begins_nothing(sessions, here, tiny, tmp_path):
    (path,) = sessions("a")
    (tmp_path / "file").touch()
    for call, words in (
        (lambda: spikefit.batch([path], tmp_path / "file", **tiny), "is a file; a batch needs a folder"),
        (lambda: spikefit.batch([path], path.parent, **tiny), "lies in the output folder itself"),
        (lambda: spikefit.batch([], tmp_path / "o", **tiny), "there are no recordings"),
        (lambda: spikefit.batch([path], **tiny), "needs a folder"),
        (lambda: spikefit.batch(["*.nope"], tmp_path / "o", **tiny), "no such recording"),
    ):
        with pytest.raises(UsageError, match=words):
            call()
    assert here == []
    assert not (tmp_path / "o").exists()


def test_a_fault_of_our_own_is_kept_whole(sessions, here, tiny, tmp_path, monkeypatch):
    import spikefit.pipeline

    monkeypatch.setattr(spikefit.pipeline, "prepare", lambda *_: 1 / 0)
    result = spikefit.batch(sessions("a"), tmp_path / "out", **tiny)
    (outcome,) = result.outcomes
    assert outcome.reason == "a fault of spikefit itself: ZeroDivisionError: division by zero"
    assert "Traceback" in outcome.traceback
    assert "Traceback" in json.loads((tmp_path / "out/.batch/outcomes/a.json").read_text())["traceback"]


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (MemoryError("Unable to allocate 3 TiB"), "failed", "the memory is not enough: Unable to allocate 3 TiB"),
        (RuntimeError("can't allocate memory: you tried"), "failed", "the memory is not enough"),
        (OSError(errno.ESTALE, "Stale file handle"), "failed", "Stale file handle"),
        (KeyboardInterrupt(), "stopped", "stopped on request"),
    ],
)
def test_reasons_in_words(fault, status, words, sessions):
    from spikefit.batching.jobs import Session, make_jobs

    (job,) = make_jobs([Session(sessions("a")[0], {})], Config(), {})
    outcome = failure(job, fault)
    assert outcome.status == status
    assert words in outcome.reason


def test_a_full_disk_in_one_job_is_told_and_the_others_go_on(sessions, here, tiny, tmp_path, monkeypatch):
    import spikefit.results.saving as saving

    move = saving.move_all

    def full(staging, folder, names):
        if folder.name == "a":
            raise OSError(errno.ENOSPC, "No space left on device")
        move(staging, folder, names)

    monkeypatch.setattr(saving, "move_all", full)
    result = spikefit.batch(sessions("a", "b"), tmp_path / "out", **tiny)
    assert [outcome.status for outcome in result.outcomes] == ["failed", "done"]
    assert "the disk is full" in result.outcomes[0].reason


def test_a_summary_that_cannot_be_written_on_the_way_does_not_end_the_batch(
    sessions, here, tiny, tmp_path, monkeypatch
):
    import spikefit.batching.conductor as conductor

    tried = []

    def full(*_):
        tried.append(1)
        raise spikefit.SpikefitError("the disk is full")

    monkeypatch.setattr(conductor, "write_summary", full)
    monkeypatch.setattr(conductor, "SUMMARY_EVERY_S", -1.0)
    assert spikefit.batch(sessions("a"), tmp_path / "out", **tiny).exit_code == 0
    assert tried
    assert (tmp_path / "out" / "summary.csv").exists()


def test_strict_makes_a_fit_that_did_not_converge_a_failure_and_keeps_it(sessions, here, tiny, tmp_path):
    settings = tiny | {"hidden": 1, "max_epochs": 1, "strict": True}
    (outcome,) = spikefit.batch(sessions("a"), tmp_path / "out", **settings).outcomes
    assert (outcome.status, outcome.exit_code) == ("failed", 6)
    assert spikefit.load_result(tmp_path / "out" / "a").metrics["converged"] is False


# -- the lock ---------------------------------------------------------------------------------------------------


def test_two_batches_do_not_work_in_one_folder(tmp_path):
    with locked(tmp_path) as remarks:
        assert remarks == []
        with pytest.raises(UsageError, match=rf"process {os.getpid()} on {socket.gethostname()}"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": "elsewhere", "pid": 7}'])
def test_a_lock_of_elsewhere_is_stale_when_it_is_old(tmp_path, text):
    lock = tmp_path / "lock"
    lock.write_text(text)
    with pytest.raises(UsageError, match="another batch is at work"), locked(tmp_path):
        pass
    assert lock.read_text() == text
    old = lock.stat().st_mtime - 301
    os.utime(lock, (old, old))
    with locked(tmp_path) as remarks:
        assert "gave no sign for 5 minutes" in remarks[0]


def test_a_lock_whose_process_is_gone_is_taken_over(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from spikefit.batching.lock import locked\n"
        "with locked(Path(sys.argv[1])): os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert (tmp_path / "lock").exists()
    with locked(tmp_path) as remarks:
        assert "on this computer has ended" in remarks[0]
    # A process of that number that began at another time is another process.
    (tmp_path / "lock").write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": "1"}))
    with locked(tmp_path) as remarks:
        assert remarks
