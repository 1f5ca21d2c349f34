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
from spikefit.batching.shares import shares_of, stages_of
from spikefit.config import Config
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
    ("settings", "stages"),
    [
        ({"hidden": 0}, []),
        ({"hidden": 3}, []),
        ({"hidden": [0, 2]}, []),
        ({"hidden": [0, 2, 4]}, [("hidden", 2)]),
        ({"hidden": [1, 2, 3]}, [("hidden", 3)]),
        ({"hidden": "auto"}, [("hidden", 3)]),
        ({"hidden": 0, "folds": 4}, []),
        ({"hidden": 2, "folds": 4}, [("hidden", 1), ("fold", 4)]),
        ({"hidden": 0, "significance": "shift", "surrogates": 101}, [("surrogates", 5)]),
        ({"hidden": 0, "significance": "shift", "surrogates": 25}, []),
        (
            {"hidden": [0, 1, 2], "folds": 3, "significance": "jitter"},
            [("hidden", 2), ("fold", 3), ("surrogates", 4)],
        ),
    ],
)
def test_what_falls_into_pieces(settings, stages):
    config = Config().replace(**settings).to_dict()
    assert stages_of(config) == stages
    shares = shares_of({"job": {"name": "a", "config": config}, "resume": False})
    assert [[share["share"]["number"] for share in stage] for stage in shares] == [list(range(n)) for _, n in stages]
    names = [share["job"]["name"] for stage in shares for share in stage]
    assert len(set(names)) == len(names)
    assert [{share["resume"] for share in stage} for stage in shares] == [{place > 0} for place in range(len(stages))]


@pytest.mark.slow
def test_folds_are_shared_too(sessions, here, tiny, tmp_path, differing):
    paths = sessions("a")
    settings = tiny | {"hidden": [0, 1], "folds": 2, "max_epochs": 1}
    spikefit.infer(paths[0], tmp_path / "alone", **settings)
    assert spikefit.batch(paths, tmp_path / "out", spread=True, **settings).exit_code == 0
    assert [o["job"]["name"] for o in here] == ["a~hidden-1-of-1", "a~fold-1-of-2", "a~fold-2-of-2", "a"]
    assert differing(tmp_path / "out" / "a", tmp_path / "alone") == []
    assert not [path for path in (tmp_path / "out" / "a" / "checkpoints").rglob("*") if path.is_file()]


def test_surrogates_are_shared_too(sessions, here, tiny, tmp_path, differing, monkeypatch):
    import spikefit.fitting.surrogates as surrogates

    paths = sessions("a")
    settings = tiny | {"hidden": 0, "significance": "jitter", "surrogates": 60}
    spikefit.infer(paths[0], tmp_path / "alone", **settings)
    refits: list[int] = []
    refit = surrogates._refit

    def counted(*args):
        refits.extend([len(here)] * len(args[-1]))
        return refit(*args)

    monkeypatch.setattr(surrogates, "_refit", counted)
    assert spikefit.batch(paths, tmp_path / "out", spread=True, **settings).exit_code == 0
    assert [o["job"]["name"] for o in here] == [*(f"a~surrogates-{k}-of-3" for k in (1, 2, 3)), "a"]
    assert differing(tmp_path / "out" / "a", tmp_path / "alone") == []
    # Each is made once, by the shares.
    assert [refits.count(order) for order in range(1, 5)] == [10, 25, 25, 0]
    assert list((tmp_path / "out" / "a" / "checkpoints").iterdir()) == []


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
