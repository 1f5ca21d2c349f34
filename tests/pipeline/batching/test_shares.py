"""One fit in several places: its shares leave checkpoints, and the fit made from them is bit for bit the one made alone."""

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
from spikefit.batching.shares import shares_of
from spikefit.errors import UsageError
from spikefit.fitting.training import Training
from spikefit.pieces import Share, ShareDone, one_by_one

CANDIDATES = {"hidden": (0, 1, 2), "max_epochs": 2}


@pytest.fixture(scope="module")
def alone(simulated, tiny, tmp_path_factory):
    """The result of one run that did everything by itself."""
    folder = tmp_path_factory.mktemp("alone") / "out"
    spikefit.infer(simulated, folder, **(tiny | CANDIDATES))
    return folder


def test_a_share_does_its_own_pieces_of_its_own_stage_from_the_largest_on():
    done: list[int] = []
    with pytest.raises(ShareDone):
        Share("a", 0, 2)("a", done.append, [1, 2, 3])
    with pytest.raises(ShareDone):
        Share("a", 1, 2)("a", done.append, [1, 2, 3])
    with pytest.raises(ShareDone):
        Share("a", 0, 2)("a", done.append, [])
    assert done == [3, 1, 2]
    assert Share("a", 1, 2)("b", str, [1, 2]) == one_by_one("b", str, [1, 2]) == ["1", "2"]


@pytest.mark.parametrize(
    ("hidden", "n_shares"), [(3, 0), ([0], 0), ([0, 2], 0), ([0, 2, 4], 2), ([1, 2, 3], 3), ("auto", 3)]
)
def test_what_falls_into_pieces(hidden, n_shares):
    order = {"job": {"name": "a", "config": {"model": {"hidden": hidden}}}, "resume": False}
    shares = shares_of(order)
    assert [share["share"]["number"] for share in shares] == list(range(n_shares))
    assert len({share["job"]["name"] for share in shares}) == n_shares


def test_the_fit_made_from_shares_has_the_bits_of_one_made_alone(
    sessions, here, tiny, tmp_path, differing, alone, monkeypatch
):
    epochs: list[int] = []
    epoch = Training._epoch

    def counted(training):
        epochs.append(len(here))  # how many orders have been begun
        return epoch(training)

    monkeypatch.setattr(Training, "_epoch", counted)
    paths = sessions("a")
    out = tmp_path / "out"
    result = spikefit.batch(paths, out, spread=True, **(tiny | CANDIDATES))
    assert [o["job"]["name"] for o in here] == ["a~hidden-1-of-2", "a~hidden-2-of-2", "a"]
    assert set(epochs) == {1, 2}, "the fit itself trained, too"
    assert [(o.name, o.status) for o in result.outcomes] == [("a", "done")]
    assert differing(out / "a", alone) == []
    assert list((out / "a" / "checkpoints").iterdir()) == []
    events = [json.loads(line) for line in (out / "events.jsonl").read_text("utf-8").splitlines()]
    told = [(e["event"], e["job"], e.get("share_of")) for e in events if e["event"] in ("started", "finished")]
    assert told == [
        ("started", "a~hidden-1-of-2", "a"),
        ("finished", "a~hidden-1-of-2", "a"),
        ("started", "a~hidden-2-of-2", "a"),
        ("finished", "a~hidden-2-of-2", "a"),
        ("started", "a", None),
        ("finished", "a", None),
    ]
    # It is known as the same job, however it was made.
    here.clear()
    assert spikefit.batch(paths, out, **(tiny | CANDIDATES)).outcomes[0].again
    assert here == []


def test_a_share_that_fails_is_done_by_the_fit_itself(sessions, here, tiny, tmp_path, differing, alone, monkeypatch):
    import spikefit.pipeline

    monkeypatch.setattr(spikefit.pipeline, "infer_share", lambda *_, **__: 1 / 0)
    # A checkpoint of another fit that lies there is not taken for a share.
    stale = tmp_path / "out" / "a" / "checkpoints" / "hidden-2.safetensors"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"nothing of ours")
    result = spikefit.batch(sessions("a"), tmp_path / "out", spread=True, **(tiny | CANDIDATES))
    assert [outcome.status for outcome in result.outcomes] == ["done"]
    assert differing(tmp_path / "out" / "a", alone) == []


def test_where_nothing_is_shared_the_shares_of_auto_leave_no_result(sessions, here, tiny, tmp_path, differing):
    paths = sessions("a")
    settings = tiny | {"hidden": "auto"}
    assert spikefit.batch(paths, tmp_path / "out", spread=True, **settings).exit_code == 0
    assert len(here) == 4
    spikefit.infer(paths[0], tmp_path / "alone", **settings)
    assert differing(tmp_path / "out" / "a", tmp_path / "alone") == []
    assert (tmp_path / "out" / "a" / "spikefit.log").read_text().count("a share of this fit is done") == 3


def test_a_script_cannot_spread(sessions, tiny, tmp_path):
    from spikefit.batching.engines.slurm import prepare_script
    from spikefit.config import Config

    with pytest.raises(UsageError, match="--spread submits the shares"):
        prepare_script(tmp_path / "out", [], Config().replace(spread=True), overwrite=False)


@pytest.mark.slow
def test_shares_that_are_stopped_or_killed_are_taken_up_again(sessions, here, tiny, tmp_path, differing, alone):
    (path,) = sessions("a")
    out = tmp_path / "out"
    words = [text for key, value in tiny.items() if key != "max_epochs" for text in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "spikefit", "batch", str(path), "-o", str(out), "--hidden", "0,1,2",
               "--max-epochs", "2", "--spread", "--jobs", "2", "--checkpoint-every", "0.05s", *words]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(out.glob("a/checkpoints/*.safetensors")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    process.send_signal(signal.SIGTERM)
    told, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "1 stopped" in told
    assert not (out / "a" / "connectivity.h5").exists()
    result = spikefit.batch([path], out, spread=True, resume=True, **(tiny | CANDIDATES))
    assert result.exit_code == 0
    assert differing(out / "a", alone) == []
