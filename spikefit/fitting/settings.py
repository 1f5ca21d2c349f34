"""What a fit depends on beside the counts."""

from __future__ import annotations

from dataclasses import dataclass

from spikefit.models.own_history import SAME
from spikefit.pair_rules import PairRule

NEGATIVE_BINOMIAL = "negative-binomial"
_NOT_IDENTITY = {  # settings that a checkpoint does not depend on
    "hidden",
    "hidden_auto",
    "memory_limit",
    "compiles",  # roundings alone, so that a run may be resumed either way
    "folds",
    "surrogates",
    "n_surrogates",
    "surrogates_below",
    "long_lags",
    "workers",
}


@dataclass(frozen=True)
class FitSettings:
    """What a fit depends on beside the counts; see `spikefit.config` for the meaning and the defaults.

    `ridge`, `group_lasso` and `learning_rate` are None where they shall be chosen from the data. `dale` holds ids or patterns of senders with
    their sign; a later pair overrules an earlier one. `common_drive_s` are the time constants of the common drive;
    there is none where it is empty. With `hidden_auto` the numbers of hidden units to try are read from the
    fit without them, and `hidden` is (0,). `surrogates` names how spikes are moved in the surrogates that a fit without hidden units is held against;
    where it is None there are none, but with fewer units than `surrogates_below` they are jittered. They are made on so many `workers`
    (None: all cores). `memory_limit` is in bytes, None where it shall follow from what is free; it
    changes no number. `compiles` asks for `torch.compile` where hidden units are trained.
    """

    hidden: tuple[int, ...]
    window_s: float
    basis: str
    n_functions: int
    link: str
    family: str
    posterior: str
    hidden_sign: str
    estimator: str
    temperature: float
    n_draws: int
    ridge: float | None
    restarts: int
    heldout: float
    max_epochs: int
    learning_rate: float | None
    seed: int
    common_drive_s: tuple[float, ...] = ()
    folds: int = 1
    hidden_auto: bool = False
    surrogates: str | None = None
    n_surrogates: int = 0
    surrogates_below: int = 0
    long_lags: bool = False
    workers: int | None = None
    pair_rules: tuple[PairRule, ...] = ()
    count_law: str = "poisson"
    dale: tuple[tuple[str, str], ...] = ()
    posterior_depth: int = 0
    group_lasso: float | None = 0.0
    self_basis: str = SAME
    self_functions: int = 4
    self_window_s: float | None = None
    memory_limit: int | None = None
    compiles: bool = False
    max_count: int = 1

    @property
    def identity(self) -> dict[str, str]:
        """What a checkpoint depends on, as texts that two equal runs share."""
        return {name: repr(value) for name, value in vars(self).items() if name not in _NOT_IDENTITY}
