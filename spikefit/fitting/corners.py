"""The fully observed GLM under what has a corner: a group lasso over pairs, and senders held to one sign.

    minimise   −log-likelihood + ridge/2 · Σ weights² + Σ over pairs λ · ‖weights of the pair‖
    with       weights ≥ 0, ≤ 0, or any, pair by pair

Proximal Newton, all units at once. In each iteration the likelihood gives way to a parabola: the Gram matrix that all
units share times each unit's information in a bin, or an information matrix of the unit's own for those that are slow.
The parabola with its corners is brought to its minimum sender after sender, with a few proximal steps in the weights of each; a
pair that the penalty takes out is exactly zero. The parabola's steepness follows the curvature met on the way, and where
a step does not improve a unit enough it is tried again under a steeper one, so every iteration improves every unit.

What certifies the result is how far the optimality conditions are from being met (`GLMFit.kkt`): at the optimum, and there
alone since the problem is convex, the gradient of the smooth part is balanced by the penalty in every pair that is not
zero, and no larger than λ in every pair that is.

Sources: Yuan and Lin, "Model selection and estimation in regression with grouped variables" (JRSS B 2006); Lee, Sun and
Saunders, "Proximal Newton-type methods for minimizing composite functions" (SIAM J Optim 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.glm import SUFFICIENT_DECREASE
from spikefit.fitting.glm_fit import GLMFit, Spectrum
from spikefit.fitting.penalised import PenalisedGLM

OWN_AFTER = 5  # iterations with the shared matrix; what has not arrived then gets matrices of its own,
OWN_EVERY = 4  # made anew after so many iterations
MOST_SWEEPS = 60
STEPS_PER_SENDER = 3
LAST_SHARE = 0.02  # of the parabola's fall so far: a sweep that adds less is the last one
MOST_TRIES = 12
STEEPER = 3.0
SCALES = (0.1, 50.0)


@dataclass(frozen=True, eq=False)
class Corners:
    """What is not smooth, pair by pair.

    Attributes:
        group_lasso: λ of every pair, in nats per unit of the norm of its weights on the whole data; zero for none.
        sign: 1 for weights at or above zero, −1 for at or below, 0 for any.
        n_functions: weights of a pair.
    """

    group_lasso: Float[Tensor, "post pre"]
    sign: Int[Tensor, "post pre"]
    n_functions: int


def fit_with_corners(
    design: Design,
    corners: Corners,
    *,
    ridge: float | Float[Tensor, "unit feature"],
    free: Bool[Tensor, "unit feature"] | None = None,
    link: str = "softplus",
    tolerance_nats: float = 1e-3,
    max_iterations: int = 200,
    start: GLMFit | None = None,
    on_iteration: Callable[[int, float, float], None] | None = None,
) -> GLMFit:
    """Maximise the penalised log-likelihood of every unit under corners; arguments as those of `fit_glm`."""
    known = None if start is None else start.spectrum
    solver = design.within_memory(lambda: _CornerSolver(design, corners, ridge, link, free, known))
    return solver.descend(tolerance_nats, max_iterations, start, on_iteration)


def weakest_that_silences(
    design: Design,
    corners: Corners,
    *,
    ridge: float | Float[Tensor, "unit feature"],
    free: Bool[Tensor, "unit feature"] | None = None,
    link: str = "softplus",
) -> float:
    """The smallest λ, for the pairs that have one, under which all of these are zero.

    Args:
        design: features and counts.
        corners: a pair whose λ is not zero is to be silenced.
        ridge: as that of `fit_glm`.
        free: as that of `fit_glm`.
        link: as that of `fit_glm`.
    """
    silenced = corners.group_lasso > 0
    n_couplings = design.n_couplings
    kept = torch.ones(design.n_units, design.n_features, dtype=torch.bool, device=design.device)
    kept[:, :n_couplings] = ~silenced.repeat_interleave(corners.n_functions, dim=1)
    if free is not None:
        kept &= free
    none = Corners(torch.zeros_like(corners.group_lasso), corners.sign, corners.n_functions)
    rest = fit_with_corners(design, none, ridge=ridge, free=kept, link=link)
    solver = _CornerSolver(design, corners, ridge, link, free, rest.spectrum)
    everyone = torch.arange(design.n_units, device=design.device)
    pull = solver.pull(*solver.at(rest), everyone)
    norms = pull[:, :n_couplings].unflatten(1, (-1, corners.n_functions)).norm(dim=2)
    return float((norms * silenced).max())


def sign_costs(design: Design, fit: GLMFit, n_functions: int) -> tuple[Float[Tensor, " pre"], Float[Tensor, " pre"]]:
    """What holding each sender to excitation, and to inhibition, would cost about: nats over all units it acts on but itself.

    By the parabola that the shared Gram matrix gives, ½ wᵀ H w with w the part of the weights that must go.

    Args:
        design: the bins that were fitted.
        fit: on them, with nothing held.
        n_functions: weights of a pair.
    """
    smooth = PenalisedGLM(design, 0.0, "softplus", spectrum=fit.spectrum)
    weights = fit.weights[:, : design.n_couplings].unflatten(1, (-1, n_functions))
    off = 1 - torch.eye(design.n_units, dtype=weights.dtype, device=weights.device)
    own = torch.stack(
        [smooth.gram[m : m + n_functions, m : m + n_functions] for m in range(0, design.n_couplings, n_functions)]
    )
    per_bin = (0.5 * smooth.baseline_curvature)[:, None] * off

    def cost(lost: Tensor) -> Tensor:
        total: Tensor = (per_bin * torch.einsum("nmk,mkl,nml->nm", lost, own, lost)).sum(0)
        return total

    return cost(weights.clamp(max=0)), cost(weights.clamp(min=0))


class _CornerSolver(PenalisedGLM):
    """The work of `fit_with_corners`."""

    def __init__(
        self,
        design: Design,
        corners: Corners,
        ridge: float | Tensor,
        link: str,
        free: Tensor | None,
        known: Spectrum | None = None,
    ) -> None:
        super().__init__(design, ridge, link, free, known)
        self.corners = corners
        k = corners.n_functions
        self.blocks = [slice(m * k, (m + 1) * k) for m in range(design.n_units)]
        self.behind = slice(design.n_couplings, design.n_features)
        # Largest eigenvalue of each sender's own part of the Gram matrix: the steepest that its parabola can be.
        self.steepest = torch.stack([torch.linalg.eigvalsh(self.gram[b, b])[-1] for b in self.blocks]).clamp(min=0)
        self.information: Tensor | None = None  # matrices of some units' own, by `own_row`
        self.own_row = torch.zeros(design.n_units, dtype=torch.long, device=design.device)
        self.own_steepest = torch.empty(0, dtype=torch.float64, device=design.device)
        self.scale = torch.ones(design.n_units, dtype=torch.float64, device=design.device)

    # -- the penalty ---------------------------------------------------------------------------------------------

    def _by_pair(self, params: Tensor) -> Tensor:
        return params[:, : self.design.n_couplings].unflatten(1, (-1, self.corners.n_functions))

    def penalty(self, params: Tensor, units: Tensor) -> Tensor:
        """Σ λ ‖weights‖ of some units."""
        return (self.corners.group_lasso[units] * self._by_pair(params).norm(dim=2)).sum(1)

    def pull(self, params: Tensor, gradient: Tensor, units: Tensor) -> Tensor:
        """The negative gradient, without what would push a weight at its bound across it."""
        out = -gradient
        by_pair, weights = self._by_pair(out), self._by_pair(params)
        sign = self.corners.sign[units][:, :, None]
        held = (weights == 0) & (sign != 0) & (by_pair * sign < 0)
        by_pair.masked_fill_(held, 0.0)
        return self.hold(out, units)

    def kkt(self, params: Tensor, gradient: Tensor, units: Tensor) -> Tensor:
        """How far each unit is from the optimality conditions: the largest mismatch of a pair, in nats per unit of weight."""
        pull = self.pull(params, gradient, units)
        weights, by_pair = self._by_pair(params), self._by_pair(pull)
        lasso, norm = self.corners.group_lasso[units], weights.norm(dim=2)
        inside = (by_pair.norm(dim=2) - lasso).clamp(min=0)
        direction = weights / torch.where(norm > 0, norm, 1.0)[:, :, None]
        outside = (by_pair - lasso[:, :, None] * direction).norm(dim=2)
        worst = torch.where(norm > 0, outside, inside).amax(1)
        rest = pull[:, self.design.n_couplings :].abs().amax(1)
        return torch.maximum(worst, rest)

    def _prox(self, values: Tensor, threshold: Tensor, units: Tensor, sender: int) -> Tensor:
        """Weights of one sender: to their side of zero, then shrunk together."""
        sign = self.corners.sign[units, sender, None]
        values = torch.where(values * sign < 0, 0.0, values)
        if self.free is not None:
            values = values * self.free[units, self.blocks[sender]]
        norm = values.norm(dim=1)
        share = 1 - threshold / torch.where(norm > 0, norm, 1.0)
        return values * share.clamp(min=0)[:, None]

    # -- the parabola --------------------------------------------------------------------------------------------

    def _model(self, params: Tensor, gradient: Tensor, units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The step to the minimum of the parabola with its corners, how far it falls, and its curvature along the step.

        The parabola is ½ dᵀ H d with H = scale · (information · Gram + ridge), or scale times the unit's own matrix.
        """
        own = None if self.information is None else self.information[self.own_row[units]]
        scale = self.scale[units]
        bins, ridge = self.baseline_curvature[units], self.ridge_of(units)
        ridge = ridge if isinstance(ridge, Tensor) else torch.full_like(params[:, :-1], ridge)
        new, slope = params.clone(), gradient.clone()
        fall = torch.zeros_like(scale)
        smooth = [self.behind] if self.behind.stop > self.behind.start else []
        if own is None:  # centred features leave the drive at their mean to itself
            move = -gradient[:, -1] / (scale * bins)
            new[:, -1] += move
            slope[:, -1] = 0.0
            fall += 0.5 * scale * bins * move.square()
        else:
            smooth = [slice(self.behind.start, self.design.n_features + 1)]
        factors = [torch.linalg.cholesky(self._part(block, own, scale, bins, ridge)) for block in smooth]
        lasso = self.corners.group_lasso[units]
        for _ in range(MOST_SWEEPS):
            gained = torch.zeros_like(scale)
            for block, factor in zip(smooth, factors, strict=True):
                move = -torch.cholesky_solve(slope[:, block, None], factor)[..., 0]
                if self.free is not None:
                    move[:, : self.design.n_features - block.start] *= self.free[units, block.start :]
                gained -= 0.5 * (slope[:, block] * move).sum(1)
                new[:, block] += move
                self._add(slope, block, move, own, scale, bins, ridge)
            for sender, block in enumerate(self.blocks):
                part = self._part(block, own, scale, bins, ridge)
                if own is None:
                    steep = scale * (bins * self.steepest[sender] + ridge[:, block].amax(1))
                else:
                    steep = scale * self.own_steepest[self.own_row[units], sender]
                steep = steep.clamp(min=1e-9)
                weights = now = new[:, block]
                local = slope[:, block]
                for _ in range(STEPS_PER_SENDER):
                    to = self._prox(now - local / steep[:, None], lasso[:, sender] / steep, units, sender)
                    local = local + (part @ (to - now)[..., None])[..., 0]
                    now = to
                move = now - weights
                if not bool(move.any()):
                    continue
                gained -= (0.5 * (slope[:, block] + local) * move).sum(1)
                gained -= lasso[:, sender] * (now.norm(dim=1) - weights.norm(dim=1))
                new[:, block] = now
                self._add(slope, block, move, own, scale, bins, ridge)
            fall += gained
            if bool((gained <= LAST_SHARE * fall).all()):
                break
        step = new - params
        return step, fall, ((slope - gradient) * step).sum(1)

    def _part(self, block: slice, own: Tensor | None, scale: Tensor, bins: Tensor, ridge: Tensor) -> Tensor:
        """A block on the diagonal of every unit's parabola."""
        if own is not None:
            return scale[:, None, None] * own[:, block, block]
        part = bins[:, None, None] * self.gram[block, block] + torch.diag_embed(ridge[:, block] + 1e-9)
        return scale[:, None, None] * part

    def _add(
        self, slope: Tensor, block: slice, move: Tensor, own: Tensor | None, scale: Tensor, bins: Tensor, ridge: Tensor
    ) -> None:
        """What a move does to the parabola's slope."""
        if own is not None:
            slope += scale[:, None] * (move[:, None] @ own[:, block])[:, 0]
            return
        slope[:, :-1] += (scale * bins)[:, None] * (move @ self.gram[block])
        slope[:, block] += scale[:, None] * ridge[:, block] * move

    def _give_own(self, params: Tensor, units: Tensor) -> bool:
        information = self.information_of(params, units)
        if information is None:
            return False
        self.information = information
        self.own_row[units] = torch.arange(len(units), device=params.device)
        self.own_steepest = torch.stack([torch.linalg.eigvalsh(information[:, b, b])[:, -1] for b in self.blocks], 1)
        self.scale[units] = 1.0
        return True

    # -- the descent ---------------------------------------------------------------------------------------------

    def at(self, fit: GLMFit) -> tuple[Tensor, Tensor]:
        """Parameters of a fit, and the gradient there."""
        params = self.begin(fit)
        everyone = torch.arange(self.design.n_units, device=params.device)
        return params, self.evaluate(params, everyone)[1]

    def descend(
        self,
        tolerance: float,
        max_iterations: int,
        start: GLMFit | None,
        on_iteration: Callable[[int, float, float], None] | None,
    ) -> GLMFit:
        everyone = torch.arange(self.design.n_units, device=self.design.device)
        params = self._allowed(self.begin(start))
        value, gradient = self.evaluate(params, everyone)
        total = value + self.penalty(params, everyone)
        decrement = torch.full_like(total, torch.inf)
        objective = [-total.sum().item()]
        active, affordable = everyone, True
        for iteration in range(1, max_iterations + 1):
            late = iteration - OWN_AFTER
            if affordable and late > 0 and (late - 1) % OWN_EVERY == 0:
                affordable = self._give_own(params, active)
            step, fall, curvature = self._model(params[active], gradient[active], active)
            decrement[active] = fall * self.scale[active].clamp(min=1)
            going = decrement[active] > tolerance
            active, step, curvature = active[going], step[going], curvature[going]
            if not len(active):
                break
            before = total.clone()
            self._take(params, value, gradient, total, active, step, curvature)
            objective.append(-total.sum().item())
            if on_iteration is not None:
                on_iteration(iteration, objective[-1], decrement[active].max().item())
            active = active[total[active] < before[active]]  # else rounding has the last word
            if not len(active):
                break
        weights = params[:, :-1].clone()
        return GLMFit(
            weights=weights,
            baseline=params[:, -1] - weights @ self.mean,
            decrement=decrement,
            converged=bool((decrement <= 10 * tolerance).all()),
            objective=objective,
            kkt=self.kkt(params, gradient, everyone),
            spectrum=self.spectrum,
        )

    def _allowed(self, params: Tensor) -> Tensor:
        """A start, with weights on the wrong side of zero put to it."""
        by_pair = self._by_pair(params)
        by_pair.masked_fill_(by_pair * self.corners.sign[:, :, None] < 0, 0.0)
        return params

    def _take(
        self,
        params: Tensor,
        value: Tensor,
        gradient: Tensor,
        total: Tensor,
        active: Tensor,
        step: Tensor,
        curvature: Tensor,
    ) -> None:
        """Take each unit's step where it improves the unit enough, else that of a steeper parabola; all in place."""
        units = active
        noise = 1e-9 * total[units].abs()
        for _ in range(MOST_TRIES):
            trial = params[units] + step
            trial_value, trial_gradient = self.evaluate(trial, units)
            trial_total = trial_value + self.penalty(trial, units)
            linear = (gradient[units] * step).sum(1)
            wanted = linear + self.penalty(trial, units) - self.penalty(params[units], units)
            good = trial_total <= total[units] + SUFFICIENT_DECREASE * wanted + noise
            # Twice the rise above the tangent is the curvature that was met.
            met = 2 * (trial_value - value[units] - linear) / curvature.clamp(min=1e-300)
            told = curvature > 1e-6 * value[units].abs()
            scale = torch.where(told & torch.isfinite(met), self.scale[units] * met, self.scale[units])
            steeper = torch.maximum(scale, STEEPER * self.scale[units])
            self.scale[units] = torch.where(good, scale, steeper).clamp(*SCALES)
            done = units[good]
            params[done], value[done], gradient[done] = trial[good], trial_value[good], trial_gradient[good]
            total[done] = trial_total[good]
            units, noise = units[~good], noise[~good]
            if not len(units):
                return
            step, _, curvature = self._model(params[units], gradient[units], units)
