"""The script of a Slurm task, run by bash with programs that stand in for the fit and for Slurm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from spikefit.batching.engines.slurm_script import script_text
from spikefit.config import Config

# A fit writes its checkpoint when it is asked to stop; while libraries load, the first signal ends the process.
FIT = "trap 'sleep 0.1; exit 75' USR1 TERM; touch begun; while :; do sleep 0.02; done"
LOADING = "touch begun; exec sleep 20"


@pytest.mark.parametrize(
    ("fit", "asked", "requeues", "code", "again"),
    [
        (FIT, signal.SIGUSR1, 20, 75, True),
        (LOADING, signal.SIGUSR1, 20, 75, True),
        (FIT, signal.SIGUSR1, 3, 75, False),  # it has been queued again that often already
        (FIT, signal.SIGTERM, 20, 75, False),  # cancelled, or pre-empted: Slurm itself queues that again
        (LOADING, signal.SIGTERM, 20, 143, False),
        ("exit 4", None, 20, 4, False),
        ("exit 0", None, 20, 0, False),
    ],
)
def test_what_is_cut_off_is_queued_again(tmp_path: Path, fit, asked, requeues, code, again):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    for name, text in (("python", fit), ("scontrol", 'echo "$@" > asked-of-slurm')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "array.sh"
    script.write_text(script_text(Config().replace(requeues=requeues), 4))
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_RESTART_COUNT": "3",
    }  # fmt: skip
    process = subprocess.Popen(
        ["bash", script, tmp_path / "python", "manifest", "0"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    if asked is not None:
        until = time.monotonic() + 30
        while not (tmp_path / "begun").exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(asked)
    assert process.wait(timeout=30) == code
    told = tmp_path / "asked-of-slurm"
    assert (told.read_text() if told.exists() else "") == ("requeue 17_3\n" if again else "")
