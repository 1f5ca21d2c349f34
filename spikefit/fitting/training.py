"""Training a POGLM from its start to convergence, in phases.

    search   all restarts, with more hidden units than asked for; then restarts that fall behind go
    train    what is left, at a constant rate, until the held-out bound stops rising
    settle   the least useful hidden units have gone, the others take up their work
    anneal   the rate falls to zero; the best restart is kept, and this is the fit that the scores speak of
    polish   a few epochs on all bins, the held-out ones included, for the couplings that are reported

Everything that the next epoch depends on is in `TrainingState` and the loop's tensors, so that a checkpoint between
two epochs resumes to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.fitting.loop import Loop, LoopSettings, NameUnit, judge
from spikefit.fitting.pruning import keep_restarts, prune_hidden
from spikefit.fitting.windows import Windows
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.protocol import Estimator

SEARCH_EPOCHS = 12
PATIENCE = 5
SETTLE_EPOCHS = 8
FEWEST_ANNEAL_EPOCHS, MOST_ANNEAL_EPOCHS = 6, 20
ANNEAL_SHARE = 0.3
POLISH_EPOCHS = 6
POLISH_RATE = 0.3
MOST_RESTARTS_TRAINED = 2
BEHIND_IN_ERRORS = 2.0
PRUNING_WINDOWS = 12


@dataclass
class TrainingState:
    """Where training stands, beside the tensors; plain values only."""

    phase: str = "search"
    epoch: int = 0
    phase_epoch: int = 0
    since_best: int = 0
    anneal_epochs: int = 0
    rate_scale: float = 1.0
    converged: bool = False
    n_restarts: int = 1
    n_hidden: int = 1
    early_signs: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Trained:
    """What training leaves.

    Attributes:
        scored: the model fitted to the training bins alone; one restart.
        reported: the same after the polish on all bins.
        converged: whether the held-out bound had stopped rising.
        history: series over epochs.
        others: restarts that were left behind, as they were when they were; each may have more hidden units.
    """

    scored: POGLMNetwork
    reported: POGLMNetwork
    converged: bool
    history: dict[str, list[float]]
    others: tuple[POGLMNetwork, ...] = ()


Checkpoint = Callable[[dict[str, Tensor], dict[str, Any]], None]
OnEpoch = Callable[[TrainingState, float], None]


class Training:
    """Runs the phases.

    Args:
        model: at its start, with `n_start(n_hidden)` hidden units and all restarts.
        n_hidden: hidden units to end with.
        train: training windows.
        heldout: windows that judge; with none, the training windows do.
        everything: all windows, for the polish.
        estimator: of gradients through hidden counts.
        settings: of the optimiser.
        max_epochs: most epochs before the annealing.
        polish: whether to end with a few epochs on all bins.
        seed: of draws and order.
        name_unit: names a unit by its index, for messages.
        early_signs: what the hidden units of each restart are held to until some are pruned, where any sign is allowed; see
            `Loop`.
    """

    def __init__(
        self,
        model: POGLMNetwork,
        *,
        n_hidden: int,
        train: Windows,
        heldout: Windows,
        everything: Windows,
        estimator: Estimator,
        settings: LoopSettings,
        max_epochs: int,
        seed: int,
        name_unit: NameUnit,
        polish: bool = True,
        early_signs: Sequence[int] = (),
    ) -> None:
        self.polish = polish
        self.n_hidden, self.max_epochs, self.settings, self.estimator = n_hidden, max_epochs, settings, estimator
        self.windows = {"train": train, "heldout": heldout if len(heldout) else train, "everything": everything}
        self.name_unit = name_unit
        self.generator = torch.Generator(model.basis.device).manual_seed(seed)
        self.shuffle = torch.Generator().manual_seed(seed)
        self.state = TrainingState(n_restarts=model.n_restarts, n_hidden=model.n_hidden, early_signs=list(early_signs))
        self.loop = self._loop(model)
        self.best: Float[Tensor, "window restart"] | None = None
        self.best_model: POGLMNetwork | None = None
        self.scored: POGLMNetwork | None = None
        # What other restarts found tells how far the answer hangs on the start.
        self.others: list[POGLMNetwork] = []

    def _loop(self, model: POGLMNetwork) -> Loop:
        loop = Loop(
            model,
            self.windows["everything" if self.state.phase == "polish" else "train"],
            estimator=self.estimator,
            settings=self.settings,
            generator=self.generator,
            shuffle=self.shuffle,
            name_unit=self.name_unit,
            early_signs=self.state.early_signs if self.state.phase in ("search", "train") else (),
        )
        loop.rate_scale = self.state.rate_scale
        return loop

    def run(self, *, on_epoch: OnEpoch | None = None, checkpoint: Checkpoint | None = None) -> Trained:
        """Train to the end.

        Args:
            on_epoch: told of the state and the judging bound per bin after every epoch.
            checkpoint: given everything needed to go on, after every epoch; it may raise to stop the run.
        """
        while self.state.phase != "done":
            bound = self._epoch()
            if on_epoch is not None:
                on_epoch(self.state, bound)
            if checkpoint is not None:
                checkpoint(*self.snapshot())
        assert self.scored is not None
        return Trained(self.scored, self.loop.model, self.state.converged, self.state.history, tuple(self.others))

    def _epoch(self) -> float:
        """One epoch of whatever phase it is, and the decision what comes next; returns the best judging bound."""
        state = self.state
        objective = self.loop.epoch(*self._rates())
        state.rate_scale = self.loop.rate_scale
        state.epoch += 1
        state.phase_epoch += 1
        if state.phase == "polish":
            self._record("polish", objective.max().item())
            if state.phase_epoch >= POLISH_EPOCHS:
                state.phase = "done"
            return objective.max().item()
        windows = self.windows["heldout"]
        values = judge(self.loop.model, windows)
        bounds = values.sum(0) / windows.n_bins
        self._record("objective", objective.max().item())
        self._record("heldout", bounds.max().item())
        getattr(self, f"_after_{state.phase}")(values)
        return bounds.max().item()

    def _rates(self) -> tuple[float, float]:
        state = self.state
        k = state.phase_epoch
        if state.phase == "anneal":
            return 1 - k / state.anneal_epochs, 1 - (k + 1) / state.anneal_epochs
        if state.phase == "polish":
            return POLISH_RATE * (1 - k / POLISH_EPOCHS), POLISH_RATE * (1 - (k + 1) / POLISH_EPOCHS)
        return (0.1, 1.0) if k == 0 else (1.0, 1.0)

    def _after_search(self, values: Tensor) -> None:
        state = self.state
        for restart, bound in enumerate((values.sum(0) / self.windows["heldout"].n_bins).tolist()):
            self._record(f"restart_{restart}_heldout", bound)
        if state.phase_epoch < SEARCH_EPOCHS:
            return
        leaders = _leaders(values)
        self._leave_behind(leaders)
        state.early_signs = [state.early_signs[k] for k in leaders.tolist()] if state.early_signs else []
        self._enter("train", keep_restarts(self.loop.model, leaders))

    def _after_train(self, values: Tensor) -> None:
        state = self.state
        leader = int(values.sum(0).argmax())
        if self.best is None or _rises(values[:, leader], self.best):
            self.best = values[:, leader].clone()
            self.best_model = keep_restarts(self.loop.model, torch.arange(self.loop.model.n_restarts))
            state.since_best = 0
        else:
            state.since_best += 1
        if state.since_best < PATIENCE and state.epoch < self.max_epochs:
            return
        state.converged = state.since_best >= PATIENCE
        assert self.best_model is not None
        pruned = prune_hidden(self.best_model, self.windows["train"], self.n_hidden, PRUNING_WINDOWS, self.generator)
        self._enter("settle", pruned)

    def _after_settle(self, values: Tensor) -> None:
        state = self.state
        if state.phase_epoch < SETTLE_EPOCHS:
            return
        share = math.ceil(ANNEAL_SHARE * state.epoch)
        state.anneal_epochs = min(max(share, FEWEST_ANNEAL_EPOCHS), MOST_ANNEAL_EPOCHS)
        state.phase, state.phase_epoch = "anneal", 0

    def _after_anneal(self, values: Tensor) -> None:
        if self.state.phase_epoch < self.state.anneal_epochs:
            return
        best = values.sum(0).argmax(keepdim=True)
        self._leave_behind(best)
        self.scored = keep_restarts(self.loop.model, best)
        self._enter("polish" if self.polish else "done", keep_restarts(self.scored, torch.zeros(1, dtype=torch.long)))

    def _leave_behind(self, kept: Tensor) -> None:
        """Remember the restarts that are not kept."""
        left = [k for k in range(self.loop.model.n_restarts) if k not in kept.tolist()]
        if left:
            self.others.append(keep_restarts(self.loop.model, torch.tensor(left)))

    def _enter(self, phase: str, model: POGLMNetwork) -> None:
        state = self.state
        state.phase, state.phase_epoch = phase, 0
        state.n_restarts, state.n_hidden = model.n_restarts, model.n_hidden
        self.loop = self._loop(model)

    def _record(self, name: str, value: float) -> None:
        self.state.history.setdefault(f"{name}_step", []).append(float(self.state.epoch))
        self.state.history.setdefault(name, []).append(value)

    # -- state ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on: tensors, and plain values."""
        tensors = self.loop.tensors()
        if self.best is not None:
            tensors["best"] = self.best
        others = ((f"others_{k}", model) for k, model in enumerate(self.others))
        for prefix, model in (("best_model", self.best_model), ("scored", self.scored), *others):
            if model is not None:
                tensors |= {f"{prefix}/{name}": p.detach() for name, p in model.named_parameters()}
        return tensors, {**vars(self.state)}

    def restore(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Go on from what `snapshot` gave."""
        self.state = TrainingState(**values)
        shape = self.loop.model.like(n_hidden=self.state.n_hidden, n_restarts=self.state.n_restarts)
        self.loop = self._loop(shape)
        self.loop.load_tensors(tensors)
        self.best = tensors.get("best")
        self.best_model = _restored("best_model", tensors, shape)
        self.scored = _restored("scored", tensors, shape)
        self.others = []
        while (model := _restored(f"others_{len(self.others)}", tensors, shape)) is not None:
            self.others.append(model)


@torch.no_grad()
def _restored(prefix: str, tensors: dict[str, Tensor], like: POGLMNetwork) -> POGLMNetwork | None:
    own = {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
    if not own:
        return None
    model = like.like(n_hidden=own["posterior.offset"].shape[1] // like.max_count, n_restarts=len(own["baseline"]))
    for name, parameter in model.named_parameters():
        parameter.copy_(own[name])
    return model


def _leaders(values: Float[Tensor, "window restart"]) -> Tensor:
    """Restarts that do not fall behind the best by more than chance, best first, but no more than a few."""
    order = values.sum(0).argsort(descending=True)
    behind = values[:, order[:1]] - values[:, order]
    error = behind.std(0) * math.sqrt(len(values)) if len(values) > 1 else torch.zeros(len(order))
    near = behind.sum(0) <= BEHIND_IN_ERRORS * error
    return order[near][:MOST_RESTARTS_TRAINED]


def _rises(values: Float[Tensor, " window"], best: Float[Tensor, " window"]) -> bool:
    """Whether the bound over the windows has risen by more than its paired standard error."""
    gain = values - best
    if len(gain) < 2:
        return bool(gain.sum() > 0)
    return bool(gain.sum() > gain.std() * math.sqrt(len(gain)))
