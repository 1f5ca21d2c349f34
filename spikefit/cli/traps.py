"""The common traps of a computer, for `spikefit doctor`: each is a sentence that says what is wrong and the way out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

LITTLE_DISK_BYTES = 2 * 1024**3
LITTLE_MEMORY_BYTES = 1024**3
NETWORK_DISKS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "lustre", "gpfs", "beegfs", "afs", "9p"}
)
_NVIDIA, _DISPLAY_CLASS = "0x10de", "0x03"

Found = dict[str, Any]


def traps_in(found: Found) -> list[str]:
    """All traps in what `examine` found."""
    return [text for look in _TRAPS for text in look(found)]


def disk_type(path: Path, mounts: str | None = None) -> str | None:
    """The type of the file system a path lies on (ext4, nfs4, …); None where the system does not tell.

    Args:
        path: need not be there.
        mounts: what /proc/mounts says, for tests.
    """
    try:
        text = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace") if mounts is None else mounts
        real = path.resolve()
    except (OSError, RuntimeError):
        return None
    best, kind = -1, None
    for line in text.splitlines():
        parts = line.split()
        if len(parts) < 3:
            continue
        place = Path(parts[1].replace("\\040", " "))  # mounts writes a blank so
        if (real == place or place in real.parents) and len(place.parts) >= best:
            best, kind = len(place.parts), parts[2]
    return kind


def has_nvidia_gpu(pci: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether there is an NVIDIA GPU in the computer, with or without a driver."""
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None:
        return True
    for device in pci.glob("*"):
        try:
            if (device / "vendor").read_text().strip() == _NVIDIA and (device / "class").read_text().startswith(
                _DISPLAY_CLASS
            ):
                return True
        except OSError:
            continue
    return False


def size(n_bytes: int | None) -> str:
    """Bytes for people."""
    return "unknown" if n_bytes is None else f"{n_bytes / 1024**3:.1f} GiB"


def _missing(found: Found) -> list[str]:
    return [f"{name} is missing: pip install {name}" for name, version in found["versions"].items() if version is None]


def _gpu(found: Found) -> list[str]:
    devices = found["devices"]
    if not devices or any(device.startswith("cuda") for device in devices) or not has_nvidia_gpu():
        return []
    if found["torch_cuda"] is None:
        return [
            "this computer has an NVIDIA GPU, but this torch is built for the CPU alone: install one built for CUDA"
        ]
    return [
        f"this computer has an NVIDIA GPU, but torch (built for CUDA {found['torch_cuda']}) cannot use it: look whether "
        "nvidia-smi shows it, and whether the driver is new enough"
    ]


def _answer(found: Found) -> list[str]:
    test = found["self_test"]
    if test["correlation"] is None or test["passed"]:
        return []
    return [
        "the self-test gives a wrong answer: install the versions in constraints.txt, and report it if that does not help"
    ]


def _threads(found: Found) -> list[str]:
    threads = found["threads"]
    wanted, usable = threads["omp_num_threads"], threads["usable"]
    advice = []
    if wanted and wanted.isdigit() and int(wanted) > usable:
        advice.append(
            f"OMP_NUM_THREADS is {wanted}, but {usable} CPUs may be used: more threads than CPUs slow a fit down"
        )
    if not wanted and usable < threads["bound_to"]:
        advice.append(
            f"this job or container may use {usable} of {threads['bound_to']} CPUs, and libraries start a thread for each: "
            f"export OMP_NUM_THREADS={usable}, or pass --threads {usable}"
        )
    load = threads["load"]
    if load is not None and load > 1.5 * threads["cores"]:
        advice.append(
            f"this computer is busy (load {load:.1f} on {threads['cores']} CPUs): fits will take longer than estimated"
        )
    return advice


def _space(found: Found) -> list[str]:
    advice = []
    free, available = found["disk_free_bytes"], found["memory_available_bytes"]
    if free < LITTLE_DISK_BYTES:
        advice.append(f"only {size(free)} of disk are free here: write results elsewhere with -o")
    if available is not None and available < LITTLE_MEMORY_BYTES:
        advice.append(f"only {size(available)} of memory are free: --dry-run tells what a fit needs")
    return advice


def _network_disks(found: Found) -> list[str]:
    advice = []
    kinds = found["disks"]
    if kinds["home"] in NETWORK_DISKS:
        advice.append(
            f"the home folder is on a network disk ({kinds['home']}): imports are slow there; keep the Python environment "
            "on a local disk where you can"
        )
    if kinds["here"] in NETWORK_DISKS and os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() not in ("FALSE", "0"):
        advice.append(
            f"this folder is on a network disk ({kinds['here']}): where opening HDF5 files fails or hangs, "
            "export HDF5_USE_FILE_LOCKING=FALSE"
        )
    return advice


def _hdf5_plugins(found: Found) -> list[str]:
    places = [place for place in os.environ.get("HDF5_PLUGIN_PATH", "").split(os.pathsep) if place]
    advice = []
    for place in places:
        if not Path(place).is_dir():
            advice.append(f"HDF5_PLUGIN_PATH names {place}, which is no folder: unset it, or mend it")
        elif any(Path(place).glob("*.so*")) or any(Path(place).glob("*.dll")):
            advice.append(
                f"HDF5_PLUGIN_PATH makes HDF5 load filters from {place}; those of another program or an older HDF5 make "
                "compressed files unreadable: where that happens, unset it and pip install hdf5plugin"
            )
    return advice


_TRAPS: tuple[Callable[[Found], list[str]], ...] = (
    _missing,
    _gpu,
    _answer,
    _threads,
    _space,
    _network_disks,
    _hdf5_plugins,
)
