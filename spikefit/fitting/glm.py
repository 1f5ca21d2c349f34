"""The fully observed GLM, solved to its optimum for all units at once.

All units share one design, so one Gram matrix preconditions all of them: with features X, mean μ and covariance
C = XᵀX/T − μμᵀ = UΛUᵀ, unit n's Hessian is close to a_n T Λ in the basis U, where a_n is the Fisher information of one
bin at its mean count. That is the first inverse Hessian of an L-BFGS that carries all units as columns, each with its
own step, and stops on the Newton decrement, the distance to the optimum in nats.

A unit that fires in bursts has its information in few bins, where others fire too, and is badly served by the shared
matrix. Units that have not arrived after a few iterations get an information matrix of their own, from part of the
bins, in place of the shared one.

The features are centred (the baseline takes up the rest), which makes baseline and weights separate in the
preconditioner. Sums over bins are taken in float64 whatever the features are kept in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikefit.fitting.design import Design
from spikefit.fitting.own_blocks import OwnBlocks
from spikefit.fitting.processes import add_up
from spikefit.models.link import LINKS, inverse_link
from spikefit.models.negative_binomial import Moments, empty_bin, rising
from spikefit.models.products import Weights

MEMORY = 8  # pairs that the L-BFGS remembers
GRAM_BINS_PER_FEATURE = 50  # more bins would not make a better preconditioner
OWN_AFTER = 4  # iterations with the shared matrix; if a unit is then still this many nats from its optimum, it and
OWN_ABOVE_NATS = 20.0  # those that are left get a matrix of their own
OWN_BINS_PER_FEATURE = 400
MOST_OWN_MULTIPLICATIONS = 4e11  # beyond this, going on with the shared matrix is the lesser evil
MOST_OWN_BYTES = 1 << 30
SUFFICIENT_DECREASE = 1e-4
MOST_HALVINGS = 30


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of the features' covariance, from part of the bins.

    Attributes:
        scales: ascending; (feature,).
        rotation: in columns; (feature, feature).
        own: covariances of each unit's own history, where that has features of its own; those are no part of the two above.
        whole: covariance of all features in their order, where own history has some; None where the two above tell it.
    """

    scales: Float[Tensor, " feature"]
    rotation: Float[Tensor, "feature feature"]
    own: Float[Tensor, "unit own own"] | None = None
    whole: Float[Tensor, "all_features all_features"] | None = None

    @property
    def n_features(self) -> int:
        """All features, those of own history included."""
        return len(self.scales) + (0 if self.own is None else self.own.shape[0] * self.own.shape[1])


@dataclass(frozen=True, eq=False)
class GLMFit:
    """The optimum of the penalised log-likelihood.

    Attributes:
        weights: (unit, feature), float64.
        baseline: (unit,), drive with nobody spiking, float64.
        decrement: estimated distance of each unit to its optimum, in nats; (unit,).
        converged: whether every unit came within the tolerance.
        objective: penalised log-likelihood in nats after each iteration, summed over units.
        dispersion: of negative-binomial counts; None where they are Poisson.
        kkt: how far each unit is from the optimality conditions, in nats per unit of weight, where the problem has corners; (unit,).
        spectrum: of the features, so that a fit that starts from this one need not find it again.
    """

    weights: Float[Tensor, "unit feature"]
    baseline: Float[Tensor, " unit"]
    decrement: Float[Tensor, " unit"]
    converged: bool
    objective: list[float] = field(default_factory=list)
    kkt: Float[Tensor, " unit"] | None = None
    spectrum: Spectrum | None = None
    dispersion: Float[Tensor, " unit"] | None = None


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


def glm_log_likelihood(design: Design, fit: GLMFit, *, link: str = "softplus") -> Float[Tensor, " unit"]:
    """Log-likelihood of every unit in nats, summed over the design's bins, without the penalty; counts' factorials included."""
    weights, baseline = fit.weights.to(design.dtype), fit.baseline.to(design.dtype)

    part = design.own_part()

    def sum_up() -> Tensor:
        total = torch.zeros(design.n_units, dtype=torch.float64, device=design.device)
        arranged, alpha = Weights(weights), fit.dispersion
        for (products, unit, bin_, count), lost in zip(part.spikes(), part.lost(), strict=True):
            expected, _ = LINKS[link](products.drive(arranged, baseline))
            if lost is not None:
                expected = expected.masked_fill(lost, 0.0)
            if alpha is None:
                total -= expected.sum(1, dtype=torch.float64)
            else:
                total -= empty_bin(expected.double(), alpha[:, None]).sum(1)
                scattered = rising(alpha, int(count.max()) if len(count) else 0)[unit, count.long()]
                scattered -= count * torch.log1p(alpha[unit] * expected[unit, bin_])
                total.index_add_(0, unit, scattered)
            at_spikes = count.double() * expected[unit, bin_].double().log() - torch.lgamma(count.double() + 1)
            total.index_add_(0, unit, at_spikes)
        return total

    total = part.within_memory(sum_up)
    add_up([total])
    return total


def dispersion_of(design: Design, fit: GLMFit, *, link: str) -> Float[Tensor, " unit"]:
    """The dispersion of every unit that makes its counts likeliest, given what a fit expects; float64."""
    weights, baseline = fit.weights.to(design.dtype), fit.baseline.to(design.dtype)

    def sum_up() -> Tensor:
        moments, arranged = Moments(design.n_units, design.device), Weights(weights)
        for (products, unit, bin_, count), lost in zip(design.spikes(), design.lost(), strict=True):
            expected, _ = LINKS[link](products.drive(arranged, baseline))
            moments.add(expected, unit, bin_, count, lost)
        return moments.dispersion()

    return design.within_memory(sum_up)


class Solver:
    """The work of `fit_glm`.

    A weight that is not free has no gradient and no part in a direction. The shared matrix is used between two such
    projections, P M P: symmetric, and positive definite on the free weights, so L-BFGS may start from it, whatever
    each unit's own mask is. An information matrix of a unit's own is that of its free weights alone.
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
        self.dispersion = dispersion
        self.design, self.ridge, self.link, self.link_name, self.free = design, ridge, LINKS[link], link, free
        self.part = design.own_part()
        self._prepare(spectrum)

    def ridge_of(self, units: Tensor) -> float | Tensor:
        """Penalties of some units' weights."""
        return self.ridge[units] if isinstance(self.ridge, Tensor) else self.ridge

    def hold(self, values: Tensor, units: Tensor) -> Tensor:
        """Put zeros, in place, where some units' weights are not free; (unit, feature and more behind)."""
        if self.free is not None:
            values[:, : self.design.n_features].mul_(self.free[units])
        return values

    @functools.cached_property
    def gram(self) -> Float[Tensor, "feature feature"]:
        """Covariance of the features."""
        if self.spectrum.whole is not None:
            return self.spectrum.whole
        return (self.rotation * self.spectrum.scales) @ self.rotation.T

    def _prepare(self, spectrum: Spectrum | None) -> None:
        """Feature means and counts from every bin, the Gram matrix from as many blocks as it needs."""
        d = self.design
        self.mean = d.feature_sums() / d.n_bins
        n_bins = d.own_bins()
        self.mean_count = d.count_sums() / n_bins
        self.parts = OwnBlocks(d)
        if spectrum is None or spectrum.n_features != d.n_features:
            every = max(1, d.n_bins // max(1, GRAM_BINS_PER_FEATURE * d.n_features))
            gram, n_seen = self.part.within_memory(lambda: self.part.gram(self.mean, every))
            add_up([gram, n_seen])
            whole = gram / n_seen
            shared, own = self.parts.split(whole)
            scales, rotation = torch.linalg.eigh(shared)
            spectrum = Spectrum(scales, rotation, own, None if own is None else whole)
        self.spectrum, self.rotation, scales = spectrum, spectrum.rotation, spectrum.scales
        r = self.mean_count.clamp(min=0.5 / n_bins)
        self.start_drive = inverse_link(self.link_name, r)
        expected, slope = self.link(self.start_drive)
        information = slope.square() / expected
        if self.dispersion is not None:
            information = information / (1 + self.dispersion * expected)
        # With unequal penalties the shared matrix takes their mean; it need not be exact.
        ridge = self.ridge.mean(1, keepdim=True) if isinstance(self.ridge, Tensor) else self.ridge
        self.curvature = (information * n_bins)[:, None] * scales.clamp(min=0) + ridge
        self.curvature = self.curvature.clamp(min=1e-6 * self.curvature.max())
        self.baseline_curvature = information * n_bins
        if spectrum.own is not None:
            block = (information * n_bins)[:, None, None] * spectrum.own
            diagonal = block.diagonal(dim1=1, dim2=2)
            diagonal += ridge[:, :1] if isinstance(ridge, Tensor) else ridge
            diagonal += 1e-6 * diagonal.amax(1, keepdim=True)
            self.own_factors = torch.linalg.cholesky(block)
        self.own: Tensor | None = None
        self.own_row = torch.zeros(d.n_units, dtype=torch.long, device=d.device)

    def give_own_curvature(self, params: Tensor, units: Tensor) -> bool:
        """Factor the Fisher information of some units at their present parameters; False where it would cost too much."""
        information = self.information_of(params, units)
        if information is None:
            return False
        self.own = torch.linalg.cholesky(information)
        self.own_row[units] = torch.arange(len(units), device=self.design.device)
        return True

    def information_of(self, params: Tensor, units: Tensor) -> Float[Tensor, "unit row column"] | None:
        """Fisher information and penalty of some units' free weights and drive; None where it would cost too much."""
        d = self.design
        size = d.n_features + 1
        every = max(1, d.n_bins // (OWN_BINS_PER_FEATURE * size))
        if (
            float(len(units)) * (d.n_bins / every) * size**2 > MOST_OWN_MULTIPLICATIONS
            or 8 * len(units) * size**2 > MOST_OWN_BYTES
        ):
            return None
        information, n_seen = self.part.within_memory(lambda: self._information(params, units, every))
        add_up([information, n_seen])
        information *= d.n_bins / n_seen
        diagonal = information.diagonal(dim1=1, dim2=2)
        diagonal[:, :-1] += self.ridge_of(units)
        diagonal += 1e-6 * diagonal.amax(1, keepdim=True)
        if self.free is not None:
            free = torch.nn.functional.pad(self.free[units].to(information), (0, 1), value=1.0)
            information *= free[:, :, None] * free[:, None, :]
            diagonal += 1 - free
        return information

    def _information(self, params: Tensor, units: Tensor, every: int) -> tuple[Tensor, Tensor]:
        """The units' Fisher information on some blocks, (unit, feature + 1, feature + 1), and the bins seen."""
        d = self.design
        size = d.n_features + 1
        weights64, drive64 = params[units, :-1], params[units, -1]
        offset = (drive64 - weights64 @ self.mean).to(d.dtype)[:, None]
        centre = self.mean.to(d.dtype)[:, None]
        information = torch.zeros(len(units), size, size, dtype=torch.float64, device=d.device)
        n_seen = 0
        for (features, _), lost in zip(self.part.blocks(every), self.part.lost(every), strict=True):
            expected, slope = self.link(torch.addmm(offset, weights64.to(d.dtype), features))
            root = slope / expected.sqrt()
            if self.dispersion is not None:
                root = root / (1 + self.dispersion[units].to(root)[:, None] * expected).sqrt()
            if lost is not None:
                root = root.masked_fill(lost[units], 0.0)
            centred = torch.cat([features - centre, torch.ones_like(features[:1])])
            for row in range(len(units)):
                scaled = centred * root[row]
                information[row] += scaled @ scaled.T
            n_seen += features.shape[1]
        return information, torch.tensor(float(n_seen), dtype=torch.float64, device=d.device)

    def evaluate(self, params: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """Penalised negative log-likelihood in nats and its gradient, for some units; counts' factorials left out.

        `params` is (unit, feature + 1): weights on centred features, then the drive at the mean features.
        """
        value, gradient = self.part.within_memory(lambda: self._evaluate(params, units))
        add_up([value, gradient])
        weights, ridge = params[:, :-1], self.ridge_of(units)
        value += 0.5 * (ridge * weights.square()).sum(1)
        gradient[:, :-1] -= gradient[:, -1:] * self.mean
        gradient[:, :-1] += ridge * weights
        return value, self.hold(gradient, units)

    def _evaluate(self, params: Tensor, units: Tensor) -> tuple[Tensor, Tensor]:
        """Without the penalty, on features that are not centred, from this process's part of the bins."""
        d = self.design
        weights64, drive64 = params[:, :-1], params[:, -1]
        weights = weights64.to(d.dtype)
        offset = (drive64 - weights64 @ self.mean).to(d.dtype)
        value = params.new_zeros(len(params))
        gradient = torch.zeros_like(params)
        row_of = torch.full((d.n_units,), -1, device=d.device)
        row_of[units] = torch.arange(len(units), device=d.device)
        arranged = Weights(weights)
        alpha = None if self.dispersion is None else self.dispersion[units].to(d.dtype)
        for (products, unit, bin_, count), lost in zip(self.part.spikes(), self.part.lost(), strict=True):
            expected, slope = self.link(products.drive(arranged, offset))
            if lost is not None:  # where a unit is lost there are no spikes of it, and nothing was to be expected
                own = lost if len(units) == d.n_units else lost[units]
                expected, slope = expected.masked_fill(own, 0.0), slope.masked_fill(own, 0.0)
            row = row_of[unit]
            if len(units) < d.n_units:
                mine = row >= 0
                row, bin_, count = row[mine], bin_[mine], count[mine]
            at_spikes = expected[row, bin_]
            value.index_add_(0, row, (count * at_spikes.log()).double(), alpha=-1)
            if alpha is None:
                value += expected.sum(1, dtype=torch.float64)
            else:
                value += empty_bin(expected, alpha[:, None]).sum(1, dtype=torch.float64)
                value.index_add_(0, row, (count * torch.log1p(alpha[row] * at_spikes)).double())
                slope = slope / (1 + alpha[:, None] * expected)
            # d/d drive of (f − x log f) is slope · (1 − x/f); the second part lives where there are spikes.
            residual = slope.clone() if slope is expected else slope
            residual[row, bin_] *= 1 - count / at_spikes
            gradient[:, :-1] += products.against(residual).double()
            gradient[:, -1] += residual.sum(1, dtype=torch.float64)
        return value, gradient

    def precondition(self, gradient: Tensor, units: Tensor) -> Tensor:
        if self.own is not None:
            factors = self.own[self.own_row[units]]
            return torch.cholesky_solve(gradient[..., None], factors)[..., 0]
        out = torch.empty_like(gradient)
        if self.parts.any:
            rotated = gradient[:, self.parts.shared] @ self.rotation
            out[:, self.parts.shared] = (rotated / self.curvature[units]) @ self.rotation.T
            own = self.parts.own[units]
            solved = torch.cholesky_solve(gradient.gather(1, own)[..., None], self.own_factors[units])[..., 0]
            out[:, self.parts.own.flatten()] = 0.0
            out.scatter_(1, own, solved)
        else:
            out[:, :-1] = (gradient[:, :-1] @ self.rotation / self.curvature[units]) @ self.rotation.T
        out[:, -1] = gradient[:, -1] / self.baseline_curvature[units]
        return self.hold(out, units)

    def begin(self, start: GLMFit | None) -> Float[Tensor, "unit parameter"]:
        """Where to start: from another fit, or from constant rates."""
        d = self.design
        params = torch.zeros(d.n_units, d.n_features + 1, dtype=torch.float64, device=d.device)
        if start is None:
            params[:, -1] = self.start_drive
        else:
            params[:, :-1] = start.weights
            params[:, -1] = start.baseline + start.weights @ self.mean
            self.hold(params, torch.arange(d.n_units, device=d.device))
        return params

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
        memory = _Memory(d.n_units)
        objective = [-value.sum().item()]
        active = everyone
        for iteration in range(1, max_iterations + 1):
            if not len(active):
                break
            far = iteration > OWN_AFTER and self.own is None and bool(decrement[active].max() > OWN_ABOVE_NATS)
            if far and self.give_own_curvature(params, active):
                memory = _Memory(d.n_units)  # its pairs corrected the shared matrix
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


class _Memory:
    """L-BFGS pairs of all units as columns; a unit's bad pair (no positive curvature) counts as none."""

    def __init__(self, n_units: int) -> None:
        self.n_units = n_units
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, units: Tensor, step: Tensor, change: Tensor) -> None:
        s = step.new_zeros(self.n_units, step.shape[1])
        y = torch.zeros_like(s)
        s[units], y[units] = step, change
        curvature = (s * y).sum(1)
        good = curvature > 1e-12 * y.norm(dim=1) * s.norm(dim=1)
        inverse = torch.where(good, 1 / torch.where(good, curvature, 1.0), 0.0)
        self.pairs = [*self.pairs[-(MEMORY - 1) :], (s, y, inverse)]

    def apply(self, gradient: Tensor, units: Tensor, precondition: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The two-loop recursion, with the shared preconditioner as first inverse Hessian."""
        q = gradient.clone()
        coefficients = []
        for s, y, inverse in reversed(self.pairs):
            a = inverse[units] * (s[units] * q).sum(1)
            q -= a[:, None] * y[units]
            coefficients.append(a)
        q = precondition(q, units)
        for (s, y, inverse), a in zip(self.pairs, reversed(coefficients), strict=True):
            b = inverse[units] * (y[units] * q).sum(1)
            q += (a - b)[:, None] * s[units]
        return q
