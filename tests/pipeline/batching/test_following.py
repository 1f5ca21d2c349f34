"""What is told while a batch runs: events, lines, and the machine it runs on."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import spikefit.batching.run
from spikefit import machine
from spikefit.batching.display import LineDisplay, TableDisplay, progress_text
from spikefit.batching.events import EventProgress, Follower, append_event
from spikefit.batching.outcome import Outcome, from_dict


def test_a_follower_reads_whole_lines_once(tmp_path):
    path = tmp_path / "e.jsonl"
    follower = Follower(path)
    assert follower.new() == []
    append_event(path, "note", text="a\nb", odd="\udcff")
    with path.open("a") as file:
        file.write('{"event": "half')
    (event,) = follower.new()
    assert event["text"] == "a\nb"
    assert follower.new() == []
    with path.open("a") as file:
        file.write('"}\nno json\n[1]\n')
    assert follower.new() == [{"event": "half"}]


def test_progress_is_told_at_most_twice_a_second(tmp_path):
    now = [0.0]
    progress = EventProgress(tmp_path / "e.jsonl", "a", clock=lambda: now[0])
    progress.start("fitting", 10)
    for step in range(100):
        now[0] = 0.01 * step
        progress.update(step / 10, nats_per_bin=-2.0)
    told = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert [event["share"] for event in told] == [0.0, 0.5]
    assert told[1]["nats_per_bin"] == -2.0
    assert progress_text(told[1]) == "fitting, 50 %, -2.0000 nats per bin"


def test_lines_for_logs():
    now = [0.0]
    stream = io.StringIO()
    display = LineDisplay(stream, clock=lambda: now[0])
    display.begin(3, 1)
    display.running({"a": {"stage": "fitting"}})
    display.finished(Outcome("a", "done", "a", figures={"heldout_bits_per_spike": 0.5, "converged": True}, wall_s=2.0))
    now[0] = 61.0
    display.running({"b": {"stage": "fitting", "share": 0.25}})
    display.finished(Outcome("b", "failed", reason="no spikes."))
    assert stream.getvalue().splitlines() == [
        "[2/3] a: done in 2.0 s, +0.500 bits per spike",
        "running: b (fitting, 25 %)",
        "[3/3] b: FAILED: no spikes.",
    ]


def test_a_display_whose_reader_is_gone_does_not_matter():
    stream = io.StringIO()
    display = LineDisplay(stream)
    stream.close()
    display.say("x")


def test_a_table_on_a_terminal_takes_names_literally():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    display = TableDisplay(stream)
    display.begin(20, 0)
    display.running({f"[bold]{number}": {} for number in range(15)})
    display.finished(Outcome("[red]x", "failed", reason="[b]why"))
    display.end()
    assert "[red]x: FAILED: [b]why" in stream.getvalue()


@pytest.mark.parametrize("values", [None, 3, {}, {"status": "fine", "name": "a"}, {"status": "done"}])
def test_what_is_no_outcome_is_none(values):
    assert from_dict(values) is None


def test_workers_share_cores_and_gpus(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "visible_gpus", lambda: [])
    assert machine.workers_for(100, jobs=None, device="auto", threads=None) == (8, [])
    assert machine.workers_for(100, jobs=None, device="auto", threads=4) == (2, [])
    assert machine.workers_for(3, jobs=None, device="auto", threads=None) == (3, [])
    assert machine.workers_for(100, jobs=20, device="auto", threads=None) == (20, [])
    monkeypatch.setattr(machine, "visible_gpus", lambda: ["2", "5"])
    assert machine.workers_for(100, jobs=None, device="auto", threads=None) == (2, ["2", "5"])
    assert machine.workers_for(100, jobs=None, device="cpu", threads=None) == (8, [])
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    places = [machine.worker_environment(k, 4, ["2", "5"], None) for k in range(3)]
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places] == ["2", "5", "2"]
    assert {place["OMP_NUM_THREADS"] for place in places} == {"2"}
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert machine.worker_environment(0, 2, [], None)["OMP_NUM_THREADS"] == "1"
    assert machine.worker_environment(0, 2, [], 1)["MKL_NUM_THREADS"] == "1"


@pytest.mark.parametrize(("value", "gpus"), [("", []), ("-1", []), ("0,3", ["0", "3"])])
def test_gpus_that_were_taken_away_are_not_used(monkeypatch, value, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert machine.visible_gpus() == gpus


def test_nothing_is_unpickled_and_no_shell_is_given_a_string():
    modules = list(Path(spikefit.batching.run.__file__).parent.rglob("*.py"))
    assert len(modules) > 15
    for path in modules:
        found = [word for word in ("pickle.", "shell=True", "os.system", "popen(") if word in path.read_text("utf-8")]
        assert not found, path


def test_a_job_of_a_manifest_says_what_is_wrong_with_it(tmp_path):
    (tmp_path / "m.json").write_text('{"orders": []}')
    for args, words in (
        ([], "usage: "),
        ([tmp_path / "m.json", "0"], "no manifest that holds a job number 0"),
        ([tmp_path / "none", "0"], "no manifest"),
        ([tmp_path / "m.json", "x"], "usage: "),
    ):
        command = [sys.executable, "-m", "spikefit.batching.one", *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert words in done.stderr
