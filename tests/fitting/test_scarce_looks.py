"""Looks at a trained model when the memory runs out, and in several processes: the same numbers, from smaller pieces."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.errors import DeviceError
from spikefit.fitting import expected as expected_module
from spikefit.fitting import iwae as iwae_module
from spikefit.fitting import posterior as posterior_module
from spikefit.fitting import processes
from spikefit.fitting.expected import judged_bins
from spikefit.fitting.iwae import iwae_nats
from spikefit.fitting.posterior import posterior_counts
from spikefit.fitting.problem import Problem, pose_problem
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.spikes import Counts

FAMILIES = ["poisson", "categorical"]
MOST_WINDOWS = 3


@pytest.fixture
def problem(segmented: Callable[..., Counts], tiny_settings: Callable[..., Any]) -> Problem:
    return pose_problem(segmented([900, 700]), tiny_settings(hidden=(2,)), torch.device("cpu"))


def looked_at(problem: Problem) -> Windows:
    return problem.windows(problem.split.everything, 60)


def model_for(problem: Problem, family: str, make_model: Callable[..., POGLMNetwork]) -> POGLMNetwork:
    n_lags, n_functions = problem.basis.shape
    return make_model(3, 2, n_lags=n_lags, n_functions=n_functions, family=family, dtype=torch.float32)


def scarce(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, sizes: list[int], most: int) -> None:
    """Let the memory run out wherever more than so many windows are worked on at a time."""
    real = getattr(module, name)

    def wrapped(*args: Any) -> Any:
        (batch,) = (a for a in args if hasattr(a, "counts") and hasattr(a, "scored"))
        sizes.append(len(batch.counts))
        if len(batch.counts) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(*args)

    monkeypatch.setattr(module, name, wrapped)


LOOKS: dict[str, tuple[ModuleType, str, Callable[[Problem, POGLMNetwork], Any]]] = {
    "iwae": (iwae_module, "log_weights", lambda p, m: iwae_nats(m, looked_at(p), n_draws=12).numpy()),
    "posterior": (posterior_module, "_log_rates", lambda p, m: posterior_counts(m, looked_at(p))[1]),
    "expected": (expected_module, "_with_hidden", lambda p, m: judged_bins(p, m).expected_count),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("look", list(LOOKS))
def test_a_look_that_runs_out_of_memory_goes_on_in_smaller_pieces(
    look: str,
    family: str,
    problem: Problem,
    make_model: Callable[..., POGLMNetwork],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, name, work = LOOKS[look]
    monkeypatch.setattr(expected_module, "HELDOUT_CORE_BINS", 60)
    model = model_for(problem, family, make_model)
    untroubled = work(problem, model)
    sizes: list[int] = []
    scarce(monkeypatch, module, name, sizes, MOST_WINDOWS)
    found = work(problem, model)
    assert sizes[0] > MOST_WINDOWS
    assert sizes[-1] <= MOST_WINDOWS
    np.testing.assert_allclose(found, untroubled, rtol=2e-6, atol=1e-7)
    scarce(monkeypatch, module, name, sizes, 0)
    with pytest.raises(DeviceError, match="even in the smallest pieces"):
        work(problem, model)


def test_bins_and_activity_belong_together(problem: Problem, make_model: Callable[..., POGLMNetwork]) -> None:
    """Windows of another length give the same activity in the same bins."""
    model = model_for(problem, "categorical", make_model)
    bins, expected = posterior_counts(model, looked_at(problem))
    other_bins, other = posterior_counts(model, problem.windows(problem.split.everything, 200))
    assert np.array_equal(bins, other_bins)
    np.testing.assert_allclose(expected, other, rtol=1e-4, atol=1e-6)
    assert np.abs(expected[1:] - other[:-1]).max() > 0.01  # a bin too late is told apart


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shares_of_several_processes_add_up_to_the_bound(
    family: str, problem: Problem, make_model: Callable[..., POGLMNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, windows = model_for(problem, family, make_model), looked_at(problem)
    whole = iwae_nats(model, windows, n_draws=12)
    seen = []
    total = torch.zeros_like(whole)
    real = iwae_module.log_weights

    def counted(model: POGLMNetwork, batch: Any, draw: Any) -> Tensor:
        seen.append(len(batch.counts))
        return real(model, batch, draw)

    monkeypatch.setattr(iwae_module, "log_weights", counted)
    monkeypatch.setattr(iwae_module, "add_up", lambda tensors: None)
    for rank in range(3):
        monkeypatch.setattr(processes, "place", lambda rank=rank: (rank, 3))
        share = iwae_nats(model, windows, n_draws=12)
        assert (share == 0).any()
        total += share
    assert sum(seen) == 2 * len(windows)  # in two calls for so many draws
    torch.testing.assert_close(total, whole, rtol=2e-6, atol=1e-6)
