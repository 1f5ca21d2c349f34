"""Checkpoints of a fit: tensors as safetensors, plain values as JSON inside the same file.

One file holds everything, so it is whole or not there. It carries a digest of data and settings; a checkpoint that
belongs to others is refused, with what differs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikefit.errors import ResultError
from spikefit.files import replacing

FORMAT = "spikefit-checkpoint-1"


def tensors_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """A model's parameters, and what Adam remembers of each."""
    out = {f"model/{name}": parameter.detach() for name, parameter in model.named_parameters()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            out[f"adam/{key}/{name}"] = value
    return out


@torch.no_grad()
def put_back(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give a model and its Adam what `tensors_of` kept of them."""
    for name, parameter in model.named_parameters():
        parameter.copy_(tensors[f"model/{name}"])
        keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"adam/{key}/{name}" in tensors]
        # Adam counts its steps on the CPU.
        optimizer.state[parameter] = {
            key: tensors[f"adam/{key}/{name}"].clone().to("cpu" if key == "step" else parameter.device) for key in keys
        }
        if not keys:
            optimizer.state.pop(parameter)


def save_checkpoint(path: Path, tensors: dict[str, Tensor], values: dict[str, Any], identity: dict[str, str]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        tensors: by name, on any device.
        values: plain values.
        identity: what the fit depends on (data, settings), each as a text that two equal runs share.
    """
    from safetensors.torch import save_file

    on_cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "values": json.dumps(values), "identity": json.dumps(identity)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        save_file(on_cpu, scratch, metadata=metadata)


def load_checkpoint(
    path: Path, identity: dict[str, str], device: torch.device
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint back.

    Raises:
        ResultError: if the file cannot be read, or belongs to other data or settings.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ResultError(f"{path}: not a checkpoint of this version of spikefit.", hint="run without --resume")
            found = json.loads(metadata["identity"])
            differing = sorted(k for k in identity.keys() | found.keys() if identity.get(k) != found.get(k))
            if differing:
                told = "; ".join(f"{k}: {found.get(k)!r} then, {identity.get(k)!r} now" for k in differing)
                raise ResultError(
                    f"{path}: the checkpoint belongs to another run ({told}).",
                    hint="resume with the data and settings it was made with, or start anew with --overwrite",
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            values = json.loads(metadata["values"])
    except (OSError, SafetensorError, ValueError, KeyError) as fault:
        raise ResultError(f"{path}: the checkpoint cannot be read ({fault}).", hint="run without --resume") from fault
    # Generators keep their state on the CPU; everything else goes where it is used.
    kept = ("generator", "shuffle", "best")
    return {n: t if n in kept or "/step/" in n else t.to(device) for n, t in tensors.items()}, values
