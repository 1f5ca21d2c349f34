"""One epoch of stochastic optimisation, and a look at how well it did.

The loop knows windows, an objective and an optimiser; what to do next is decided by whoever runs it (`training.py`).
Its whole state can be taken out and put back, so a run that was interrupted goes on to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikefit.errors import NotConvergedError
from spikefit.fitting.checkpoint import put_back, tensors_of
from spikefit.fitting.memory import halving
from spikefit.fitting.objective import elbo, hard_draws
from spikefit.fitting.processes import add_up, own_share
from spikefit.fitting.shrinking import adam_steps, shrink_groups
from spikefit.fitting.structure import Structure
from spikefit.fitting.windows import Windows
from spikefit.models.hidden_draws import EstimatorDraws
from spikefit.models.kernels import Kernels
from spikefit.models.poglm import POGLMNetwork
from spikefit.models.window_draws import WindowDraws, window_seed
from spikefit.prob.estimators import PathwiseDraws
from spikefit.prob.protocol import Draws, Estimator

MOST_STEPS = 64  # an epoch is one pass, or this many steps where a pass would take more
MOST_RETRIES = 3
JUDGE_BATCH_BINS = 8192
JUDGE_SEED = 20_240_101  # the same draws at every look, so that looks can be compared
JUDGE_DRAWS = 2

# Called when an epoch went wrong, to name what went wrong.
NameUnit = Callable[[int], str]


@dataclass(frozen=True)
class LoopSettings:
    """How to optimise.

    Attributes:
        learning_rate: Adam's largest step.
        n_draws: Monte-Carlo draws per window and step.
        ridge: penalty `ridge / 2 · Σ couplings²` in nats on the whole training data.
        batch_windows: windows per step.
        part_windows: windows computed at a time; their gradients add up to that of the step.
        hidden_sign: held for what hidden units do to others: `any`, `excitatory` or `inhibitory`.
        structure: what is held of the couplings between recorded units; None where nothing is.
        kernels: to compile the arithmetic of a step; None to run it as it is written.
    """

    learning_rate: float
    n_draws: int
    ridge: float
    batch_windows: int
    part_windows: int = 8
    hidden_sign: str = "any"
    structure: Structure | None = None
    kernels: Kernels | None = None


class Diverged(Exception):
    """A step went into NaN or out of all bounds."""


class _GuardedDraws(EstimatorDraws):
    """Estimators refuse what is no rate; here it is the sign that a step went wrong."""

    def draw(self, rate: Tensor, n_draws: int) -> Draws:
        _check(rate)
        return super().draw(rate, n_draws)

    def from_noise(self, rate: Tensor, noise: Tensor) -> PathwiseDraws:
        _check(rate)
        return super().from_noise(rate, noise)


def _check(rate: Tensor) -> None:
    if not bool((rate <= 1e9).all()):
        raise Diverged


class Loop:
    """Adam over windows.

    Args:
        model: trained in place.
        windows: what it is trained on.
        estimator: of gradients through hidden counts.
        settings: how to optimise.
        generator: source of the draws, on the model's device.
        shuffle: source of the order of the windows, on the CPU.
        name_unit: names a unit by its index, for messages.
        early_signs: where any sign is allowed, what the hidden units of every restart are held to in their effects on visible
            ones: 1 to excite, -1 to inhibit, 0 to neither; empty for none.
    """

    def __init__(
        self,
        model: POGLMNetwork,
        windows: Windows,
        *,
        estimator: Estimator,
        settings: LoopSettings,
        generator: torch.Generator,
        shuffle: torch.Generator,
        name_unit: NameUnit,
        early_signs: Sequence[int] = (),
    ) -> None:
        self.model, self.windows, self.estimator, self.settings = model, windows, estimator, settings
        self.generator, self.shuffle, self.name_unit = generator, shuffle, name_unit
        self.rate_scale, self.early_signs = 1.0, tuple(early_signs)
        self.part_windows = settings.part_windows
        self.optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
        self.optimizer.zero_grad()

    def epoch(self, start_rate: float, stop_rate: float) -> Float[Tensor, " restart"]:
        """Train for one epoch while the rate moves linearly between two shares of the largest.

        A step into NaN or infinity takes the epoch back, halves the rate for good, and tries again.

        Returns:
            The bound per scored bin on the training windows, as met on the way, without the counts' factorials.

        Raises:
            NotConvergedError: if that happened more than three times.
        """
        for _ in range(MOST_RETRIES + 1):
            before = {name: tensor.clone() for name, tensor in self.tensors().items()}
            try:
                objective = self._pass(start_rate, stop_rate)
            except Diverged:
                objective = None
            if objective is not None and bool(torch.isfinite(objective).all()) and self._finite():
                return objective
            culprit = self._culprit()
            self.load_tensors(before)
            self.rate_scale *= 0.5
        raise NotConvergedError(
            f"the fit diverged {MOST_RETRIES + 1} times, last at unit {culprit!r}, although the learning rate was "
            f"lowered to {self.settings.learning_rate * self.rate_scale:.2g}.",
            hint="look at that unit's spikes, leave it out with --drop-unit, or pass a smaller learning_rate",
        )

    def _pass(self, start_rate: float, stop_rate: float) -> Tensor:
        order = torch.randperm(len(self.windows), generator=self.shuffle)
        parts = order.split(self.settings.batch_windows)[:MOST_STEPS]
        total = self.model.baseline.new_zeros(self.model.n_restarts)
        n_scored = 0
        for step, which in enumerate(parts):
            share = start_rate + (stop_rate - start_rate) * (step + 0.5) / len(parts)
            seed = int(torch.randint(2**62, (), generator=self.shuffle))
            total += self.step(which, seed, self.settings.learning_rate * self.rate_scale * share)
            n_scored += self.windows.n_scored(which)
        return total / n_scored

    def step(self, which: Int[Tensor, " window"], seed: int, rate: float) -> Float[Tensor, " restart"]:
        """One step of the optimiser at a rate; gives the bound before it, summed over its windows.

        Args:
            which: windows of the step.
            seed: of its draws.
            rate: of learning.

        Raises:
            Diverged: where the bound is no number any more.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = self.add_gradients(which, seed)
        self.optimizer.step()
        self._hold_signs()
        self.model.hold_own_functions()  # before a pair is shrunk: what it may not use is no part of its size
        self._hold_structure()
        return total

    def add_gradients(self, which: Int[Tensor, " window"], seed: int) -> Float[Tensor, " restart"]:
        """Leave the gradients of a step in the parameters, and give the bound summed over its windows.

        However many windows are computed at a time, each has the draws that belong to it and the sum is the same.

        Args:
            which: windows of the step.
            seed: of its draws.
        """
        mine, n_scored = own_share(which), self.windows.n_scored(which)
        total, self.part_windows = halving(
            lambda size: self._accumulate(mine, n_scored, seed, size), self.part_windows, what="a training step"
        )
        gradients = []
        for parameter in self.model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        add_up([total, *gradients])
        if not bool(torch.isfinite(total).all()):
            raise Diverged
        self._penalty().backward()
        return total

    def _accumulate(self, which: Tensor, n_scored: int, seed: int, part_windows: int) -> Tensor:
        """The same for some of the windows of a step that scores so many bins; NaN where it has diverged."""
        self.optimizer.zero_grad()
        total = self.model.baseline.new_zeros(self.model.n_restarts)
        for part in which.split(part_windows) if len(which) else ():
            try:
                draws = WindowDraws(self._draws, _seeds(seed, part))
                bound = elbo(self.model, self.windows.batch(part), draws, self.settings.kernels)
            except Diverged:  # the other processes must hear of it
                return total.fill_(torch.nan)
            by_restart = bound.total.mean(0).sum(0)
            # Restarts share no parameter, so the gradient of their sum is each one's own.
            (-(by_restart.sum() + bound.correction) / n_scored).backward()
            total += by_restart.detach()
        return total

    def _draws(self, generator: torch.Generator) -> EstimatorDraws:
        return _GuardedDraws(
            self.estimator,
            self.model.family,
            self.settings.n_draws,
            generator,
            self.model.max_count,
            self.settings.kernels,
        )

    @torch.no_grad()
    def _hold_signs(self) -> None:
        """Put back what a step has moved to the wrong side of zero; basis functions are never negative."""
        sign, n_visible = self.settings.hidden_sign, self.model.n_visible
        to_visible, to_hidden = self.model.hidden_weights.split([n_visible, self.model.n_hidden], dim=1)
        if sign == "any":
            for effects, early in zip(to_visible, self.early_signs, strict=False):
                if early:
                    effects.clamp_(0.0, None) if early > 0 else effects.clamp_(None, 0.0)
            return
        low, high = (0.0, None) if sign == "excitatory" else (None, 0.0)
        to_visible.clamp_(low, high)
        # On one another, too; what a unit does to itself is refractoriness and has a sign of its own.
        own = to_hidden.unflatten(-1, (self.model.n_hidden, -1)).diagonal(dim1=1, dim2=2)
        kept = own.clone()
        to_hidden.clamp_(low, high)
        own.copy_(kept)

    @torch.no_grad()
    def _hold_structure(self) -> None:
        """Put what is known beforehand back in force on the couplings that recorded units send."""
        structure, n_functions = self.settings.structure, self.model.basis.shape[1]
        if structure is None:
            return
        weights = self.model.visible_weights
        structure.hold(weights, n_functions)
        state = self.optimizer.state.get(weights)
        if structure.group_lasso == 0 or not state:
            return
        (group,) = self.optimizer.param_groups
        n_visible = self.model.n_visible
        # The loss is per scored bin, so the penalty on the whole data is shared out over them.
        penalty = structure.corners(1 / self.windows.n_bins, n_functions).group_lasso.to(weights)
        received = weights[:, :n_visible].unflatten(-1, (n_visible, n_functions))
        steps = adam_steps(state, group["lr"])[:, :n_visible].unflatten(-1, (n_visible, n_functions))
        received.copy_(shrink_groups(received, steps, penalty.expand(len(weights), -1, -1)))

    def _penalty(self) -> Tensor:
        visible = self.model.visible_weights
        squares = visible.square().sum() + self.model.hidden_weights.square().sum()
        if self.settings.structure is not None:
            squares = squares - self.settings.structure.unpenalised(visible, self.model.basis.shape[1])
        return 0.5 * self.settings.ridge * squares / self.windows.n_bins

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.model.parameters())

    def _culprit(self) -> str:
        for parameter in (self.model.baseline, self.model.visible_weights, self.model.hidden_weights):
            for values in (parameter.detach(), parameter.grad):  # before the step it is still in the gradient alone
                if values is None:
                    continue
                broken = ~torch.isfinite(values.flatten(2) if values.ndim > 2 else values[..., None])
                if broken.any():
                    return self.name_unit(int(broken.any(-1).any(0).nonzero()[0]))
        return self.name_unit(self.model.n_visible)

    # -- state ---------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        out = tensors_of(self.model, self.optimizer)
        out["generator"], out["shuffle"] = self.generator.get_state(), self.shuffle.get_state()
        return out

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        self.generator.set_state(tensors["generator"].cpu())
        self.shuffle.set_state(tensors["shuffle"].cpu())
        put_back(tensors, self.model, self.optimizer)


def _seeds(seed: int, windows: Tensor) -> list[int]:
    return [window_seed(seed, window) for window in windows.tolist()]


@torch.no_grad()
def judge(
    model: POGLMNetwork, windows: Windows, *, n_draws: int = JUDGE_DRAWS, only: Int[Tensor, " some"] | None = None
) -> Float[Tensor, "window restart"]:
    """The bound in nats on every window, by whole hidden counts drawn from one fixed seed; factorials left out.

    Args:
        model: what is judged.
        windows: what it is judged by.
        n_draws: of every hidden count.
        only: windows to look at; the bounds of the others are zero then.
    """
    mine = own_share(torch.arange(len(windows)) if only is None else only)

    def look(n_windows: int) -> Tensor:
        values = model.baseline.new_zeros(len(windows), model.n_restarts, dtype=torch.float64)
        for which in mine.split(n_windows) if len(mine) else ():
            draws = WindowDraws(lambda g: hard_draws(model, n_draws, g), _seeds(JUDGE_SEED, which))
            values[which.to(values.device)] = elbo(model, windows.batch(which), draws).total.mean(0).double()
        return values

    values, _ = halving(look, max(1, JUDGE_BATCH_BINS // max(1, windows.core)), what="judging a fit")
    add_up([values])
    return values.cpu()
