"""One epoch of training a Poisson VAE, and a look at how well it does on bins that do not train.

The whole state can be taken out and put back, so that a run that was interrupted goes on to the same bits.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from spikefit.errors import NotConvergedError
from spikefit.fitting.checkpoint import put_back, tensors_of
from spikefit.fitting.pvae.data import LatentBatch, LatentWindows, parts
from spikefit.fitting.pvae.objective import bound, soft_draws, whole_draws
from spikefit.models.pvae.expectation import expected_value
from spikefit.models.pvae.network import PVAE
from spikefit.prob.protocol import Estimator

BATCH_BINS = 1000
MOST_RETRIES = 3
MOST_GRADIENT = 10.0  # in norms of the usual gradient; a rare wild draw is not followed
JUDGE_SEED = 20_240_101  # the same draws and hidden units at every look, so that looks can be compared
HIDDEN_GROUPS = 4  # every unit is hidden once at a look, with a quarter of the others
AVERAGED_STEPS = 200  # steps over which parameters are averaged; at the start about a tenth of those made


@dataclass(frozen=True)
class LoopSettings:
    """How to optimise.

    Attributes:
        learning_rate: Adam's largest step.
        n_draws: draws per window and step.
        beta: weight of the divergence.
        unit_dropout: mean share of the units that the encoder is not shown.
    """

    learning_rate: float
    n_draws: int
    beta: float
    unit_dropout: float


# Counts, expected counts, and where the unit is hidden and the bin is scored; (window, unit, bin) each.
HiddenGroup = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Look:
    """How well the model does on some windows, in nats per bin.

    Attributes:
        bound: the evidence lower bound, with β = 1 and all units shown.
        hidden_units: log-likelihood of all units, each while the encoder was not shown it, at the rates to be expected.
    """

    bound: float
    hidden_units: float


class _Diverged(Exception):
    """A step went into NaN or out of all bounds."""


class PvaeLoop:
    """Adam over windows, and a running average of where it has been.

    Steps scatter round the optimum by far more than they move it; `averaged`, which is judged and kept, does not.

    Args:
        model: trained in place.
        windows: what it is trained on.
        estimator: of gradients through latent counts; None for the closed form.
        settings: how to optimise.
        generator: source of draws and of the units that are hidden, on the model's device.
        shuffle: source of the order of the windows, on the CPU.
    """

    def __init__(
        self,
        model: PVAE,
        windows: LatentWindows,
        *,
        estimator: Estimator | None,
        settings: LoopSettings,
        generator: torch.Generator,
        shuffle: torch.Generator,
    ) -> None:
        self.model, self.windows, self.estimator, self.settings = model, windows, estimator, settings
        self.generator, self.shuffle, self.rate_scale = generator, shuffle, 1.0
        self.averaged, self.n_steps = copy.deepcopy(model), 0
        self.optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
        self.batch_windows = max(1, BATCH_BINS // max(1, windows.core))
        self._draw = None if estimator is None else soft_draws(estimator, settings.n_draws, generator)

    def epoch(self, rates: tuple[float, float], betas: tuple[float, float] = (1.0, 1.0)) -> float:
        """Train for one pass while the rate moves linearly between two shares of the largest, and so does β.

        A step into NaN or infinity takes the epoch back, halves the rate for good, and tries again.

        Returns:
            The objective per bin as met on the way, in nats.

        Raises:
            NotConvergedError: if that happened more than three times.
        """
        for _ in range(MOST_RETRIES + 1):
            before = {name: tensor.clone() for name, tensor in self.tensors().items()}
            try:
                return self._pass(rates, betas)
            except _Diverged:
                self.load_tensors(before)
                self.rate_scale *= 0.5
        raise NotConvergedError(
            f"the fit diverged {MOST_RETRIES + 1} times, although the learning rate was lowered to "
            f"{self.settings.learning_rate * self.rate_scale:.2g}.",
            hint="pass a smaller --learning-rate, or look for units with bursts of spikes with `spikefit inspect`",
        )

    def _pass(self, rates: tuple[float, float], betas: tuple[float, float]) -> float:
        order = torch.randperm(len(self.windows), generator=self.shuffle).split(self.batch_windows)
        total = n_scored = 0.0
        for step, which in enumerate(order):
            place = (step + 0.5) / len(order)
            for group in self.optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * self.rate_scale * (rates[0] + (rates[1] - rates[0]) * place)
            batch = self.windows.batch(which)
            total += self._step(batch, self.settings.beta * (betas[0] + (betas[1] - betas[0]) * place))
            n_scored += batch.n_scored
        return total / n_scored

    def _step(self, batch: LatentBatch, beta: float) -> float:
        settings = self.settings
        present = shown_units(len(batch.counts), self.model.shape.n_units, settings.unit_dropout, self.generator)
        try:
            found = bound(self.model, batch, self._draw, present=present)
        except ValueError as fault:
            # Estimators refuse what is no rate; here it is the sign that a step went wrong.
            if any(not bool(torch.isfinite(p).all()) for p in self.model.parameters()):
                raise _Diverged from fault
            raise
        objective = found.total(beta).mean(0).sum() + found.correction
        self.optimizer.zero_grad()
        (-objective / batch.n_scored).backward()
        size = torch.nn.utils.clip_grad_norm_(self.model.parameters(), MOST_GRADIENT)
        if not bool(torch.isfinite(size)) or not bool(torch.isfinite(objective)):
            raise _Diverged
        self.optimizer.step()
        self.model.hold_constraints()
        self._average()
        return float(objective.detach())

    @torch.no_grad()
    def _average(self) -> None:
        weight = max(1 / AVERAGED_STEPS, 10 / (10 + self.n_steps))
        self.n_steps += 1
        for mean, now in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(now, weight)

    # -- state ---------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        out = tensors_of(self.model, self.optimizer)
        out |= {f"average/{name}": parameter.detach() for name, parameter in self.averaged.named_parameters()}
        out["n_steps"] = torch.tensor(self.n_steps)
        out["generator"], out["shuffle"] = self.generator.get_state(), self.shuffle.get_state()
        return out

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        self.generator.set_state(tensors["generator"].cpu())
        self.shuffle.set_state(tensors["shuffle"].cpu())
        self.n_steps = int(tensors["n_steps"])
        for name, parameter in self.averaged.named_parameters():
            parameter.copy_(tensors[f"average/{name}"])
        put_back(tensors, self.model, self.optimizer)


def shown_units(
    n_windows: int, n_units: int, dropout: float, generator: torch.Generator
) -> Float[Tensor, "window unit"] | None:
    """Which units each window's encoder is shown; the hidden share varies from none to twice the mean.

    Args:
        n_windows: windows.
        n_units: units.
        dropout: mean share of hidden units, below 0.5; with 0 all are shown.
        generator: on the device of the result.
    """
    if dropout == 0:
        return None
    device = generator.device
    share = 2 * dropout * torch.rand(n_windows, 1, generator=generator, device=device)
    present = (torch.rand(n_windows, n_units, generator=generator, device=device) >= share).float()
    # At least one unit is seen.
    present[:, 0] = torch.where(present.sum(1) == 0, 1.0, present[:, 0])
    return present


@torch.no_grad()
def judge(model: PVAE, windows: LatentWindows) -> Look:
    """Look at some windows, with draws and units to hide from one fixed seed.

    Every unit is hidden once in every window, together with a random quarter of the others: a score over all units in
    all bins is steadier than one over some.
    """
    draw = whole_draws(1, torch.Generator(model.log_prior.device).manual_seed(JUDGE_SEED))
    total = unseen = n_bins = 0.0
    for batch, nats in unseen_by_window(model, windows):
        total += float(bound(model, batch, draw).total().sum())
        unseen += float(nats.sum())
        n_bins += batch.n_scored
    return Look(total / n_bins, unseen / n_bins)


def unseen_by_window(model: PVAE, windows: LatentWindows) -> Iterator[tuple[LatentBatch, Float[Tensor, " window"]]]:
    """Windows, and in each the log-likelihood of all units while they were hidden, in nats without the factorials."""
    for batch, groups in _with_hidden(model, windows):
        total = batch.counts.new_zeros(len(batch.counts))
        for values, expected, scored in groups:
            nats = torch.xlogy(values, expected) - expected
            total += (nats * scored).sum((1, 2))
        yield batch, total


def hidden_in_turn(model: PVAE, windows: LatentWindows) -> Iterator[HiddenGroup]:
    """What was counted, what was expected, and where a unit was hidden: every unit once in every window."""
    for _, groups in _with_hidden(model, windows):
        yield from groups


def _with_hidden(model: PVAE, windows: LatentWindows) -> Iterator[tuple[LatentBatch, Iterator[HiddenGroup]]]:
    hiding = torch.Generator(model.log_prior.device).manual_seed(JUDGE_SEED)
    for batch in windows.batches(max(1, 4 * BATCH_BINS // max(1, windows.core))):
        order = torch.rand(len(batch.counts), model.shape.n_units, generator=hiding, device=hiding.device).argsort(1)
        yield batch, _groups(model, batch, order, windows.core)


def _groups(model: PVAE, batch: LatentBatch, order: Tensor, core: int) -> Iterator[HiddenGroup]:
    counts, inside = parts(batch)
    start = model.encoder.reach + model.decoder.reach
    values = counts[:, :, start : start + core]
    for group in range(min(HIDDEN_GROUPS, model.shape.n_units)):
        hide = order % HIDDEN_GROUPS == group
        expected = mean_prediction(model, counts, inside, (~hide).float())
        scored = hide[:, :, None] if batch.scored is None else hide[:, :, None] & batch.scored[:, None]
        yield values, expected, scored.expand(values.shape)


def mean_prediction(
    model: PVAE,
    counts: Float[Tensor, "window unit padded"],
    inside: Float[Tensor, "window 1 padded"],
    present: Float[Tensor, "window unit"] | None,
) -> Float[Tensor, "window unit bin"]:
    """What is to be expected of every unit over the posterior."""
    residual = model.residual(counts, inside, present)
    edge = model.encoder.reach
    value = expected_value(model, model.expected(residual), inside[:, :, edge : edge + residual.shape[2]])
    return value.clamp(min=1e-9)
