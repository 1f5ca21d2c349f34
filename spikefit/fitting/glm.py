"""The fully observed GLM, solved to its optimum for all units at once.

All units share one design, so one Gram matrix preconditions all of them: with features X, mean μ and covariance
C = XᵀX/T − μμᵀ = UΛUᵀ, unit n's Hessian is close to a_n T Λ in the basis U, where a_n is the Fisher information of one
bin at its mean count. That is the first inverse Hessian of an L-BFGS that carries all units as columns, each with its
own step, and stops on the Newton decrement, the distance to the optimum in nats.

A unit that fires in bursts has its information in few bins, where others fire too, and is badly served by the shared
matrix. Units that have not arrived after a few iterations get an information matrix of their own, from part of the
bins, in place of the shared one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit, Spectrum
from spikefit.fitting.lbfgs import Memory
from spikefit.fitting.penalised import PenalisedGLM

OWN_AFTER = 4  # iterations with the shared matrix; if a unit is then still this many nats from its optimum, it and
OWN_ABOVE_NATS = 20.0  # those that are left get a matrix of their own
SUFFICIENT_DECREASE = 1e-4
MOST_HALVINGS = 30


def fit_glm(
    design: Design,
    *,
    ridge: float | Float[Tensor, "unit feature"],
    free: Bool[Tensor, "unit feature"] | None = None,
    link: str = "softplus",
    tolerance_nats: float = 2e-3,
    max_iterations: int = 200,
    start: GLMFit | None = None,
    on_iteration: Callable[[int, float, float], None] | None = None,
    dispersion: Float[Tensor, " unit"] | None = None,
) -> GLMFit:
    """Maximise the ridge-penalised log-likelihood of every unit, of Poisson counts or negative-binomial ones.

    Args:
        design: features and counts.
        ridge: penalty `ridge / 2 · Σ weights²` in nats on the whole data, the same for all weights or one for each; baselines
            are free.
        free: which weights may differ from zero; None for all. The others are exactly zero.
        link: `softplus` or `exp`, which make the problem convex, or `sigmoid`, which does so where few bins expect more
            than half the ceiling: beyond, what is found is an optimum, not always the highest one.
        tolerance_nats: a unit is done when its Newton decrement is below this.
        max_iterations: after this many, what is not done is reported as not converged.
        start: where to start, for example the fit to a part of the same recording.
        on_iteration: called with the iteration, the objective and the largest decrement.
        dispersion: of negative-binomial counts, held; None for Poisson counts. With softplus the problem is then no longer
            sure to be convex; from the Poisson optimum it was in all that was tried.
    """
    known = None if start is None else start.spectrum
    solver = Solver(design, ridge, link, free, known, dispersion)
    return solver.run(tolerance_nats, max_iterations, start, on_iteration)


class Solver(PenalisedGLM):
    """The work of `fit_glm`.

    The shared matrix is used between two projections to the free weights, P M P: symmetric, and positive definite on the
    free weights, so L-BFGS may start from it, whatever each unit's own mask is. An information matrix of a unit's own is
    that of its free weights alone.
    """

    def __init__(
        self,
        design: Design,
        ridge: float | Tensor,
        link: str,
        free: Tensor | None = None,
        spectrum: Spectrum | None = None,
        dispersion: Tensor | None = None,
    ) -> None:
        super().__init__(design, ridge, link, free, spectrum, dispersion)
        information = self.baseline_curvature
        # With unequal penalties the shared matrix takes their mean; it need not be exact.
        penalty = self.ridge.mean(1, keepdim=True) if isinstance(self.ridge, Tensor) else self.ridge
        self.curvature = information[:, None] * self.spectrum.scales.clamp(min=0) + penalty
        self.curvature = self.curvature.clamp(min=1e-6 * self.curvature.max())
        if self.spectrum.own is not None:
            block = information[:, None, None] * self.spectrum.own
            diagonal = block.diagonal(dim1=1, dim2=2)
            diagonal += penalty
            diagonal += 1e-6 * diagonal.amax(1, keepdim=True)
            self.own_factors = torch.linalg.cholesky(block)
        self.own: Tensor | None = None
        self.own_row = torch.zeros(design.n_units, dtype=torch.long, device=design.device)

    def give_own_curvature(self, params: Tensor, units: Tensor) -> bool:
        """Factor the Fisher information of some units at their present parameters; False where it would cost too much."""
        information = self.information_of(params, units)
        if information is None:
            return False
        self.own = torch.linalg.cholesky(information)
        self.own_row[units] = torch.arange(len(units), device=self.design.device)
        return True

    def precondition(self, gradient: Tensor, units: Tensor) -> Tensor:
        """Some units' gradients, (unit, parameter), through the inverse of the matrix that stands for their curvature."""
        if self.own is not None:
            factors = self.own[self.own_row[units]]
            return torch.cholesky_solve(gradient[..., None], factors)[..., 0]
        out = torch.empty_like(gradient)
        if self.parts.any:
            rotated = gradient[:, self.parts.shared] @ self.spectrum.rotation
            out[:, self.parts.shared] = (rotated / self.curvature[units]) @ self.spectrum.rotation.T
            own = self.parts.own[units]
            solved = torch.cholesky_solve(gradient.gather(1, own)[..., None], self.own_factors[units])[..., 0]
            out[:, self.parts.own.flatten()] = 0.0
            out.scatter_(1, own, solved)
        else:
            out[:, :-1] = (gradient[:, :-1] @ self.spectrum.rotation / self.curvature[units]) @ self.spectrum.rotation.T
        out[:, -1] = gradient[:, -1] / self.baseline_curvature[units]
        return self.hold(out, units)

    def run(
        self,
        tolerance: float,
        max_iterations: int,
        start: GLMFit | None,
        on_iteration: Callable[[int, float, float], None] | None,
    ) -> GLMFit:
        d = self.design
        everyone = torch.arange(d.n_units, device=d.device)
        params = self.begin(start)
        value, gradient = self.evaluate(params, everyone)
        decrement = torch.full_like(value, torch.inf)
        memory = Memory(d.n_units)
        objective = [-value.sum().item()]
        active = everyone
        for iteration in range(1, max_iterations + 1):
            if not len(active):
                break
            far = iteration > OWN_AFTER and self.own is None and bool(decrement[active].max() > OWN_ABOVE_NATS)
            if far and self.give_own_curvature(params, active):
                memory = Memory(d.n_units)  # its pairs corrected the shared matrix
            direction = -memory.apply(gradient[active], active, self.precondition)
            descent = (direction * gradient[active]).sum(1)
            decrement[active] = -0.5 * descent
            going = decrement[active] > tolerance
            active, direction, descent = active[going], direction[going], descent[going]
            if not len(active):
                break
            new_params, new_value, new_gradient = self._search(params, value, active, direction, descent)
            moved = new_value < value[active]
            memory.add(active, new_params - params[active], new_gradient - gradient[active])
            params[active], value[active], gradient[active] = new_params, new_value, new_gradient
            objective.append(-value.sum().item())
            if on_iteration is not None:
                on_iteration(iteration, objective[-1], decrement[active].max().item())
            active = active[moved]  # no step improves a unit any more: rounding has the last word
        weights = params[:, :-1].clone()
        return GLMFit(
            weights=weights,
            baseline=params[:, -1] - weights @ self.mean,
            decrement=decrement,
            converged=bool((decrement <= 10 * tolerance).all()),
            objective=objective,
            spectrum=self.spectrum,
            dispersion=self.dispersion,
        )

    def _search(
        self, params: Tensor, value: Tensor, active: Tensor, direction: Tensor, descent: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Backtrack each unit along its own direction until it has improved enough; units that cannot stay put."""
        base, base_value = params[active], value[active]
        step = torch.ones_like(descent)
        out_params, out_value = base.clone(), base_value.clone()
        out_gradient = torch.zeros_like(base)
        open_ = torch.arange(len(active), device=active.device)
        noise = 1e-9 * base_value.abs()
        for _ in range(MOST_HALVINGS):
            trial = base[open_] + step[open_, None] * direction[open_]
            trial_value, trial_gradient = self.evaluate(trial, active[open_])
            wanted = base_value[open_] + SUFFICIENT_DECREASE * step[open_] * descent[open_] + noise[open_]
            good = trial_value <= wanted
            done = open_[good]
            out_params[done], out_value[done], out_gradient[done] = trial[good], trial_value[good], trial_gradient[good]
            left = open_[~good]
            if not len(left):
                break
            # The parabola through value, slope and the failed trial has its bottom here.
            rise = trial_value[~good] - base_value[left] - step[left] * descent[left]
            bottom = -0.5 * descent[left] * step[left].square() / rise
            step[left] = torch.where(torch.isfinite(bottom), bottom, 0.0).clamp(0.1 * step[left], 0.5 * step[left])
            open_ = left
        return out_params, out_value, out_gradient
