"""Common drive: what the summed population did lately, as covariates that all units share.

    trace_j[t] = Σ_{l ≥ 0} exp(−l · bin width / τ_j) · (population[t − 1 − l] − level)

`population` counts the spikes of all recorded units, `level` is its mean, and l runs back to the start of the segment,
where every trace is zero: before its first bin the population is taken to have fired at its level. So a trace never
crosses a gap, and has the history it needs however short the windows are that a fit is cut into. Units that rise and
fall together then share a term that says so, and need no couplings to say it.

Traces are made once for a whole recording, a row per time constant, and gathered like counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from torch import Tensor

from spikefit.models.long_sums import sum_over_units

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CommonDrive:
    """The kernels of the traces.

    Attributes:
        decay: factor by which a trace falls in one bin, between 0 and 1; (trace,).
        level: mean spikes of the whole population in one bin.
    """

    decay: Array
    level: float

    @classmethod
    def of(
        cls,
        counts: Integer[Tensor, "unit bin"],
        time_constants_s: Sequence[float],
        bin_width_s: float,
        stand_ins: Array | None = None,
    ) -> CommonDrive:
        """Kernels of these time constants, in seconds, and the level that these counts have; `stand_ins` as in `features`."""
        decay = np.array([math.exp(-bin_width_s / tau_s) for tau_s in time_constants_s])
        return cls(decay, float(_population(counts, stand_ins).mean()))

    @property
    def gain(self) -> Array:
        """What a trace is multiplied by to be a feature: its kernel then has unit energy, as a basis function has."""
        return np.asarray(np.sqrt(1 - np.square(self.decay)))

    def features(
        self, counts: Integer[Tensor, "unit bin"], segment_offsets: NDArray[np.int64], stand_ins: Array | None = None
    ) -> Float[Tensor, "trace bin"]:
        """The traces of a recording times their gains, in float32 on the device of `counts`.

        Args:
            counts: of all recorded units.
            segment_offsets: first bin of each segment and the end of the last.
            stand_ins: what stands in for units that are lost, summed over units, in every bin; None where none is lost.
        """
        from scipy.signal import lfilter

        excess = _population(counts, stand_ins) - self.level
        out = np.zeros((len(self.decay), excess.size), dtype=np.float32)
        for start, stop in zip(segment_offsets[:-1].tolist(), segment_offsets[1:].tolist(), strict=True):
            if stop - start < 2:
                continue
            for row, (decay, gain) in enumerate(zip(self.decay.tolist(), self.gain.tolist(), strict=True)):
                out[row, start + 1 : stop] = lfilter([gain], [1.0, -decay], excess[start : stop - 1])
        return torch.from_numpy(out).to(counts.device)


def _population(counts: Tensor, stand_ins: Array | None) -> Array:
    """Spikes of all units in every bin, those of lost units by what stands in for them; (bin,)."""
    seen = sum_over_units(counts).double().cpu().numpy()
    return np.asarray(seen if stand_ins is None else seen + stand_ins)
