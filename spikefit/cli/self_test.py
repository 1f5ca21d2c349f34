"""A fit with a known answer, for `spikefit doctor`."""

from __future__ import annotations

import time
from typing import Any

N_UNITS = 8
DURATION_S = 100.0
SEED = 0
# Over seeds the correlation lies between 0.9 and 0.98; unrelated connections give between −0.3 and 0.3.
LEAST_CORRELATION = 0.8


def run_self_test() -> dict[str, Any]:
    """Simulate a small network, fit it, and compare the connections.

    Returns:
        `passed`; `correlation` of fitted and true connections; `seconds`; and `fault`, a sentence where the fit failed.
    """
    import numpy as np

    from spikefit.fitted import POGLM
    from spikefit.simulate import random_network, simulate

    began = time.perf_counter()
    network = random_network(n_visible=N_UNITS, n_drivers=0, seed=SEED, rate_hz=10.0, density=0.3)
    simulation = simulate(network, duration_s=DURATION_S, seed=SEED)
    try:
        fit = POGLM(hidden=0, bin=network.bin_width_s, device="cpu", seed=SEED).fit(simulation.visible_counts)
    # Whatever goes wrong is the answer here: a broken library may raise anything.
    except Exception as fault:
        return {"passed": False, "correlation": None, "seconds": None, "fault": f"{type(fault).__name__}: {fault}"}
    pairs = ~np.eye(N_UNITS, dtype=bool)
    correlation = float(np.corrcoef(fit.connectivity[pairs], network.connectivity[pairs])[0, 1])
    return {
        "passed": correlation >= LEAST_CORRELATION,
        "correlation": correlation,
        "seconds": time.perf_counter() - began,
        "fault": None,
    }
