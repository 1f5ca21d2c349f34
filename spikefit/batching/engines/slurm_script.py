"""The sbatch script of a batch. No path and no name stands in it: they come as arguments, and from the manifest."""

from __future__ import annotations

import math

from spikefit.config import Config
from spikefit.config.kinds import memory_mib

# Slurm numbers the tasks of one array below its MaxArraySize, 1001 unless the site has changed it.
LARGEST_ARRAY = 1000

_BODY = """
# Arguments: the Python that has spikefit, the manifest of the batch, and the manifest's number of task 0.
python=$1 manifest=$2 first=$3

export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
"$python" -P -m spikefit.batching.one "$manifest" "$((first + SLURM_ARRAY_TASK_ID))" &
fit=$!

# USR1 comes before the time limit, TERM when the job is cancelled or pre-empted. Both let the fit write its checkpoint.
cancelled=no heard=yes
trap 'heard=yes; kill -USR1 "$fit" 2>/dev/null' USR1
trap 'heard=yes cancelled=yes; kill -TERM "$fit" 2>/dev/null' TERM
while [ "$heard" = yes ]; do  # a signal ends `wait` before the fit has ended
    heard=no
    wait "$fit"
    code=$?
done

# 75: a checkpoint is there, start me again. 128 + USR1: the warning came while libraries were loading, so nothing has
# begun and nothing is lost. Slurm itself requeues what it pre-empts.
[ "$code" -eq "$((128 + $(kill -l USR1)))" ] && code=75
if [ "$code" -eq 75 ] && [ "$cancelled" = no ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$requeues" ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
"""


def script_text(config: Config, n_jobs: int) -> str:
    """The script for an array of jobs, as plain text."""
    wanted = config.slurm
    at_a_time = f"%{config.batch.jobs}" if config.batch.jobs is not None else ""
    options = [
        "job-name=spikefit",
        f"array=0-{min(n_jobs, LARGEST_ARRAY) - 1}{at_a_time}",
        "ntasks=1",
        f"cpus-per-task={wanted.cpus}",
        f"time={max(1, math.ceil(wanted.time_limit / 60))}",
        f"signal=B:USR1@{max(1, math.ceil(wanted.stop_before))}",
        "requeue",
        "open-mode=append",
        "output=%A_%a.log",
    ]
    if wanted.memory is not None:
        options.append(f"mem={memory_mib(wanted.memory)}M")
    if wanted.gpus:
        options.append(f"gpus={wanted.gpus}")
    for name in ("partition", "account", "qos", "constraint"):
        value = getattr(wanted, name)
        if value is not None:
            options.append(f"{name}={value}")
    head = ["#!/bin/bash", *(f"#SBATCH --{option}" for option in options), "", f"requeues={wanted.requeues}"]
    return "\n".join(head) + "\n" + _BODY.lstrip("\n")
