"""The candidates of one fit: every number of hidden units that is tried, scored on the same held-out windows.

The fit without hidden units is always one of them. The common drive belongs to it alone: hidden units are the common
drive, and with covariates in their place they would not be found. So hidden units must beat the best that can be done
without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from spikefit.fitting.cross_validation import CrossValidation, cross_validate
from spikefit.fitting.design import Design
from spikefit.fitting.glm_fit import GLMFit
from spikefit.fitting.hooks import Hooks
from spikefit.fitting.how_many import CountShared, candidates_for, overfit_nats
from spikefit.fitting.iwae import iwae_nats
from spikefit.fitting.outcome import Array, PlainCouplings
from spikefit.fitting.problem import Problem
from spikefit.fitting.scores import Blocks, choose_hidden, describe_blocks, glm_nats, poglm_nats
from spikefit.fitting.sizes import HELDOUT_CORE_BINS
from spikefit.fitting.training import Trained
from spikefit.fitting.uncertainty import curvature_of, errors_of_fit
from spikefit.fitting.weight_rules import weight_rules
from spikefit.fitting.windows import Windows
from spikefit.fitting.with_hidden import train_candidate
from spikefit.fitting.without_hidden import fit_observed
from spikefit.models.coupling import filters_from_weights


@dataclass(eq=False)
class Candidates:
    """What was fitted to the training bins, and how each did on the held-out ones.

    Attributes:
        problem: what all were fitted to.
        heldout: windows that judge.
        blocks: of those windows.
        observed: the fit without hidden units, the common drive included.
        nats: of each candidate on each held-out window, factorials left out; by number of hidden units.
        asked: numbers to choose from, the first of them where nothing can be judged.
        plain: design and fit without hidden units that the hidden ones start from: couplings alone.
        trained: the candidates with hidden units, by their number.
        iwae: importance-weighted bound of each candidate with hidden units on each held-out window, as `nats`.
        cross: what folds of the training bins say, where they were asked for.
        n_shared: shared inputs that the couplings show; None where that was not asked or cannot be told.
    """

    problem: Problem
    heldout: Windows
    blocks: Blocks
    observed: GLMFit
    nats: dict[int, Tensor]
    asked: tuple[int, ...]
    plain: tuple[Design, GLMFit]
    trained: dict[int, Trained] = field(default_factory=dict)
    iwae: dict[int, Tensor] = field(default_factory=dict)
    cross: CrossValidation | None = None
    n_shared: int | None = None

    def choose(self) -> int:
        """The fewest hidden units within one standard error of the best, by the folds or else the held-out bins; none is always one."""
        if len(self.asked) == 1 or not (len(self.heldout) or self.cross):
            return self.asked[0]
        if self.cross is not None:
            compared, n_bins, bar = dict(self.cross.nats), self.cross.n_bins, self.cross.bar
        else:
            compared, n_bins = {0: self.nats[0]} | self.iwae, self.blocks.n_bins
            bar = n_bins * self.hidden_bar
        if self.problem.settings.hidden_auto:
            compared[0] = compared[0] + bar
        return choose_hidden(compared, n_bins)

    @property
    def hidden_bar(self) -> float:
        """Nats per bin that hidden units must gain before `auto` takes them."""
        return overfit_nats(self.observed, self.problem.split.n_train)

    def tested_without_hidden(self, hooks: Hooks, why: str) -> PlainCouplings:
        """Couplings of the fit without hidden units to all bins, common drive and all, with their errors."""
        design, fit = fit_observed(self.problem, self.problem.split.everything, hooks, self.observed)
        return PlainCouplings(*_couplings(self.problem, design, fit), why)

    def plain_couplings(self) -> tuple[Array, Array | None, Array | None]:
        """Of the fit that the hidden units start from, (post, pre): couplings summed over lags, their curvature and variance inflation."""
        design, fit = self.plain
        basis = self.problem.basis.to(fit.weights)
        total: Array = filters_from_weights(fit.weights[:, : design.n_couplings], basis).sum(-1).cpu().numpy()
        if fit.kkt is not None:  # what a penalty has set to zero has no curvature
            return total, None, None
        ridge, free = weight_rules(self.problem, design, self.problem.ridge)
        link = self.problem.settings.link
        errors = errors_of_fit(design, fit, basis, ridge=ridge, link=link, free=free, by_lag=False, shared=True)
        assert errors.inflation is not None
        return total, curvature_of(errors), errors.inflation.cpu().numpy()


def fit_candidates(problem: Problem, hooks: Hooks, count_shared: CountShared | None) -> Candidates:
    """Fit every candidate to the training bins and score it on the held-out ones.

    Args:
        problem: with its penalty chosen.
        hooks: progress and checkpoints.
        count_shared: see `fit_network`.
    """
    settings = problem.settings
    heldout = problem.windows(problem.split.heldout, HELDOUT_CORE_BINS)
    hooks.stage("fitting without hidden units", None)
    design, fit = fit_observed(problem, problem.split.train, hooks, None)
    out = Candidates(
        problem=problem,
        heldout=heldout,
        blocks=describe_blocks(heldout, problem.mean_count, problem.constant_dispersion),
        observed=fit,
        nats={0: glm_nats(fit, heldout, problem.basis, settings.link, problem.inputs)},
        asked=settings.hidden,
        plain=(design, fit),
    )
    if settings.hidden_auto and count_shared is not None and len(heldout):
        shown = design, fit
        if problem.structure is not None and problem.structure.has_corners:
            shown = fit_observed(problem, problem.split.train, hooks, None, corners=False)
        out.n_shared = count_shared(*_couplings(problem, *shown))
        out.asked = candidates_for(out.n_shared, len(problem.counts))
    if max(out.asked) > 0 and problem.common_drive is not None:
        # Hidden units start from what couplings alone leave unexplained.
        out.plain = fit_observed(problem, problem.split.train, hooks, None, common_drive=False)
    with_hidden = sorted({h for h in out.asked if h > 0})
    trained = hooks.spread(
        "hidden", lambda n_hidden: train_candidate(problem, n_hidden, *out.plain, hooks), with_hidden
    )
    out.trained = dict(zip(with_hidden, trained, strict=True))
    out.nats |= {n_hidden: poglm_nats(candidate.scored, heldout) for n_hidden, candidate in out.trained.items()}
    if len(heldout):
        out.iwae = {n_hidden: iwae_nats(candidate.scored, heldout)[:, 0] for n_hidden, candidate in out.trained.items()}
    if settings.folds > 1 and max(out.asked) > 0:
        out.cross = cross_validate(problem, out.asked, hooks)
    return out


def _couplings(problem: Problem, design: Design, fit: GLMFit) -> tuple[Array, Array, Array]:
    """Couplings of a fit without hidden units summed over lags, (post, pre), their standard errors, and the errors' correlation."""
    settings, basis = problem.settings, problem.basis.to(design.device)
    ridge, free = weight_rules(problem, design, problem.ridge)
    errors = errors_of_fit(design, fit, basis, ridge=ridge, link=settings.link, free=free, by_lag=False)
    filters = filters_from_weights(fit.weights[:, : design.n_couplings], basis.double())
    assert errors.correlation is not None
    return filters.sum(-1).cpu().numpy(), errors.sums.cpu().numpy(), errors.correlation.cpu().numpy()
