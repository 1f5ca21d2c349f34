"""Checkpoint files: what goes in comes out, and those of other runs or other makers are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from spikefit.errors import ResultError
from spikefit.fitting.checkpoint import load_checkpoint, save_checkpoint

IDENTITY = {"data": "0123456789abcdef", "ridge": "1.0", "seed": "0"}
CPU = torch.device("cpu")


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {
        "model/baseline": torch.randn(2, 3),
        "best": torch.randn(4, dtype=torch.float64),
        "transposed": torch.randn(3, 5).T,
        "generator": torch.Generator().manual_seed(3).get_state(),
        "adam/step/baseline": torch.tensor(7.0),
    }


@pytest.fixture
def path(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "checkpoints" / "hidden-2.safetensors"
    save_checkpoint(path, tensors, {"phase": "train", "history": {"heldout": [0.1, -2.5e-7]}}, IDENTITY)
    return path


def test_what_goes_in_comes_out_bit_for_bit(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    found, values = load_checkpoint(path, IDENTITY, CPU)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    assert values == {"phase": "train", "history": {"heldout": [0.1, -2.5e-7]}}
    assert [child.name for child in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "fedcba9876543210"}, r"data: '0123456789abcdef' then, 'fedcba9876543210' now"),
        ({"ridge": "2.0"}, r"ridge: '1\.0' then, '2\.0' now"),
        ({"ridge": "2.0", "seed": "1"}, r"ridge: .*; seed: '0' then, '1' now"),
        ({"n_draws": "4"}, r"n_draws: None then, '4' now"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(
    path: Path, change: dict[str, str], words: str
) -> None:
    with pytest.raises(ResultError, match=f"belongs to another run \\({words}") as refusal:
        load_checkpoint(path, IDENTITY | change, CPU)
    assert "--overwrite" in str(refusal.value.hint)


@pytest.mark.parametrize("keep", [0, 5, 60, 400, -1])
def test_a_file_that_was_cut_is_refused(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ResultError, match=r"hidden-2\.safetensors: the checkpoint cannot be read"):
        load_checkpoint(path, IDENTITY, CPU)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    foreign = tmp_path / "model.safetensors"
    save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(ResultError, match="not a checkpoint of this version"):
        load_checkpoint(foreign, IDENTITY, CPU)
    with pytest.raises(ResultError, match="cannot be read"):
        load_checkpoint(tmp_path, IDENTITY, CPU)


def test_writing_again_replaces_the_file(path: Path) -> None:
    save_checkpoint(path, {"x": torch.ones(1)}, {"phase": "done"}, IDENTITY)
    tensors, values = load_checkpoint(path, IDENTITY, CPU)
    assert list(tensors) == ["x"]
    assert values == {"phase": "done"}
