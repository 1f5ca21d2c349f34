"""One fit by nemos, for `observed_glm.py --nemos`: run by the Python of an environment that holds nemos.

    PYTHON benchmarks/nemos_glm.py IN.npz OUT.npz

IN holds `features` (bin, feature), `counts` (bin, unit), `ridge` and `tolerance`; OUT gets `weights` (unit, feature), `baseline` (unit,),
`cpu_s` of the fit with its compilation and `again_s` of a second fit of the same shapes, which is compiled already.
"""

from __future__ import annotations

import sys
import time

import jax
import nemos
import numpy as np

jax.config.update("jax_enable_x64", True)


def main() -> None:
    """Fit all units in one call, twice."""
    given = np.load(sys.argv[1])
    features, counts = given["features"], given["counts"]
    times = []
    for _ in range(2):
        # Its objective is the mean loss over bins, summed over units, plus strength / 2 · ‖w‖².
        model = nemos.glm.PopulationGLM(
            inverse_link_function=jax.numpy.exp,
            regularizer="Ridge",
            regularizer_strength=float(given["ridge"]) / len(counts),
            solver_name="LBFGS",
            solver_kwargs={"maxiter": 2000, "tol": float(given["tolerance"]), "rtol": float(given["tolerance"])},
        )
        began = time.process_time()
        model.fit(features, counts)
        jax.block_until_ready(model.coef_)
        times.append(time.process_time() - began)
    np.savez(
        sys.argv[2],
        weights=np.asarray(model.coef_).T,
        baseline=np.asarray(model.intercept_),
        cpu_s=times[0],
        again_s=times[1],
        iterations=int(model.solver_state_.stats["num_steps"]) if hasattr(model.solver_state_, "stats") else -1,
        version=nemos.__version__,
    )


if __name__ == "__main__":
    main()
