"""The memory plan: what it counts, that the fit keeps to it, and that running out changes nothing but the time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from spikefit.errors import DeviceError
from spikefit.fitting import design as design_module
from spikefit.fitting import loop as loop_module
from spikefit.fitting.design import Design
from spikefit.fitting.fit import fit_network
from spikefit.fitting.glm import fit_glm
from spikefit.fitting.glm_fit import glm_log_likelihood
from spikefit.fitting.loop import Loop, LoopSettings, judge
from spikefit.fitting.memory import FitSize, halving, out_of_memory, plan_memory
from spikefit.fitting.windows import Windows
from spikefit.prob.single import single_spike_estimator
from spikefit.spikes import Counts

SIZE = FitSize(
    n_units=100,
    n_bins=720_000,
    n_spikes=1_000_000,
    count_bytes=1,
    n_functions=5,
    n_lags=20,
    n_traces=4,
    n_hidden=8,
    n_restarts=3,
    n_draws=2,
    batch_windows=32,
)
GB = 1 << 30


# -- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [GB // 4, GB // 2, GB, 4 * GB, 64 * GB])
def test_a_plan_stays_below_its_limit_and_uses_what_there_is(limit: int) -> None:
    plan = plan_memory(SIZE, limit)
    assert plan.total_bytes <= limit
    richer = plan_memory(SIZE, 2 * limit)
    assert richer.cache_bytes >= plan.cache_bytes
    assert richer.part_windows >= plan.part_windows


def test_a_fit_that_needs_more_than_the_limit_is_planned_as_small_as_can_be() -> None:
    plan = plan_memory(SIZE, 1 << 20)
    assert plan.total_bytes > plan.limit_bytes
    assert (plan.cache_bytes, plan.part_windows, plan.block_bins) == (0, 1, 64)


def test_ten_times_the_recording_takes_ten_times_the_counts_and_nothing_else() -> None:
    plan = plan_memory(SIZE, 2 * GB)
    longer = plan_memory(dataclasses.replace(SIZE, n_bins=10 * SIZE.n_bins), 2 * GB)
    assert longer.counts_bytes == 10 * plan.counts_bytes
    assert (longer.part_bytes, longer.block_bytes) == (plan.part_bytes, plan.block_bytes)


def test_the_fit_obeys_the_plan(
    small_counts: Counts, tiny_settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hardly any memory no features are kept and windows come one by one."""
    widest: dict[str, int] = {}
    features = design_module.history_features

    def made(counts: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
        widest["bins"] = max(widest.get("bins", 0), counts.shape[-1] - len(basis))
        return features(counts, basis)

    monkeypatch.setattr(design_module, "history_features", made)
    monkeypatch.setattr(Loop, "_accumulate", watching(Loop._accumulate, lambda part: widest.update(part=part)))
    rich = fit_network(small_counts, tiny_settings(), device=torch.device("cpu"))
    assert widest["bins"] > 64
    widest.clear()
    poor = fit_network(small_counts, tiny_settings(memory_limit=1000), device=torch.device("cpu"))
    assert widest["bins"] <= 64
    np.testing.assert_allclose(poor.coupling_filters, rich.coupling_filters, rtol=0, atol=0.02)
    assert poor.metrics["heldout_nats_per_bin"] == pytest.approx(rich.metrics["heldout_nats_per_bin"], rel=1e-4)
    hidden = tiny_settings(hidden=(1,), restarts=1, memory_limit=1000)
    fit_network(small_counts, hidden, device=torch.device("cpu"))
    assert widest["part"] == 1


def watching(function: Callable[..., Any], tell: Callable[[int], None]) -> Callable[..., Any]:
    def wrapped(self: Loop, which: torch.Tensor, n_scored: int, seed: int, part_windows: int) -> Any:
        tell(part_windows)
        return function(self, which, n_scored, seed, part_windows)

    return wrapped


# -- running out -----------------------------------------------------------------------------------------------------


def test_a_limit_that_was_not_kept_is_told(small_counts: Counts, tiny_settings: Callable[..., Any]) -> None:
    cpu = torch.device("cpu")
    for limit, told in ((1024, 1), (GB, 0), (None, 0)):
        notes = fit_network(small_counts, tiny_settings(memory_limit=limit), device=cpu).notes
        assert sum("the memory limit is 1 KB, and this fit cannot do with less than" in note for note in notes) == told


def test_faults_that_mean_memory_are_known_from_others() -> None:
    cpu = RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried …")
    assert out_of_memory(cpu)
    assert out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_real_refusal_of_the_allocator_is_known() -> None:
    with pytest.raises(RuntimeError) as fault:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(fault.value)


def test_halving_goes_on_until_it_fits_and_says_when_it_never_does() -> None:
    tried: list[int] = []

    def work(size: int) -> str:
        tried.append(size)
        if size > 3:
            raise MemoryError
        return "done"

    assert halving(work, 20, what="a test") == ("done", 2)
    assert tried == [20, 10, 5, 2]
    with pytest.raises(DeviceError, match="a test: the memory is not enough, even in the smallest pieces") as fault:
        halving(work, 20, least=4, what="a test")
    assert fault.value.exit_code == 5
    assert "--dry-run" in str(fault.value.hint)


def test_other_faults_are_not_swallowed() -> None:
    def broken(size: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        halving(broken, 8, what="a test")


@pytest.fixture
def make_loop(make_model: Callable[..., Any], segmented: Callable[..., Counts]) -> Callable[..., Loop]:
    def make(part_windows: int, estimator: str = "eat-cubic", posterior: str = "forward-backward") -> Loop:
        model = make_model(3, 2, n_restarts=2, family="categorical", posterior=posterior, dtype=torch.float64, n_lags=3)
        counts = segmented([400, 300])
        usable = np.array([[3, 400], [403, 700]])
        windows = Windows(
            torch.from_numpy(np.ascontiguousarray(counts.counts.T)),
            counts.segment_offsets,
            usable,
            context=model.context,
            core_bins=60,
            dtype=torch.float64,
        )
        return Loop(
            model,
            windows,
            estimator=single_spike_estimator(estimator, temperature=0.5),
            settings=LoopSettings(learning_rate=0.05, n_draws=2, ridge=1.0, batch_windows=6, part_windows=part_windows),
            generator=torch.Generator().manual_seed(1),
            shuffle=torch.Generator().manual_seed(2),
            name_unit=str,
        )

    return make


@pytest.mark.parametrize(
    ("estimator", "posterior"),
    [
        ("eat-cubic", "forward-backward"),
        ("score", "forward-backward"),
        ("exact", "forward"),
        ("eat-cubic", "forward-self"),
    ],
)
def test_the_gradients_of_the_parts_add_up_to_those_of_the_step(
    make_loop: Callable[..., Loop], estimator: str, posterior: str
) -> None:
    which = torch.tensor([4, 0, 7, 2, 9, 5])

    def gradients(part_windows: int, seed: int = 11) -> tuple[torch.Tensor, list[torch.Tensor]]:
        loop = make_loop(part_windows, estimator, posterior)
        total = loop.add_gradients(which, seed)
        return total, [p.grad.clone() for p in loop.model.parameters() if p.grad is not None]

    total, whole = gradients(6)
    for part_windows in (1, 4):
        same_total, added = gradients(part_windows)
        torch.testing.assert_close(total, same_total, rtol=1e-10, atol=1e-10)
        for one, other in zip(whole, added, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    _, otherwise = gradients(6, seed=12)  # other draws are another step: the comparison can see
    assert max((a - b).abs().max().item() for a, b in zip(whole, otherwise, strict=True)) > 1e-4


def test_a_step_that_runs_out_of_memory_is_done_again_in_halves_with_the_same_result(
    make_loop: Callable[..., Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    untroubled = make_loop(6)
    expected = untroubled.epoch(1.0, 1.0)
    tight = make_loop(6)
    sizes: list[int] = []
    real = loop_module.elbo

    def scarce(model: Any, batch: Any, draw: Any, kernels: Any = None) -> Any:
        sizes.append(len(batch.counts))
        bound = real(model, batch, draw, kernels)
        if len(batch.counts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return bound

    monkeypatch.setattr(loop_module, "elbo", scarce)
    found = tight.epoch(1.0, 1.0)
    assert sizes[:2] == [6, 3]
    assert max(sizes[2:]) == 1  # it has learned
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    for one, other in zip(untroubled.model.parameters(), tight.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
    judged = judge(tight.model, tight.windows)
    monkeypatch.setattr(loop_module, "elbo", real)
    torch.testing.assert_close(judged, judge(tight.model, tight.windows))


def test_the_fit_without_hidden_units_goes_on_with_smaller_blocks(
    segmented: Callable[..., Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = segmented([900, 700], n_units=4)
    by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
    ranges = np.array([[5, 900], [905, 1600]])
    basis = torch.rand(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def design() -> Design:
        return Design(by_unit, ranges, basis, cache_bytes=1 << 20)

    expected = fit_glm(design(), ridge=1.0, tolerance_nats=1e-9)
    real = design_module.history_features

    def scarce(padded: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
        if padded.shape[-1] - len(basis) > 300:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return real(padded, basis)

    monkeypatch.setattr(design_module, "history_features", scarce)
    tight = design()
    found = fit_glm(tight, ridge=1.0, tolerance_nats=1e-9)
    torch.testing.assert_close(found.weights, expected.weights, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.baseline, expected.baseline, rtol=0, atol=1e-4)
    nats = glm_log_likelihood(design(), found)
    monkeypatch.setattr(design_module, "history_features", real)
    torch.testing.assert_close(nats, glm_log_likelihood(design(), found))
