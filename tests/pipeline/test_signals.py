"""A run in a process of its own, stopped in all the ways there are; what it leaves is whole, and it can go on."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import spikefit
from spikefit.errors import ResultError, UsageError
from spikefit.pipeline import infer

# Long enough that a signal sent once the training has begun always finds it at work.
SETTINGS = {"hidden": 1, "checkpoint_every": "100ms"}


def start(recording: Path, out: Path, settings: dict[str, Any], *more: str) -> subprocess.Popen[str]:
    words = [text for key, value in settings.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    return subprocess.Popen(
        [sys.executable, "-m", "spikefit", "infer", str(recording), "-o", str(out), *words, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], *words: str) -> None:
    """Return as soon as the run says one of `words` on stderr."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if any(word in line for word in words):
            return
        said.append(line)
    process.communicate()
    pytest.fail(f"the run ended with code {process.returncode} before it said {words!r}:\n{''.join(said)}")


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def settings(tiny: dict[str, Any]) -> dict[str, Any]:
    return tiny | SETTINGS


@pytest.fixture(scope="module")
def undisturbed(simulated: Path, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    infer(simulated, folder, **(settings | {"checkpoint_every": "1h"}))
    return folder


def test_sigterm_leaves_a_checkpoint_and_resume_ends_at_the_same_bits(
    simulated: Path,
    settings: dict[str, Any],
    undisturbed: Path,
    tmp_path: Path,
    differing: Callable[[Path, Path], list[str]],
) -> None:
    out = tmp_path / "out"
    process = start(simulated, out, settings)
    wait_for(process, "fitting 1 hidden unit")
    process.send_signal(signal.SIGTERM)
    code, _, err = end(process)
    assert code == 75, err
    assert "a checkpoint is in" in err
    assert "--resume" in err
    assert "Traceback" not in err
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["hidden-1.safetensors"]
    assert not (out / "connectivity.h5").exists()
    with pytest.raises(ResultError):
        spikefit.load_result(out)
    # Going on with other settings is refused with what differs; with the same ones it ends where it would have.
    with pytest.raises(ResultError, match=r"ridge: '1\.0' then, '7\.0' now"):
        infer(simulated, out, resume=True, **(settings | {"ridge": 7.0}))
    infer(simulated, out, resume=True, **settings)
    assert differing(out, undisturbed) == []
    assert list((out / "checkpoints").iterdir()) == []
    # A third time there is nothing to go on from: the result is given back as it is, and others' are not replaced.
    bytes_then = (out / "connectivity.h5").read_bytes()
    assert infer(simulated, out, resume=True, **settings).n_hidden == 1
    with pytest.raises(UsageError, match=r"holds a finished result of another run \(ridge: 1\.0 then, 7\.0 now\)"):
        infer(simulated, out, resume=True, **(settings | {"ridge": 7.0}))
    with pytest.raises(UsageError, match="the recording: not the one of then"):
        infer(spikefit.read(simulated), out, resume=True, **settings)
    assert (out / "connectivity.h5").read_bytes() == bytes_then
    assert "ended by Checkpointed" in (out / "spikefit.log").read_text()


def test_ctrl_c_ends_with_130_and_keeps_a_checkpoint(simulated: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    process = start(simulated, tmp_path / "out", settings)
    wait_for(process, "fitting 1 hidden unit")
    process.send_signal(signal.SIGINT)
    code, _, err = end(process)
    assert code == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert (tmp_path / "out" / "checkpoints" / "hidden-1.safetensors").exists()


@pytest.mark.slow
def test_killed_at_any_moment_it_never_leaves_half_a_result(
    simulated: Path,
    settings: dict[str, Any],
    undisturbed: Path,
    tmp_path: Path,
    differing: Callable[[Path, Path], list[str]],
) -> None:
    """Fifteen kills at moments drawn over the whole of a run, most of them while it fits and writes."""
    began = time.monotonic()
    process = start(simulated, tmp_path / "timing", settings)
    wait_for(process, "fitting 1 hidden unit")
    fitting_from = time.monotonic()
    assert end(process)[0] == 0
    fit_and_write_s, startup_s = time.monotonic() - fitting_from, fitting_from - began
    moments = random.Random(0)
    out = tmp_path / "out"
    n_whole = n_checkpointed = 0
    for attempt in range(15):
        if attempt == 12:
            shutil.rmtree(out)
        # The first run starts from nothing; the others go on, or begin again over whatever lies there.
        more = [] if not out.exists() else [["--resume"], ["--overwrite"]][attempt % 2]
        process = start(simulated, out, settings, *more)
        if attempt % 5 == 4:
            time.sleep(moments.uniform(0, startup_s))
        else:
            wait_for(process, "fitting 1 hidden unit", "was finished before")
            time.sleep(moments.uniform(0, 1.1 * fit_and_write_s))
        process.kill()
        end(process)
        if (out / "connectivity.h5").exists():
            n_whole += 1
            assert spikefit.load_result(out).metrics["n_hidden"] == 1
            assert differing(out, undisturbed) == []
        elif out.exists():
            with pytest.raises(ResultError):
                spikefit.load_result(out)
        for checkpoint in out.glob("checkpoints/*.safetensors"):
            from safetensors import safe_open

            n_checkpointed += 1
            with safe_open(checkpoint, framework="pt") as file:
                assert file.metadata()["format"].startswith("spikefit-checkpoint")
    assert n_checkpointed > 0
    for more in ("--resume", "--overwrite"):
        code, _, err = end(start(simulated, out, settings, more))
        assert code == 0, err
        assert differing(out, undisturbed) == []
        assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
