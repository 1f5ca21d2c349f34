"""A batch on a real Slurm: one node on this computer, from Debian's packages slurm-wlm and munge.

The daemons are started by hand, with a configuration of their own, and need root. Where they cannot be had the test is
skipped and says why. Slurm counts time limits in whole minutes and starts a job again only when its credentials have
expired (two minutes; ten seconds here), so this takes minutes, most of them waiting.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikefit.config import Config
from spikefit.pipeline import simulate_to_file
from spikefit.results import load_result

pytestmark = pytest.mark.slow

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo")
SEARCHED = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def reason_to_skip() -> str | None:
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "slurmd has to be started by root"
    return None


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which sbatch finds a cluster of one node with two cores."""
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    home = Path("/var/tmp") / f"spikefit-slurm-{os.getpid()}"  # munged wants a place that others cannot write to
    home.mkdir(mode=0o755)
    host = socket.gethostname().split(".")[0]
    key = home / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    for name in ("state", "spool"):
        (home / name).mkdir()
    (home / "slurm.conf").write_text(
        f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=10
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
""",
        encoding="utf-8",
    )
    environment = {**os.environ, "SLURM_CONF": str(home / "slurm.conf"), "PATH": SEARCHED}
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={home}/munge.socket",
         f"--pid-file={home}/munge.pid", f"--log-file={home}/munge.log", f"--seed-file={home}/munge.seed"],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D", "-N", host],
    ]  # fmt: skip
    running = []
    try:
        for command in daemons:
            with (home / f"{command[0]}.out").open("wb") as output:
                running.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            time.sleep(1.0)
        for _ in range(60):
            told = subprocess.run(["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, text=True)
            if told.stdout.strip() == "idle":
                break
            time.sleep(0.5)
        else:
            logs = "\n".join(f"{p.name}: {p.read_text(errors='replace')[-400:]}" for p in home.glob("*.out"))
            pytest.skip(f"Slurm does not come up here: {told.stdout}{told.stderr}\n{logs}")
        yield environment
    finally:
        if len(running) == len(daemons):  # a test that failed leaves jobs that outlive the daemons
            subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True)
            time.sleep(2.0)
        for process in reversed(running):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
        shutil.rmtree(home, ignore_errors=True)


def spikefit(environment: dict[str, str], *args: object, timeout_s: float = 1800) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spikefit", *(str(arg) for arg in args)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s)


def test_an_array_of_four_with_one_that_is_cut_and_requeued(slurm: dict[str, str], tmp_path: Path) -> None:
    names = ["a", "b c", "d'e", "long"]
    for seed, name in enumerate(names):
        network = Config().replace(
            neurons=6, drivers=1, duration="30s" if name != "long" else "6000s", bin="10ms", window="50ms",
            rate_hz=12.0, seed=seed,
        )  # fmt: skip
        simulate_to_file(tmp_path / "data $x" / f"{name}.nwb", config=network)
    table = tmp_path / "sessions.csv"
    rows = [f"data $x/{name}.nwb,0,2" for name in names[:3]] + ["data $x/long.nwb,4,400"]
    table.write_text("path,hidden,max_epochs\n" + "\n".join(rows) + "\n", encoding="utf-8")
    out = tmp_path / "out"
    began = time.monotonic()
    done = spikefit(
        slurm, "batch", "--sessions", table, "-o", out, "--executor", "slurm", "--time-limit", "1min",
        "--stop-before", "30s", "--requeues", 100, "--bin", "10ms", "--window", "50ms", "--restarts", 1, "--json", "--device", "cpu",
    )  # fmt: skip
    logs = "\n".join(p.read_text() for p in sorted((out / ".batch" / "slurm").glob("*.log")))
    assert done.returncode == 0, done.stderr + logs
    told = json.loads(done.stdout)
    assert told["n_done"] == 4
    for job in told["jobs"]:
        assert load_result(out / job["folder"]).metrics["n_visible"] == 6
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    attempts = {e["job"]: e["attempt"] for e in events if e["event"] == "started"}
    assert attempts.pop("long") > 1, "it was never cut"
    assert set(attempts.values()) == {1}
    print(f"{time.monotonic() - began:.0f} s in all, {events[-1]}")


def test_a_slurm_that_refuses_ends_with_5(slurm: dict[str, str], tmp_path: Path) -> None:
    recording = tmp_path / "a.nwb"
    simulate_to_file(recording, config=Config().replace(neurons=4, drivers=0, duration="10s"))
    done = spikefit(slurm, "batch", recording, "-o", tmp_path / "out", "--executor", "slurm", "--partition", "nowhere")
    assert done.returncode == 5, done.stderr
    assert "Slurm refused the jobs: " in done.stderr
    assert "partition" in done.stderr
    assert "Traceback" not in done.stderr
