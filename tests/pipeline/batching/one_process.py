"""Runs batches that can be killed with all they do: a program for `test_survival`, no test.

It loads the libraries once and forks for each batch: a line of JSON on stdin (`recordings`, `out`, `settings`) is
answered with the exit code when the batch has ended; with `kill_after_s` it is killed then, where it has not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence

import networkx  # noqa: F401 - what a fit loads, loaded once
import scipy.signal
import scipy.stats  # noqa: F401

import spikefit.fitting.fit
import spikefit.pipeline  # noqa: F401
from spikefit.batching import run
from spikefit.batching.engines import Order, Watch
from spikefit.batching.outcome import from_dict
from spikefit.batching.work import run_job


class Here:
    """An engine that does the jobs in the batch's own process."""

    def describe(self, n_jobs: int) -> str:
        return "this process"

    def run(self, orders: Sequence[Order], watch: Watch) -> None:
        for order in orders:
            watch.started(order["job"]["name"])
            outcome = from_dict(run_job(**{key: value for key, value in order.items() if key != "argv"}))
            assert outcome is not None
            watch.tick()
            watch.finished(outcome)


def end_of(pid: int, kill_after_s: float | None) -> int:
    """The exit code of a child; that of a signal is negative."""
    began = time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if kill_after_s is not None and time.monotonic() - began > kill_after_s:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def main() -> None:
    run.engine_for = lambda *_: Here()  # type: ignore[assignment]
    print("ready", flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = run.batch(wanted["recordings"], wanted["out"], resume=True, **wanted["settings"]).exit_code
            finally:
                os._exit(code)
        print(end_of(pid, wanted["kill_after_s"]), flush=True)


if __name__ == "__main__":
    main()
