"""Arithmetic of a training step that is done number by number, compiled into single loops where that is asked for.

Products, draws, sums over spikes and the automatic differentiation stay what they are: only functions of tensors that give tensors are
handed over, each with its derivative made in the same pass, so that nothing but them is ever compiled. Where that fails
the same function runs as it is written, and the fault is kept to be told. `torch.compile` is loaded with the first function that is handed over.
"""

from __future__ import annotations

import inspect
import time
import types
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Kernel = Callable[..., Tensors]


class Kernels:
    """Runs pure functions of tensors compiled.

    Sizes are symbols, so the last batch, a halved one or fewer restarts meet what was compiled for the first. Two things make
    code of their own, and are told apart here rather than found out by a failing guard: which axes have length one, since those are
    broadcast, and in which order the axes lie in memory.

    Attributes:
        fault: why compiling was given up, in a line; None where it was not.
        compile_s: clock time of the first calls, in which the compiling is done.
        n_compiled: functions compiled, one for each kind of shape.
    """

    def __init__(self) -> None:
        self.fault: str | None = None
        self.compile_s = 0.0
        self.n_compiled = 0
        self._made: dict[Hashable, Kernel] = {}

    def __call__(self, function: Kernel, *tensors: Tensor, **fixed: Any) -> Tensors:
        """What the function gives, to the rounding of its arithmetic.

        Args:
            function: of tensors, without state, randomness or changes to what it is given.
            tensors: its arguments.
            fixed: further arguments, hashable, that do not change from call to call.
        """
        if self.fault is not None:
            return function(*tensors, **fixed)
        key = (function, tuple(sorted(fixed.items())), tuple(_kind(tensor) for tensor in tensors))
        made = self._made.get(key)
        try:
            return self._first(key, function, tensors, fixed) if made is None else made(*tensors, **fixed)
        except Exception as fault:
            # Compilers fail in many ways. If it was not the compiler's fault, the function as it is written fails again.
            out = function(*tensors, **fixed)
            self.fault = _in_a_line(fault)
            return out

    def _first(self, key: Hashable, function: Kernel, tensors: Tensors, fixed: dict[str, Any]) -> Tensors:
        began = time.perf_counter()
        # The compiler switches off the checks of torch's distributions for the whole process when it is loaded.
        checked = torch.distributions.Distribution._validate_args
        try:
            made = _compiled(function)
            with _every_size_its_own():
                out = made(*tensors, **fixed)
        finally:
            torch.distributions.Distribution.set_default_validate_args(checked)
        self._made[key] = made
        self.n_compiled += 1
        self.compile_s += time.perf_counter() - began
        return out


def _kind(tensor: Tensor) -> Hashable:
    """What asks for code of its own."""
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    lying = tuple(axis for axis in order if tensor.shape[axis] > 1)
    return tensor.dtype, tensor.device, tuple(n == 1 for n in tensor.shape), lying


def _compiled(function: Kernel) -> Kernel:
    """Compiled apart from all others: a copy of the function has the compiler's limit of variants for itself."""
    itself = inspect.unwrap(function)  # checks of shapes, where tests have put them around it, are not for the compiler
    code, closure = itself.__code__.replace(), itself.__closure__
    copy = types.FunctionType(code, itself.__globals__, itself.__name__, itself.__defaults__, closure)
    copy.__kwdefaults__ = itself.__kwdefaults__
    made: Kernel = torch.compile(copy, dynamic=True, fullgraph=True)
    return made


def _every_size_its_own() -> Any:
    """Sizes that happen to be equal at first (three windows, three restarts) must not be taken for one and the same."""
    import torch.fx.experimental._config as shapes

    return shapes.patch(use_duck_shape=False)  # type: ignore[attr-defined]


def _in_a_line(fault: Exception) -> str:
    """The first lines of a message that say something; compilers write pages."""
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    text = " ".join(lines[:2]) if lines else "no reason given"
    return f"{type(fault).__name__}: {text if len(text) <= 240 else text[:239] + '…'}"
