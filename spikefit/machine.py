"""What this computer gives: cores, memory and GPUs, asked for without loading torch."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def usable_cores() -> int:
    """Cores this process may use: those it is bound to, and no more than its container's share of time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def place_in_team() -> tuple[int, int] | None:
    """Which process this is and of how many, where `torchrun` started several; None where there is one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return (rank, size) if size > 1 else None


def memory_bytes() -> tuple[int | None, int | None]:
    """All memory, and what is free for use; None where this system does not tell."""
    total = available = None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    with contextlib.suppress(OSError, ValueError, IndexError):
        # Pages that only cache files are free for use, too.
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        # A container may be given less than the machine has.
        with contextlib.suppress(OSError, ValueError):
            most = int(Path(limit).read_text(encoding="ascii"))
            total = most if total is None else min(total, most)
            available = None if available is None else min(available, most)
    return total, available


def visible_gpus() -> list[str]:
    """NVIDIA GPUs by what CUDA_VISIBLE_DEVICES calls them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() and name.strip() != "-1"]
    return [str(number) for number in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]


def workers_for(n_jobs: int, *, jobs: int | None, device: str, threads: int | None) -> tuple[int, list[str]]:
    """How many workers, and the GPU of each (in turn; empty for none).

    Args:
        n_jobs: more workers than jobs are of no use.
        jobs: what was asked for.
        device: `run.device`.
        threads: `run.threads`.
    """
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    if jobs is None:
        jobs = len(gpus) or max(1, usable_cores() // (threads or 1))
    return max(1, min(jobs, n_jobs)), gpus


def worker_environment(number: int, n_workers: int, gpus: list[str], threads: int | None) -> dict[str, str]:
    """The environment of one worker: its share of the threads, and its GPU."""
    environment = dict(os.environ)
    share = threads or max(1, usable_cores() // n_workers)
    for variable in _THREAD_VARIABLES:
        given = environment.get(variable, "")
        # Somebody who asked for fewer threads meant it.
        environment[variable] = str(min(share, int(given)) if given.isdigit() and int(given) else share)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return environment
