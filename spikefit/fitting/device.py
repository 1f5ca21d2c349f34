"""Choosing where to compute, and saying plainly why it cannot be had."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from spikefit.errors import DeviceError

FEW_UNITS = 64


def choose_device(name: str) -> torch.device:
    """The device of that name.

    Args:
        name: `auto` (a CUDA GPU where there is one, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        DeviceError: if the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind == "cuda":
        if not torch.cuda.is_available():
            built = "this torch was built without CUDA" if torch.version.cuda is None else "no CUDA GPU answers"
            raise DeviceError(
                f"--device {name}: {built}.",
                hint="pass --device cpu, or run `spikefit doctor` to see what is installed",
            )
        if index and int(index) >= torch.cuda.device_count():
            raise DeviceError(
                f"--device {name}: there are {torch.cuda.device_count()} CUDA GPUs, numbered from 0.",
                hint="pass a lower number",
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: this machine has no Metal GPU that torch can use.", hint="pass --device cpu")
    return torch.device(name)


@contextlib.contextmanager
def compute_threads(wanted: int | None, n_units: int) -> Iterator[None]:
    """Compute with so many CPU threads, and leave the process as it was.

    Args:
        wanted: number of threads; None chooses.
        n_units: visible units of the recording. Arrays of few units are so small that threads mostly wait for one
            another, and on a busy machine that wait is long; they get one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or (1 if n_units <= FEW_UNITS else before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def float64_device(device: torch.device) -> torch.device:
    """Where float64 work is done: Metal has none, so it goes to the CPU."""
    return torch.device("cpu") if device.type == "mps" else device
