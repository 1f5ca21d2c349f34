"""The same work on many things, on all cores of this computer.

    for result in on_all_cores(function, items): …

Threads, not processes: the work is torch and numpy, which leave the interpreter free while they compute, and all of it may read
one large array without a copy. Results come in the order of the items, whoever makes them, so nothing depends on the number of workers
as long as `function` draws its randomness from its item alone.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from spikefit.machine import usable_cores

Item = TypeVar("Item")
Made = TypeVar("Made")

AHEAD = 2  # items handed out per worker: enough to keep it busy, and little to throw away on a stop


def on_all_cores(
    function: Callable[[Item], Made], items: Iterable[Item], *, workers: int | None = None
) -> Generator[Made, None, None]:
    """Apply a function to every item, several at a time, and give the results in order.

    Each worker computes with one torch thread. A fault in `function` is raised where its result would have come, and
    whatever has not begun by then is dropped; so it is where the caller stops asking.

    Args:
        function: safe to run in several threads at once.
        items: taken as they are needed.
        workers: threads; where None one for each usable core, or as many as OMP_NUM_THREADS allows where that is set. With
            one, all is done in the caller's own thread.
    """
    n_workers = _all_cores() if workers is None else workers
    if n_workers <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Made]] = deque()
    source = iter(items)
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="all-cores", initializer=_one_torch_thread)
    try:
        waiting.extend(pool.submit(function, item) for item in itertools.islice(source, AHEAD * n_workers))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(source, 1))
            yield made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _all_cores() -> int:
    given = os.environ.get("OMP_NUM_THREADS", "")
    # Somebody who asked for fewer threads meant it.
    return min(usable_cores(), int(given)) if given.isdigit() and int(given) else usable_cores()


_setting_threads = threading.Lock()


def _one_torch_thread() -> None:
    """Where torch is loaded at all: workers that each took all cores would wait for one another."""
    import sys

    torch = sys.modules.get("torch")
    if torch is not None:
        with _setting_threads:
            torch.set_num_threads(1)
