"""`spikefit doctor`: what this computer and this installation can do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shlex
import shutil
from pathlib import Path
from typing import Any

import click

from spikefit.cli import doctor_gradients
from spikefit.cli.options import SpikefitGroupCommand, json_option, quiet_and_verbose
from spikefit.cli.self_test import LEAST_CORRELATION, N_UNITS, run_self_test
from spikefit.cli.show import echo_table
from spikefit.cli.traps import disk_type, size, traps_in
from spikefit.machine import memory_bytes

PACKAGES = (
    "spikefit", "torch", "numpy", "scipy", "h5py", "neo", "nixio", "pynwb", "pydantic", "click", "pyyaml", "rich", "jinja2",
    "matplotlib", "networkx", "safetensors", "jaxtyping",
)  # fmt: skip
# What spikefit runs without: the module, what pip calls it, and what it adds.
EXTRAS = (
    ("pandas", "pandas", "results as data frames"),
    ("hdf5plugin", "hdf5plugin", "HDF5 and NWB files compressed with blosc, zstd or lz4"),
    ("distributed", "spikefit[dask]", "batches on a Dask cluster"),
    ("aiohttp", "spikefit[remote]", "recordings at https:// addresses"),
    ("s3fs", "s3fs", "recordings at s3:// addresses"),
    ("zarr", "spikefit[zarr]", "NWB in a Zarr folder"),
    ("elephant", "spikefit[baselines]", "TSPE beside a fit, in `spikefit compare --baselines`"),
    ("elephant", "spikefit[gpfa]", "GPFA beside the other baselines of a latent model"),
    ("sklearn", "scikit-learn", "the reference fits of the benchmarks"),
)


@click.group("doctor", cls=SpikefitGroupCommand, invoke_without_command=True)
@json_option("everything as one JSON object instead of a table")
@quiet_and_verbose
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, quiet: bool) -> None:
    """Check this computer and this installation.

    Shows versions, devices, threads, memory and disk, names optional packages that are not installed, and fits a small
    network whose answer is known. The exit code is 1 where a package is missing or that fit fails.
    """
    if ctx.invoked_subcommand is not None:
        return
    found = examine()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not quiet:
        _echo(found)
    if None in found["versions"].values() or not found["self_test"]["passed"]:
        raise click.exceptions.Exit(1)


command.add_command(doctor_gradients.command)


def examine() -> dict[str, Any]:
    """Look at everything; the result is plain values that JSON can hold, sizes in bytes."""
    from spikefit.machine import usable_cores

    cores = os.cpu_count() or 1
    memory, available = memory_bytes()
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "torch_cuda": _torch_cuda(),
        "threads": {
            "cores": cores,
            "bound_to": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores,
            "usable": usable_cores(),
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        },
        "memory_bytes": memory,
        "memory_available_bytes": available,
        "disk_free_bytes": shutil.disk_usage(Path.cwd()).free,
        "disks": {"here": disk_type(Path.cwd()), "home": disk_type(Path.home())},
        "slurm": shutil.which("sbatch") is not None,
        "missing_extras": [
            {"package": package, "adds": adds, "install": f"pip install {shlex.quote(package)}"}
            for module, package, adds in EXTRAS
            if importlib.util.find_spec(module) is None
        ],
    }
    if None in found["versions"].values():
        found["self_test"] = {"passed": False, "correlation": None, "seconds": None, "fault": "packages are missing"}
    else:
        found["self_test"] = run_self_test()
    found["advice"] = traps_in(found)
    return found


def _echo(found: dict[str, Any]) -> None:
    threads = found["threads"]
    rows = [("python", f"{found['python']} on {found['platform']}")]
    rows += [(name, version or "missing") for name, version in found["versions"].items()]
    rows += [
        ("devices", ", ".join(found["devices"]) or "none: torch is missing"),
        ("CPU threads", f"{threads['usable']} usable of {threads['cores']}"),
        ("memory", f"{size(found['memory_available_bytes'])} free of {size(found['memory_bytes'])}"),
        ("disk here", f"{size(found['disk_free_bytes'])} free ({found['disks']['here'] or 'type unknown'})"),
        ("Slurm", "sbatch is there" if found["slurm"] else "none"),
    ]
    echo_table(("what", "found"), rows)
    click.echo("")
    click.echo(f"self-test: {_outcome(found['self_test'])}")
    for extra in found["missing_extras"]:
        click.echo(f"optional, not installed: {extra['package']}, for {extra['adds']}: {extra['install']}")
    for text in found["advice"]:
        click.echo(f"advice: {text}")


def _outcome(test: dict[str, Any]) -> str:
    if test["correlation"] is None:
        return f"not passed: {test['fault']}"
    how = f"a fit of {N_UNITS} simulated units agrees with the known connections to r = {test['correlation']:.2f}"
    if test["passed"]:
        return f"passed: {how} in {test['seconds']:.1f} s"
    return f"not passed: {how}, expected at least {LEAST_CORRELATION}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    """What --device can name, with the model of each GPU."""
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def _torch_cuda() -> str | None:
    """The CUDA that torch was built for."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch.version.cuda
