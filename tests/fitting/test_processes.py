"""One fit in several processes: the shares are whole, the result is that of one process, and faults are told once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikefit import infer, load_result
from spikefit.config import Config
from spikefit.fitting import processes
from spikefit.machine import place_in_team
from spikefit.pipeline import simulate_to_file

SETTINGS: dict[str, Any] = {
    "bin": "10ms",
    "window": "50ms",
    "functions": 3,
    "hidden": 1,
    "restarts": 2,
    "max_epochs": 2,
    "figures": "none",
}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_ranges_of_all_processes_are_the_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = np.array([[5, 105], [110, 111], [200, 260], [300, 301]])
    shares = []
    for rank in range(size):
        monkeypatch.setattr(processes, "place", lambda rank=rank: (rank, size))
        shares.append(processes.own_ranges(ranges))
    bins = [np.arange(start, stop) for share in shares for start, stop in share]
    assert np.array_equal(np.concatenate(bins), np.concatenate([np.arange(a, b) for a, b in ranges]))
    lengths = [int((share[:, 1] - share[:, 0]).sum()) for share in shares]
    assert max(lengths) - min(lengths) <= 1


def test_every_window_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    which = torch.tensor([4, 8, 1, 0, 9])
    shares = []
    for rank in range(3):
        monkeypatch.setattr(processes, "place", lambda rank=rank: (rank, 3))
        shares.append(processes.own_share(which))
    assert sorted(torch.cat(shares).tolist()) == sorted(which.tolist())


@pytest.mark.parametrize("n_before", [0, 1, 5])
def test_processes_take_turns_and_leave_nothing_out(n_before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    items = list("abcde")
    taken, rounds, alone = [], set(), processes.own_turns(items)
    assert alone == (items, 5)
    for rank in range(3):
        monkeypatch.setattr(processes, "place", lambda rank=rank: (rank, 3))
        own, n_rounds = processes.own_turns(items, n_before)
        taken.append(own)
        rounds.add(n_rounds)
    assert sorted(item for own in taken for item in own) == items
    assert rounds == {2}
    assert max(map(len, taken)) == 2
    assert taken[n_before % 3] == ["a", "d"]


def test_alone_nothing_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert place_in_team() is None
    total = torch.ones(3)
    processes.add_up([total])
    assert torch.equal(total, torch.ones(3))
    assert processes.any_of(True)
    assert not processes.any_of(False)
    assert processes.first_to_speak()
    with processes.joined(torch.device("cpu")) as device:
        assert device == torch.device("cpu")


def test_processes_share_a_fit_only_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script of torchrun's that gives each process recordings of its own must neither wait nor stay silent."""
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert place_in_team() == (1, 2)
    simulate_to_file(tmp_path / "own.nwb", config=Config().replace(neurons=3, drivers=0, duration=20.0, bin="10ms"))
    fit = infer(tmp_path / "own.nwb", tmp_path / "out", **{**SETTINGS, "hidden": 0})
    assert (tmp_path / "out" / "connectivity.h5").exists()
    assert fit.n_visible == 3


def torchrun(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "spikefit"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, words)], capture_output=True, text=True, env=environment, check=False, timeout=400
    )


def flags() -> list[str]:
    return [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.slow
def test_surrogates_are_shared_and_are_those_of_one_process(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    work = Path(__file__).with_name("surrogate_work.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(work), str(tmp_path)], capture_output=True, text=True, env=environment, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr
    first, second = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    for one in (first, second):
        assert np.array_equal(one["alone"], first["alone"])
        assert np.array_equal(one["together"], first["alone"])  # to the bit
        assert np.abs(one["together"]).min() > 0  # nobody's share is missing
    own = [one["own"].tolist() for one in (first, second)]
    assert min(map(len, own)) > 0
    assert sorted(own[0] + own[1]) == sorted(first["everything"].tolist())  # each once
    assert first["n_asked"] == second["n_asked"]  # both ask as often, or one would wait for ever


@pytest.mark.slow
def test_two_processes_find_what_one_finds_and_one_of_them_tells(tmp_path: Path) -> None:
    recording = tmp_path / "session.nwb"
    simulate_to_file(recording, config=Config().replace(neurons=5, drivers=1, duration=30.0, bin="10ms"))
    alone = infer(recording, **SETTINGS)
    done = torchrun("infer", recording, "-o", tmp_path / "out", *flags())
    assert done.returncode == 0, done.stderr
    together = load_result(tmp_path / "out")
    np.testing.assert_allclose(together.connectivity, alone.connectivity, rtol=1e-3, atol=1e-4)
    assert together.metrics["heldout_nats_per_bin"] == pytest.approx(alone.metrics["heldout_nats_per_bin"], abs=1e-5)
    assert together.history["objective"] == pytest.approx(alone.history["objective"], rel=1e-4)
    assert done.stdout.count("results are in") == 1
    begun = re.findall(r"^fitting 1 hidden unit, learning rate \S+ …$", done.stderr, re.MULTILINE)
    assert len(begun) == 1  # one process tells
    # The twin: another seed is another fit, by far more than the two differ.
    other = infer(recording, seed=1, **SETTINGS)
    assert np.abs(other.connectivity - alone.connectivity).max() > 0.01


@pytest.mark.slow
def test_a_fault_is_told_once_and_ends_all(tmp_path: Path) -> None:
    done = torchrun("infer", tmp_path / "absent.nwb", "-o", tmp_path / "out")
    assert done.returncode != 0
    assert done.stderr.count("absent.nwb: there is no such file") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_command_that_cannot_share_its_work_says_so(tmp_path: Path) -> None:
    done = torchrun("simulate", "-o", tmp_path / "one.nwb")
    assert done.returncode != 0
    assert done.stderr.count("cannot share its work") == 1
    assert not (tmp_path / "one.nwb").exists()


@pytest.mark.slow
def test_all_stop_behind_a_checkpoint_and_say_where_it_is(tmp_path: Path) -> None:
    recording, out = tmp_path / "session.nwb", tmp_path / "out"
    simulate_to_file(recording, config=Config().replace(neurons=5, drivers=1, duration=30.0, bin="10ms"))
    words = ["infer", recording, "-o", out, *flags(), "--max-epochs", "400", "--checkpoint-every", "0.1s"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "spikefit"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [*launch, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    began = time.monotonic()
    while running.poll() is None and not (out / "checkpoints" / "hidden-1.safetensors").exists():
        assert time.monotonic() - began < 300
        time.sleep(0.05)
    running.terminate()
    _, told = running.communicate(timeout=300)
    assert told.count(f"stopped on request; a checkpoint is in {out}") == 1
    assert "before there was anything to keep" not in told
    assert not (out / "connectivity.h5").exists()
