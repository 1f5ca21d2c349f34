"""One epoch of optimisation: it can be taken back, it recovers from NaN, and it says who broke it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spikefit.errors import NotConvergedError
from spikefit.fitting.loop import MOST_RETRIES, Loop, LoopSettings, judge
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob import get_estimator
from spikefit.prob.estimators import PathwiseDraws
from spikefit.prob.protocol import Estimator

UNITS = ("g1", "g2", "g3", "hidden-0")


@dataclass
class Faulty:
    """The usual estimator, but some of its draws are NaN."""

    bad: Callable[[int], bool]
    calls: int = 0
    name: str = "faulty"
    whole_counts: bool = False
    needs_effect: bool = False
    min_draws: int = 1

    def draw(self, expected_count: Tensor, *, n_draws: int, generator: torch.Generator | None = None) -> PathwiseDraws:
        usual = get_estimator("eat-cubic").draw(expected_count, n_draws=n_draws, generator=generator)
        self.calls += 1
        counts = usual.counts * torch.nan if self.bad(self.calls) else usual.counts
        return PathwiseDraws(counts)


@pytest.fixture
def make_loop(make_model: Callable[..., POGLMNetwork], segmented: Callable[..., Any]) -> Callable[..., Loop]:
    def make(
        estimator: Estimator | None = None,
        *,
        n_restarts: int = 2,
        n_hidden: int = 1,
        hidden_sign: str = "any",
        **rest: Any,
    ) -> Loop:
        model = make_model(3, n_hidden, n_lags=3, n_restarts=n_restarts, dtype=torch.float32)
        counts = segmented([400, 300])
        usable = np.array([[3, 400], [403, 700]])
        by_unit = torch.from_numpy(np.ascontiguousarray(counts.counts.T))
        windows = Windows(by_unit, counts.segment_offsets, usable, context=model.context, core_bins=60)
        return Loop(
            model,
            windows,
            estimator=estimator or get_estimator("eat-cubic"),
            settings=LoopSettings(learning_rate=0.05, n_draws=2, ridge=1.0, batch_windows=3, hidden_sign=hidden_sign),
            generator=torch.Generator().manual_seed(1),
            shuffle=torch.Generator().manual_seed(2),
            name_unit=lambda index: UNITS[index],
            **rest,
        )

    return make


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_an_epoch_that_is_taken_back_repeats_bit_for_bit(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    start = {name: tensor.clone() for name, tensor in loop.tensors().items()}
    objectives = [loop.epoch(1.0, 1.0)]
    after = {name: tensor.clone() for name, tensor in loop.tensors().items()}
    assert not same(start, after)
    for _ in range(2):
        loop.load_tensors(start)
        assert same(start, loop.tensors())
        objectives.append(loop.epoch(1.0, 1.0))
        assert same(after, loop.tensors())
    assert torch.equal(objectives[0], objectives[1])
    loop.epoch(1.0, 1.0)
    assert not same(after, loop.tensors())


def test_state_moves_to_a_new_loop(make_loop: Callable[..., Loop]) -> None:
    first, second = make_loop(), make_loop()
    first.epoch(0.1, 1.0)
    second.load_tensors(first.tensors())
    for loop in (first, second):
        loop.epoch(1.0, 0.5)
    assert same(first.tensors(), second.tensors())


def test_training_raises_the_bound(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    before = judge(loop.model, loop.windows).sum(0)
    for _ in range(15):
        loop.epoch(1.0, 1.0)
    after = judge(loop.model, loop.windows).sum(0)
    assert (after > before + 10).all()


def test_restarts_learn_as_if_they_were_alone(make_loop: Callable[..., Loop]) -> None:
    """With nothing left to chance, two restarts that start alike stay alike, and a third does not disturb them."""

    class Mean(Faulty):
        def draw(self, expected_count: Tensor, *, n_draws: int, generator: Any = None) -> PathwiseDraws:
            return PathwiseDraws(expected_count.expand(n_draws, *expected_count.shape))

    loop = make_loop(Mean(lambda call: False), n_restarts=3)
    with torch.no_grad():
        for parameter in loop.model.parameters():
            parameter[1] = parameter[0]
    for _ in range(3):
        loop.epoch(1.0, 1.0)
    for parameter in loop.model.parameters():
        torch.testing.assert_close(parameter[0], parameter[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(loop.model.baseline[0], loop.model.baseline[2])


def test_one_step_into_nan_is_taken_back_and_tried_at_half_the_rate(make_loop: Callable[..., Loop]) -> None:
    faulty = make_loop(Faulty(bad=lambda call: call == 2))
    objective = faulty.epoch(1.0, 1.0)
    assert torch.isfinite(objective).all()
    assert faulty.rate_scale == 0.5
    # It is as if the epoch had been run at half the rate from the start: the same draws, the same order.
    careful = make_loop()
    careful.rate_scale = 0.5
    careful.epoch(1.0, 1.0)
    assert same(faulty.tensors(), careful.tensors())


def test_a_fault_in_the_first_epoch_leaves_no_trace_in_the_optimiser(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(Faulty(bad=lambda call: call == 1))
    loop.epoch(1.0, 1.0)
    n_steps = -(-len(loop.windows) // loop.settings.batch_windows)
    steps = {tensor.item() for name, tensor in loop.tensors().items() if name.startswith("adam/step")}
    assert steps == {n_steps}


def test_nan_without_end_is_an_error_that_names_a_unit_and_the_rate(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(Faulty(bad=lambda call: True))
    before = {name: tensor.clone() for name, tensor in loop.tensors().items()}
    with pytest.raises(NotConvergedError, match=r"diverged 4 times, last at unit 'g1'.*lowered to 0\.0031") as fault:
        loop.epoch(1.0, 1.0)
    assert MOST_RETRIES == 3
    assert "--drop-unit" in str(fault.value.hint)
    assert same(before, loop.tensors())  # the parameters are those from before the trouble


def test_the_unit_that_broke_is_the_one_that_is_named(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop()
    poison = torch.zeros_like(loop.model.baseline)
    poison[1, 2] = torch.nan
    loop.model.baseline.register_hook(lambda gradient: gradient + poison)
    with pytest.raises(NotConvergedError, match="'g3'"):
        loop.epoch(1.0, 1.0)


def test_the_rate_moves_between_the_two_shares(make_loop: Callable[..., Loop]) -> None:
    still = make_loop()
    before = {name: tensor.clone() for name, tensor in still.tensors().items() if name.startswith("model/")}
    still.epoch(0.0, 0.0)
    assert all(torch.equal(before[name], still.tensors()[name]) for name in before)
    loop = make_loop()
    loop.epoch(1.0, 0.0)
    assert 0 < loop.optimizer.param_groups[0]["lr"] < 0.2 * loop.settings.learning_rate


def test_hidden_units_can_be_held_to_exciting(make_loop: Callable[..., Loop]) -> None:
    loop = make_loop(early_signs=(1, 1))
    loop.epoch(1.0, 1.0)
    assert (loop.model.hidden_weights[:, :3] >= 0).all()
    other = make_loop(early_signs=(-1, 1))
    other.epoch(1.0, 1.0)
    assert (other.model.hidden_weights[0, :3] <= 0).all()
    assert (other.model.hidden_weights[1, :3] >= 0).all()
    free = make_loop()
    free.epoch(1.0, 1.0)
    assert (free.model.hidden_weights[:, :3] < 0).any()


@pytest.mark.parametrize(("sign", "of"), [("excitatory", 1.0), ("inhibitory", -1.0)])
def test_the_sign_of_hidden_units_is_held_for_all_but_themselves(
    make_loop: Callable[..., Loop], sign: str, of: float
) -> None:
    loop = make_loop(n_hidden=2, hidden_sign=sign, early_signs=(1, 1))
    own_before = loop.model.hidden_weights.detach()[:, 3:].unflatten(-1, (2, -1)).diagonal(dim1=1, dim2=2).clone()
    loop.epoch(1.0, 1.0)
    by_sender = loop.model.hidden_weights.detach().unflatten(-1, (2, -1))  # (restart, post, pre, function)
    assert (of * by_sender[:, :3] >= 0).all()
    assert (of * by_sender[:, 3, 1] >= 0).all()
    assert (of * by_sender[:, 4, 0] >= 0).all()
    own = by_sender[:, 3:].diagonal(dim1=1, dim2=2)
    assert (own > 0).any()
    assert (own < 0).any()  # what a unit does to itself is free
    assert (own - own_before).abs().max() < 1.0  # and only moved as far as the steps took it
