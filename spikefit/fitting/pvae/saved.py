"""A fitted Poisson VAE as one file: its tensors, and beside them what they are for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from spikefit.errors import ResultError
from spikefit.models.pvae.network import PVAE, Shape

FORMAT = "spikefit-pvae-1"
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True, eq=False)
class LatentModel:
    """A fitted network and what it was fitted to.

    Attributes:
        network: with its parameters.
        unit_ids: of its units, in its order.
        bin_width_s: of its bins.
        config: the settings of the fit, as plain values.
    """

    network: PVAE
    unit_ids: tuple[str, ...]
    bin_width_s: float
    config: Mapping[str, Any]


def model_bytes(model: LatentModel) -> bytes:
    """The file's content."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    about = {
        "shape": dataclasses.asdict(model.network.shape),
        "unit_ids": list(model.unit_ids),
        "bin_width_s": model.bin_width_s,
        "config": dict(model.config),
    }
    return save(tensors, metadata={"format": FORMAT, "about": json.dumps(about)})


def load_model(path: Path, device: torch.device) -> LatentModel:
    """Read a model.

    Args:
        path: the folder that `spikefit pvae fit` left, or its model file.
        device: where to compute.

    Raises:
        ResultError: if it is not there, cannot be read, or is no Poisson VAE.
    """
    from safetensors import SafetensorError, safe_open

    file_path = path / MODEL_FILE if path.is_dir() else path
    if not file_path.is_file():
        raise ResultError(
            f"{path}: there is no model here ({MODEL_FILE} is missing).",
            hint="pass the folder that `spikefit pvae fit` wrote",
        )
    try:
        with safe_open(file_path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ResultError(
                    f"{file_path}: not a Poisson VAE of this version of spikefit "
                    f"(it says {metadata.get('format')!r}, expected {FORMAT!r}).",
                    hint="pass the folder that `spikefit pvae fit` wrote",
                )
            about = json.loads(metadata["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        shape = Shape(**about["shape"])
        ones = torch.ones(shape.n_units)
        network = PVAE(shape, mean_count=ones, scale=ones, generator=torch.Generator().manual_seed(0))
        # Models from before these were learnt have none, and go without correction.
        own = network.state_dict()
        network.load_state_dict({name: own[name] for name in ("unseen_gain", "unseen_offset")} | tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as fault:
        raise ResultError(f"{file_path}: the model cannot be read ({fault}).", hint="fit it again") from fault
    return LatentModel(network.to(device), tuple(about["unit_ids"]), float(about["bin_width_s"]), about["config"])
