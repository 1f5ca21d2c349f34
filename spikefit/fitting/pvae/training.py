"""Training a Poisson VAE from its start to its end, in two phases.

    train    at a constant rate, until the score on the bins set aside stops rising or most epochs are spent
    anneal   the rate falls to zero

The divergence is charged little by little over the first steps: charged at once, it is cheapest not to say anything,
and a fit may never find out that it pays. What is judged are averaged parameters. The score is the log-likelihood of
units that the encoder was not shown, or the bound where no units are hidden in training. The parameters of the best
epoch are kept. Everything that the next epoch depends on is in `TrainingState` and
the tensors, so that a checkpoint between two epochs resumes to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from spikefit.fitting.pvae.data import LatentWindows
from spikefit.fitting.pvae.loop import PvaeLoop, judge

PATIENCE_STEPS = 600  # without a better score; on long recordings at least so many epochs:
LEAST_PATIENCE = 4
WARM_UP_EPOCHS = 3
BETA_STEPS = 500  # over which β rises; at most this share of all epochs:
BETA_SHARE = 0.2
ANNEAL_SHARE = 0.5  # of the epochs before it
MOST_CONSTANT_SHARE = 0.6  # of all epochs, so that the rate always has time to fall


@dataclass
class TrainingState:
    """Where training stands, beside the tensors; plain values only."""

    phase: str = "train"
    epoch: int = 0
    anneal_from: int = 0
    anneal_epochs: int = 0
    best_score: float = -math.inf
    best_epoch: int = 0
    rate_scale: float = 1.0
    converged: bool = False
    history: dict[str, list[float]] = field(default_factory=dict)


OnEpoch = Callable[[TrainingState, float], None]
Checkpoint = Callable[[dict[str, Tensor], dict[str, Any]], None]


class PvaeTraining:
    """Runs the phases.

    Args:
        loop: with the model at its start.
        choose: windows that judge.
        max_epochs: most epochs in all.
        min_epochs: fewest epochs at a constant rate and full β.
    """

    def __init__(self, loop: PvaeLoop, choose: LatentWindows, *, max_epochs: int, min_epochs: int = 10) -> None:
        self.loop, self.choose, self.max_epochs = loop, choose, max_epochs
        self.state = TrainingState()
        steps = -(-len(loop.windows) // loop.batch_windows)
        self.patience = max(LEAST_PATIENCE, -(-PATIENCE_STEPS // steps))
        self.beta_epochs = max(1, min(-(-BETA_STEPS // steps), round(BETA_SHARE * max_epochs)))
        self.min_epochs = self.beta_epochs + min_epochs
        self.best: dict[str, Tensor] = {}

    def run(self, *, on_epoch: OnEpoch, checkpoint: Checkpoint) -> None:
        """Train to the end; `checkpoint` is called after every epoch and may raise to stop."""
        while self.state.phase != "done":
            self._epoch()
            on_epoch(self.state, self.state.history["hidden_units"][-1])
            checkpoint(self.tensors(), asdict(self.state))
        with torch.no_grad():
            for name, parameter in self.loop.model.named_parameters():
                parameter.copy_(self.best[name])

    def _epoch(self) -> None:
        state = self.state
        now, then = state.epoch, state.epoch + 1
        objective = self.loop.epoch((self._rate(now), self._rate(then)), (self._beta(now), self._beta(then)))
        state.epoch += 1
        state.rate_scale = self.loop.rate_scale
        look = judge(self.loop.averaged, self.choose)
        for name, value in (("objective", objective), ("bound", look.bound), ("hidden_units", look.hidden_units)):
            state.history.setdefault(name, []).append(value)
        score = look.hidden_units if self.loop.settings.unit_dropout > 0 else look.bound
        # While β still rises it is another objective, whose best epoch is not what was asked for.
        if score > state.best_score or state.epoch <= self.beta_epochs:
            state.best_score, state.best_epoch = score, state.epoch
            self.best = {name: p.detach().clone() for name, p in self.loop.averaged.named_parameters()}
        self._turn()

    def _turn(self) -> None:
        """Go on to the next phase where it is time."""
        state = self.state
        if state.phase == "train":
            stalled = state.epoch - state.best_epoch >= self.patience and state.epoch >= self.min_epochs
            spent = state.epoch >= math.floor(MOST_CONSTANT_SHARE * self.max_epochs)
            if stalled or spent:
                state.phase, state.anneal_from, state.converged = "anneal", state.epoch, stalled
                left = self.max_epochs - state.epoch
                state.anneal_epochs = max(0, min(left, math.ceil(ANNEAL_SHARE * state.epoch)))
        if state.phase == "anneal" and state.epoch >= state.anneal_from + state.anneal_epochs:
            # A score that did not rise over the last third of the annealing would not rise any more.
            state.converged |= state.epoch - state.best_epoch >= state.anneal_epochs / 3 > 0
            state.phase = "done"

    def _rate(self, epoch: int) -> float:
        state = self.state
        if state.phase == "anneal":
            return max(0.0, 1 - (epoch - state.anneal_from) / state.anneal_epochs)
        return min(1.0, (epoch + 0.2) / WARM_UP_EPOCHS)

    def _beta(self, epoch: int) -> float:
        return min(1.0, epoch / self.beta_epochs)

    # -- state ---------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next epoch depends on."""
        return {**self.loop.tensors(), **{f"best/{name}": tensor for name, tensor in self.best.items()}}

    def load(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Put back what `tensors` and the state gave."""
        self.loop.load_tensors(tensors)
        self.state = TrainingState(**values)
        self.loop.rate_scale = self.state.rate_scale
        self.best = {name.removeprefix("best/"): t for name, t in tensors.items() if name.startswith("best/")}
