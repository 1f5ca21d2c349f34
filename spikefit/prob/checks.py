"""What the functions of `prob` ask of their arguments, with messages that name the argument, the value and the range."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Above this a draw would need so many arrivals, or counts so large, that waiting for it is not what anyone meant.
MAX_EXPECTED_COUNT = 1e9

_DTYPES = (torch.float32, torch.float64)


def check_rates_tensor(values: Tensor, name: str = "expected_count") -> None:
    """Check everything about a tensor of expected counts that needs no look at its values.

    Raises:
        TypeError: if it is not a tensor of float32 or float64.
        ValueError: if it is empty.
    """
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {type(values).__name__}")
    if values.dtype not in _DTYPES:
        raise TypeError(f"{name} must be float32 or float64, got {values.dtype}")
    if values.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(values.shape)}); it must hold at least one value")


def bounds(values: Tensor) -> tuple[float, float]:
    """Least and greatest entry, NaN where one entry is NaN. On a GPU this waits for the device once."""
    low, high = torch.aminmax(values.detach())
    low_high: list[float] = torch.stack([low, high]).tolist()
    return low_high[0], low_high[1]


def check_bounds(low: float, high: float, name: str = "expected_count") -> None:
    """Refuse expected counts that are negative, NaN, infinite or beyond `MAX_EXPECTED_COUNT`.

    Raises:
        ValueError: naming the argument, the offending value and the range.
    """
    # Negated comparisons, so that NaN is refused too.
    if not low >= 0 or not high <= MAX_EXPECTED_COUNT:
        found = low if not low >= 0 else high
        raise ValueError(f"{name} must lie in [0, {MAX_EXPECTED_COUNT:g}], got {found:g}")


def check_expected_count(values: Tensor, name: str = "expected_count") -> None:
    """Check a tensor of expected counts, values included; waits for the device once on a GPU.

    Raises:
        TypeError: if it is not a tensor of float32 or float64.
        ValueError: if it is empty, or holds a value outside [0, 1e9].
    """
    check_rates_tensor(values, name)
    check_bounds(*bounds(values), name)


def check_temperature(temperature: float) -> float:
    """The temperature as a float.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not finite and above zero.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(f"temperature must be a number, got {type(temperature).__name__}")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be finite and above 0, got {temperature!r}")
    return float(temperature)


def check_generator(generator: torch.Generator | None, device: torch.device, beside: str = "expected_count") -> None:
    """Check that a generator can draw on the device of the argument `beside`.

    Raises:
        TypeError: if it is not a `torch.Generator`.
        ValueError: if it belongs to another device.
    """
    if generator is None:
        return
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator or None, got {type(generator).__name__}")
    if generator.device.type != device.type or (generator.device.index or 0) != (device.index or 0):
        raise ValueError(
            f"generator is on {generator.device} but {beside} is on {device}; "
            f"make one with torch.Generator(device={str(device)!r})"
        )
