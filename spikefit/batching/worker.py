"""A worker process of the local engine: it imports once, then fits job after job.

It reads one JSON object per line on stdin (a job, or nothing more) and answers each on a pipe of its own, because
libraries print on stdout what they like. When stdin closes, its batch is gone: the fit under way writes its checkpoint
and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from typing import Any


def main() -> None:
    """Run until stdin closes."""
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(waiting, busy), daemon=True).start()
    # A request to stop that comes between two jobs ends the worker; within one, the fit hears it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)

    import spikefit.pipeline
    from spikefit.batching.work import run_job

    assert spikefit.pipeline is not None  # imported here, so that no job pays for it
    print(json.dumps({"ready": True}), file=answers, flush=True)
    while (order := waiting.get()) is not None:
        sys.argv = order.pop("argv")
        _forget_peak_memory()
        busy.set()
        outcome = run_job(**order)
        busy.clear()
        print(json.dumps(outcome), file=answers, flush=True)


def _listen(waiting: queue.Queue[dict[str, Any] | None], busy: threading.Event) -> None:
    for line in sys.stdin:
        waiting.put(json.loads(line))
    waiting.put(None)
    if busy.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _forget_peak_memory() -> None:
    """Let the most memory held count from here, so that a job does not report that of the one before."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _leave(_number: int, _frame: object) -> None:
    raise SystemExit(0)
