"""Many sessions, many settings: on this computer, a Dask cluster or Slurm.

Every engine calls one function, `spikefit.batching.work.run_job`, which calls `spikefit.infer`; what a job leaves are
files. The package is called `batching` because `spikefit.batch` is the function.
"""

from __future__ import annotations

from spikefit.batching.run import BatchResult, batch, find_jobs, known_outcomes, plan_job

__all__ = ["BatchResult", "batch", "find_jobs", "known_outcomes", "plan_job"]
