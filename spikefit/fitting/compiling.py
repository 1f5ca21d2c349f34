"""What a fit says of `--compile`: whether it was done, how long it took, and why not."""

from __future__ import annotations

from typing import Any

from spikefit.models.kernels import Kernels


def compile_metrics(kernels: Kernels | None) -> dict[str, Any]:
    """Figures for the metrics; none where compiling was not asked for.

    Args:
        kernels: of the problem that was fitted.
    """
    if kernels is None:
        return {}
    return {
        "compiled": kernels.n_compiled > 0 and kernels.fault is None,
        "compile_s": kernels.compile_s,
        "compile_fault": kernels.fault,
    }


def compile_notes(kernels: Kernels | None) -> tuple[str, ...]:
    """What the reader must know of it, as sentences."""
    if kernels is None:
        return ()
    if kernels.fault is not None:
        return (
            f"--compile: the fit went on uncompiled, because torch.compile failed ({kernels.fault}); the answer is the same. "
            "It needs a C++ compiler (g++ or clang) on the path: install one, or leave --compile out",
        )
    if not kernels.n_compiled:
        return ("--compile changed nothing: no hidden units were trained in this run",)
    return ()
