"""One fit in several processes, started together by `torchrun`: each takes its share of the windows and blocks.

Every process holds the whole recording and the whole model, and takes every decision itself, from sums that are the same
everywhere. So there is nothing to hand out but sums. With a single process all of this does nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from spikefit.machine import place_in_team

Item = TypeVar("Item")

LONGEST_WAIT = timedelta(hours=2)  # one process may read, or write a checkpoint, while the others wait


def place() -> tuple[int, int]:
    """Which process this is, and of how many."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over the processes; the same bits in all of them."""
    if place()[1] == 1:
        return
    for tensor in tensors:
        dist.all_reduce(tensor)


def any_of(flag: bool) -> bool:
    """Whether it holds in any process; all must ask."""
    if place()[1] == 1:
        return flag
    on_gpu = dist.get_backend() == "nccl"
    told = torch.tensor(int(flag), device=torch.cuda.current_device() if on_gpu else "cpu")
    dist.all_reduce(told, op=dist.ReduceOp.MAX)
    return bool(told)


def own_share(which: Int[Tensor, " window"]) -> Int[Tensor, " own_window"]:
    """The windows that this process computes."""
    rank, size = place()
    return which[rank::size]


def own_turns(items: Sequence[Item], n_before: int = 0) -> tuple[list[Item], int]:
    """The items that this process takes when all processes take turns, and how many rounds that is for the busiest.

    Args:
        items: the same in every process.
        n_before: how many items went before these, so that it is not always the first process that has one more.
    """
    rank, size = place()
    return list(items[(rank - n_before) % size :: size]), -(-len(items) // size)


def own_ranges(ranges: NDArray[np.int64]) -> NDArray[np.int64]:
    """This process's part of some `[start, stop)` ranges, about as many bins as any other's; (n, 2)."""
    rank, size = place()
    ends = np.cumsum(ranges[:, 1] - ranges[:, 0]) if len(ranges) else np.zeros(1, dtype=np.int64)
    low, high = ends[-1] * rank // size, ends[-1] * (rank + 1) // size
    out = []
    for (start, stop), end in zip(ranges.tolist(), ends.tolist(), strict=False):
        first = max(start, start + int(low) - (end - (stop - start)))
        last = min(stop, stop + int(high) - end)
        if first < last:
            out.append((first, last))
    return np.array(out, dtype=np.int64).reshape(-1, 2)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Be one of the processes that `torchrun` started, while this block runs; alone, do nothing.

    Args:
        device: where it shall compute; on CUDA without a number each process of a machine takes a GPU of its own.
    """
    if place_in_team() is None or dist.is_initialized():
        yield device
        return
    if str(device) == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    yield device
    # After a fault the group is left as it is: the others learn of it when this process has said what was wrong.
    dist.destroy_process_group()


def first_to_speak() -> bool:
    """Whether no other process of the team has told the user of a fault yet; from then on this one has."""
    team = place_in_team()
    if team is None:
        return True
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=timedelta(seconds=10)
        )
        return bool(store.compare_set("spikefit/spoken", "", str(team[0])) == str(team[0]).encode())
    except (RuntimeError, KeyError):
        return True  # twice is better than never
