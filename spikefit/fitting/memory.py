"""How much memory a fit takes, decided before it starts and obeyed by it.

Counts stay in their compact type for the whole recording. Everything larger is made for a stretch at a time: features
for a block of bins, hidden draws for some windows. Blocks and windows are as many as the limit allows. Where the
memory runs out all the same, they are halved and the work that failed is done again; how the work is cut
does not change what is computed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from spikefit.errors import DeviceError
from spikefit.fitting.lbfgs import PAIRS
from spikefit.machine import memory_bytes, place_in_team
from spikefit.models.products import by_spikes

FLOAT, DOUBLE = 4, 8
MOST_BLOCK_BINS, FEWEST_BLOCK_BINS = 4096, 64
MOST_BLOCK_BYTES = 64 << 20  # more per block brings nothing on a CPU, and features leave its caches anyway
MOST_SPIKE_BLOCK_BYTES = 256 << 20  # by spikes each block costs a pass over the gradient, and fewer are better
# Keeping features saves less than half of a pass; so much is enough for small recordings, and large ones stay flat.
MOST_CACHE_BYTES = 48 << 20
MOST_CACHE_SHARE = 0.35
SHARE_OF_FREE = 0.75  # of the memory that is free now; the rest is for what others do meanwhile
MOST_PART_BINS = 4096  # in more bins at a time a step on a CPU only gets slower
REMEMBERED = 2 * PAIRS + 8  # vectors of all parameters that the L-BFGS holds: its pairs, and what it works with
SQUARES = 4  # Gram matrix, its factors and the workspace of the factorisation
ARRAYS_PER_DRAW = 10  # values of (draw, window, restart, unit, bin) that a step holds at its fullest

T = TypeVar("T")


@dataclass(frozen=True)
class FitSize:
    """What the memory of a fit depends on.

    Attributes:
        n_units: recorded units.
        n_bins: bins of the recording.
        n_spikes: in them.
        count_bytes: bytes of one count.
        n_functions: basis functions of a filter.
        n_lags: bins of history.
        n_traces: further features that all units share.
        n_hidden: most hidden units at a time; 0 for none.
        max_count: rates of a hidden unit in a bin.
        n_restarts: restarts side by side.
        n_draws: Monte-Carlo draws.
        core_bins: scored bins of a training window.
        batch_windows: windows of a step.
    """

    n_units: int
    n_bins: int
    n_spikes: int
    count_bytes: int
    n_functions: int
    n_lags: int
    n_traces: int
    n_hidden: int = 0
    max_count: int = 1
    n_restarts: int = 1
    n_draws: int = 1
    core_bins: int = 500
    batch_windows: int = 1
    lost: bool = False

    @property
    def n_features(self) -> int:
        return self.n_units * self.n_functions + self.n_traces


@dataclass(frozen=True)
class MemoryPlan:
    """Where the memory goes, in bytes, and what the fit keeps to.

    Attributes:
        limit_bytes: what the fit may take.
        counts_bytes: the recording, for as long as the fit lasts.
        solver_bytes: of the fit without hidden units: Gram matrix, gradients, remembered steps.
        block_bins: bins whose features are made at a time.
        block_bytes: one such block, and what is computed from it.
        cache_bytes: features, or places of spikes, that are kept between passes.
        part_windows: training windows computed at a time; 0 without hidden units.
        part_bytes: such a part, with its hidden draws.
        model_bytes: parameters of the networks with hidden units, what the optimiser keeps and the way back.
    """

    limit_bytes: int
    counts_bytes: int
    solver_bytes: int
    block_bins: int
    block_bytes: int
    cache_bytes: int
    part_windows: int
    part_bytes: int
    model_bytes: int

    @property
    def total_bytes(self) -> int:
        """The most at any time: the two kinds of fit follow one another, the kept features stay."""
        solving = self.solver_bytes + self.block_bytes
        return self.counts_bytes + self.cache_bytes + max(solving, self.part_bytes + self.model_bytes)

    @property
    def beyond_limit(self) -> str:
        """What to say where the limit cannot be kept; nothing where it can."""
        if self.total_bytes <= self.limit_bytes:
            return ""
        return (
            f"the memory limit is {_in_units(self.limit_bytes)}, and this fit cannot do with less than "
            f"{_in_units(self.total_bytes)} beside what Python and its libraries take"
        )


def plan_memory(size: FitSize, limit_bytes: int) -> MemoryPlan:
    """Share the memory out: first what cannot be avoided, then parts of a step, then kept features.

    Args:
        size: of the fit.
        limit_bytes: what it may take; a fit that needs more is planned as small as can be.
    """
    n_features, n_units = size.n_features, size.n_units
    counts = n_units * size.n_bins * (size.count_bytes + size.lost) + 2 * size.n_traces * size.n_bins * FLOAT
    solver = DOUBLE * (REMEMBERED * n_units * (n_features + 1) + SQUARES * n_features**2)
    per_bin = FLOAT * (2 * n_features + 5 * n_units)
    free = max(0, limit_bytes - counts - solver)
    sparse = by_spikes(n_units, size.n_spikes / max(1, size.n_bins), size.n_lags, torch.device("cpu"))
    most_in_block = MOST_SPIKE_BLOCK_BYTES if sparse else MOST_BLOCK_BYTES
    block_bins = min(MOST_BLOCK_BINS, max(FEWEST_BLOCK_BINS, min(free, most_in_block) // per_bin))
    model, part, part_windows = 0, 0, 0
    if size.n_hidden:
        everyone = n_units + size.n_hidden
        weights = (
            everyone * (n_features + size.n_hidden * size.n_functions + 1)
            + 2 * size.n_hidden * size.max_count * n_features
        )
        model = 8 * FLOAT * size.n_restarts * weights
        window = _window_bytes(size)
        wanted = min(size.batch_windows, max(1, MOST_PART_BINS // max(1, size.core_bins)))
        part_windows = min(wanted, max(1, (limit_bytes - counts - model) // window))
        part = part_windows * window
    needed = max(solver + block_bins * per_bin, part + model)
    # Targets stand beside the features; a design of the training bins is smaller than the whole recording.
    whole = size.n_bins * FLOAT * (n_features + n_units)
    most = min(MOST_CACHE_BYTES, int(MOST_CACHE_SHARE * limit_bytes))
    cache = max(0, min(whole, most, limit_bytes - counts - needed))
    return MemoryPlan(
        limit_bytes=limit_bytes,
        counts_bytes=counts,
        solver_bytes=solver,
        block_bins=block_bins,
        block_bytes=block_bins * per_bin,
        cache_bytes=cache,
        part_windows=part_windows,
        part_bytes=part,
        model_bytes=model,
    )


def _in_units(n_bytes: int) -> str:
    """Bytes in the largest unit of which there is one, with 1024 to the step as limits are written."""
    for unit, size in (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes} bytes"


def _window_bytes(size: FitSize) -> int:
    """One training window with its context, its features and its hidden draws, forward and backward."""
    bins = size.core_bins + 3 * size.n_lags
    seen = FLOAT * bins * (2 * size.n_units + 3 * size.n_units * size.n_functions)
    drawn = FLOAT * bins * size.n_restarts * size.n_draws * ARRAYS_PER_DRAW
    return seen + drawn * (size.n_units + size.n_hidden * (size.max_count + size.n_functions))


def memory_limit(device: torch.device, wanted: int | None) -> int:
    """What a fit may take on that device.

    Args:
        device: where it computes.
        wanted: bytes that the user allows; None for three quarters of what is free.
    """
    if wanted is not None:
        return wanted
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return int(SHARE_OF_FREE * free)
    _, available = memory_bytes()
    n_here = int(os.environ["LOCAL_WORLD_SIZE"]) if place_in_team() is not None else 1
    return int(SHARE_OF_FREE * (4 << 30 if available is None else available) / n_here)


def out_of_memory(fault: BaseException) -> bool:
    """Whether a fault says that the memory, of the computer or of the GPU, was not enough."""
    if isinstance(fault, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(fault).lower()
    return isinstance(fault, RuntimeError) and ("can't allocate memory" in text or "not enough memory" in text)


def halving(work: Callable[[int], T], size: int, *, least: int = 1, what: str) -> tuple[T, int]:
    """Do some work, with half the size after each time that the memory was not enough.

    Args:
        work: does all of it anew, so much at a time.
        size: to begin with.
        least: smallest size.
        what: is done, for the message.

    Returns:
        What the work gave, and the size that was small enough.

    Raises:
        DeviceError: if even the smallest size does not fit.
    """
    while True:
        try:
            return work(size), size
        except (MemoryError, RuntimeError) as fault:
            if not out_of_memory(fault):
                raise
            if size <= least:
                raise DeviceError(
                    f"{what}: the memory is not enough, even in the smallest pieces.",
                    hint="use a wider --bin, a shorter --window, fewer --hidden units, --restarts or --units; "
                    "--dry-run tells what is needed",
                ) from None
        # Outside of the handler: until then the fault holds on to what was being computed.
        size = max(least, size // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
