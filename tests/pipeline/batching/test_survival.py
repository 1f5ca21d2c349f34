"""A whole batch that is killed at any moment, whose disk is full, or whose disk goes away: nothing finished is lost."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

import spikefit

# SPIKEFIT_TEST_KILLS=50 is the long run.
N_KILLS = int(os.environ.get("SPIKEFIT_TEST_KILLS", "3"))
NAMES = ("a", "b")
# What a result says of the run that made it, and the digests over that.
OF_THE_RUN = {"created_utc", "provenance_json", "metrics_json", "content_sha256", "side_files_json"}
TIMES = {"fit_s", "wall_s", "peak_rss_bytes"}


class Batches:
    """Batches in processes that can be killed.

    Args:
        settings: of all of them.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("one_process.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, recordings: list[Path], out: Path, kill_after_s: float | None = None) -> int:
        """Exit code of a batch; that of a signal is negative."""
        assert self._process.stdin is not None
        order = {"recordings": [str(path) for path in recordings], "out": str(out), "settings": self._settings}
        self._process.stdin.write(json.dumps(order | {"kill_after_s": kill_after_s}) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def batches(tiny: dict[str, Any]) -> Iterator[Batches]:
    batches = Batches(tiny | {"hidden": [1, 2], "max_epochs": 1, "checkpoint_every": "100ms", "spread": True})
    yield batches
    batches.close()


def attributes(folder: Path) -> dict[str, Any]:
    """Those of the file itself, without what a run tells of its own time and place."""
    with h5py.File(folder / "connectivity.h5") as file:
        kept = {name: str(value) for name, value in file.attrs.items() if name not in OF_THE_RUN}
        metrics = {k: v for k, v in json.loads(str(file.attrs["metrics_json"])).items() if k not in TIMES}
    return kept | {"metrics": repr(metrics)}


@pytest.mark.slow
def test_a_batch_killed_at_any_moment_goes_on_to_the_same_results(batches, sessions, tmp_path, differing):
    paths, whole, out = sessions(*NAMES), tmp_path / "whole", tmp_path / "out"
    began = time.monotonic()
    assert batches.run(paths, whole) == 0
    length_s = time.monotonic() - began
    moments = random.Random(0)
    n_killed = n_finished = 0
    for _ in range(20 * N_KILLS):
        if n_killed == N_KILLS:
            break
        # Moments over all of a batch, wherever it begins: runs that go on have less to do, and are killed sooner.
        done = len(list(out.glob("*/connectivity.h5")))
        left_s = length_s * (1 - done / len(NAMES))
        code = batches.run(paths, out, kill_after_s=moments.uniform(0, 1.1 * left_s))
        assert code in (-signal.SIGKILL, 0)
        n_killed += code != 0
        for name in NAMES:
            if (out / name / "connectivity.h5").exists():
                n_finished += 1
                assert spikefit.load_result(out / name).metrics["n_visible"] == 6
                assert differing(out / name, whole / name) == []
        for line in (out / "events.jsonl").read_text("utf-8").splitlines() if (out / "events.jsonl").exists() else ():
            json.loads(line)
        if (out / "summary.csv").exists():
            assert len(list(csv.DictReader((out / "summary.csv").read_text("utf-8").splitlines()))) == len(NAMES)
        if code == 0:
            shutil.rmtree(out)
    assert n_killed == N_KILLS
    assert n_finished, "no kill came behind a finished session"
    assert batches.run(paths, out) == 0
    for name in NAMES:
        assert differing(out / name, whole / name) == []
        assert attributes(out / name) == attributes(whole / name)
    assert not [path for path in out.rglob("*") if ".partial" in path.name or path.name == "lock"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of a few megabytes."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("mounting a small disk needs the superuser of a Linux machine")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this machine may not mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, name: str) -> None:
    """Leave no byte free."""
    (disk / name).write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))


def test_a_disk_that_fills_up_costs_what_was_not_finished(sessions, here, tiny, tmp_path, small_disk, display):
    paths, out = sessions(*NAMES), small_disk / "out"
    finish = display.finished

    def fills(outcome):
        finish(outcome)
        if outcome.name == "a":
            fill(small_disk, "filler")

    display.finished = fills
    result = spikefit.batch(paths, out, display=display, **tiny)
    assert [outcome.status for outcome in result.outcomes] == ["done", "failed"]
    assert result.exit_code == 10
    assert all("the disk is full" in outcome.reason for outcome in result.outcomes[1:])
    # Not even the summary finds room: that is said.
    assert any("the summary could not be written" in text and "disk is full" in text for text in display.said)
    assert [path.parent.name for path in out.glob("*/connectivity.h5")] == ["a"]
    assert not (out / ".batch" / "lock").exists()
    before = (out / "a" / "connectivity.h5").read_bytes()
    fill(small_disk, "more")
    with pytest.raises(spikefit.SpikefitError, match="disk is full"):
        spikefit.batch(paths, out, **tiny)
    # With room again it goes on.
    for name in ("filler", "more"):
        (small_disk / name).unlink()
    here.clear()
    assert spikefit.batch(paths, out, **tiny).exit_code == 0
    assert [order["job"]["name"] for order in here] == ["b"]
    assert (out / "a" / "connectivity.h5").read_bytes() == before


def test_a_disk_that_goes_away_costs_what_was_not_finished(sessions, here, tiny, tmp_path, small_disk, display):
    """The recordings lie on a disk that is unmounted behind the first job, as a network disk does."""
    for path in sessions(*NAMES):
        shutil.copy(path, small_disk / path.name)
    paths = [small_disk / f"{name}.nwb" for name in NAMES]
    finish = display.finished

    def goes(outcome):
        finish(outcome)
        if outcome.name == "a":
            subprocess.run(["umount", "--lazy", small_disk], check=True)

    display.finished = goes
    try:
        result = spikefit.batch(paths, tmp_path / "out", display=display, **tiny)
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", small_disk], check=True)
    assert [outcome.status for outcome in result.outcomes] == ["done", "failed"]
    assert all("there is no such file" in outcome.reason for outcome in result.outcomes[1:]), result.outcomes
    assert spikefit.load_result(tmp_path / "out" / "a").metrics["n_visible"] == 6


def test_an_output_disk_that_goes_away_ends_the_batch_in_plain_words(
    sessions, here, tiny, tmp_path, small_disk, display
):
    server = tmp_path / "server"
    server.mkdir()
    subprocess.run(["mount", "--bind", server, small_disk], check=True)
    finish = display.finished

    def goes(outcome):
        finish(outcome)
        if outcome.name == "a":
            subprocess.run(["umount", "--lazy", small_disk], check=True)

    display.finished = goes
    paths = sessions(*NAMES)
    result = spikefit.batch(paths, small_disk / "out", display=display, **tiny)
    assert [outcome.status for outcome in result.outcomes] == ["done", "failed"]
    assert "does not see the output folder" in result.outcomes[1].reason
    assert any("the summary could not be written" in text for text in display.said)
    # Back again, it goes on; the lock that was left there names this very process, which is still alive here.
    here.clear()
    subprocess.run(["mount", "--bind", server, small_disk], check=True)
    try:
        (server / "out" / ".batch" / "lock").unlink()
        again = spikefit.batch(paths, small_disk / "out", **tiny)
        assert (again.exit_code, [order["job"]["name"] for order in here]) == (0, ["b"])
    finally:
        subprocess.run(["umount", "--lazy", small_disk], check=True)


@pytest.mark.slow
def test_a_worker_out_of_memory_costs_its_job_and_no_other(sessions, tiny, tmp_path):
    """Workers may hold so much memory and no more; one session is cut into far too many bins for that."""
    resource = pytest.importorskip("resource")
    sessions("a", "b")
    table = tmp_path / "sessions.csv"
    table.write_text("path,bin,window,name\n" + "".join(f"data/{row}\n" for row in ROWS), encoding="utf-8")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (3_000_000_000, before[1]))  # handed on to the workers
    try:
        result = spikefit.batch((), tmp_path / "out", sessions=str(table), jobs=1, **tiny)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert [outcome.status for outcome in result.outcomes] == ["done", "failed", "done"], result.outcomes
    assert result.exit_code == 10
    told = result.outcomes[1]
    assert "memory is not enough" in told.reason or "ran out of memory" in told.reason
    assert "fewer" in told.hint
    assert told.exit_code == 5


ROWS = ("a.nwb,10ms,50ms,a", "a.nwb,0.1us,1us,far-too-fine", "b.nwb,10ms,50ms,b")
