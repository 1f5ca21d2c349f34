"""Choosing a device, on machines that have it and on those that do not."""

from __future__ import annotations

import pytest
import torch

from spikefit.errors import DeviceError
from spikefit.fitting.device import choose_device, float64_device


@pytest.fixture
def n_gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    n: int = getattr(request, "param", 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return n


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused_with_a_next_step(n_gpus: int) -> None:
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f"--device {name}: ") as refusal:
            choose_device(name)
        assert "--device cpu" in str(refusal.value.hint)
    with pytest.raises(DeviceError, match="no Metal GPU"):
        choose_device("mps")


@pytest.mark.parametrize("n_gpus", [2], indirect=True)
def test_with_gpus_they_are_numbered_from_0(n_gpus: int) -> None:
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="there are 2 CUDA GPUs, numbered from 0"):
        choose_device("cuda:2")


def test_float64_work_leaves_a_device_that_has_none() -> None:
    assert float64_device(torch.device("mps")) == torch.device("cpu")
    assert float64_device(torch.device("cuda")) == torch.device("cuda")
