"""What a config asks of a recording and of the fitting: counts with their covariates, settings, types of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spikefit.config import Config
from spikefit.config.kinds import memory_bytes
from spikefit.errors import UsageError
from spikefit.pair_rules import read_pair_rules
from spikefit.pair_types import NONE, fault_of, is_table, types_of_units
from spikefit.spikes import Counts, SpikeTrains

if TYPE_CHECKING:
    from spikefit.fitting.settings import FitSettings


def binned(trains: SpikeTrains, config: Config) -> Counts:
    """Counts of a recording with the covariates that the config asks for.

    Raises:
        UsageError: if the bins are too wide, or a covariate is not there or of no use.
    """
    from spikefit.config.terms import terms_of
    from spikefit.covariate_design import with_covariates

    model = config.model
    leave_out = model.covariate_gaps == "leave-out"
    return with_covariates(trains.bin(model.bin), trains, terms_of(model.with_covariates), leave_out=leave_out)


def fit_settings(config: Config) -> FitSettings:
    """What the fitting needs to know of a config."""
    from spikefit.diagnostics.significance import FEWEST_UNITS
    from spikefit.fitting.settings import FitSettings

    moves = config.fit.significance in ("jitter", "shift", "trials")
    hidden = config.model.hidden
    return FitSettings(
        hidden=(0,) if hidden == "auto" else (hidden,) if isinstance(hidden, int) else tuple(hidden),
        hidden_auto=hidden == "auto",
        window_s=config.model.window,
        basis=config.model.basis,
        n_functions=config.model.functions,
        count_law=config.model.count_law,
        self_basis=config.model.self_basis,
        self_functions=config.model.self_functions,
        self_window_s=config.model.self_window,
        link=config.model.link,
        family=config.model.family,
        posterior=config.model.posterior,
        max_count=config.model.max_count,
        posterior_depth=config.model.posterior_depth,
        hidden_sign=config.model.dale.get("hidden", config.model.hidden_sign),
        estimator=config.gradient.estimator,
        temperature=config.gradient.temperature,
        n_draws=config.gradient.draws,
        ridge=config.fit.ridge if isinstance(config.fit.ridge, float) else None,
        common_drive_s=config.model.common_drive_tau if config.model.common_drive == "on" else (),
        restarts=config.fit.restarts,
        heldout=config.fit.heldout,
        folds=config.fit.folds,
        max_epochs=config.fit.max_epochs,
        learning_rate=config.fit.learning_rate if isinstance(config.fit.learning_rate, float) else None,
        seed=config.run.seed,
        dale=tuple(
            ("*" if name == "all" else name, sign) for name, sign in config.model.dale.items() if name != "hidden"
        ),
        group_lasso=config.fit.group_lasso if isinstance(config.fit.group_lasso, float) else None,
        surrogates=config.fit.significance if moves else None,
        n_surrogates=config.fit.surrogates,
        surrogates_below=FEWEST_UNITS if config.fit.significance == "null" else 0,
        long_lags=config.fit.long_lags == "on",
        workers=config.run.threads,
        pair_rules=() if config.model.pair_mask is None else read_pair_rules(config.model.pair_mask),
        compiles=config.run.compile,
        memory_limit=None if config.run.memory_limit is None else memory_bytes(config.run.memory_limit),
    )


def pair_types(config: Config, recording: SpikeTrains | Counts, kept: Sequence[str]) -> tuple[str, ...] | None:
    """The types of the units that are fitted, where pairs of types are to be tested apart; None where they are not.

    Args:
        config: of the fit.
        recording: with the units that the fit leaves out.
        kept: ids of those that are fitted.

    Raises:
        UsageError: if there is no such column or table, or types that are of no use; the message says what there is.
    """
    from spikefit.diagnostics.significance import FEWEST_PAIRS

    source = config.fit.pair_types
    if source == NONE:
        return None
    columns = recording.unit_columns if isinstance(recording, SpikeTrains) else None
    known = dict(
        zip(
            recording.unit_ids,
            types_of_units(source, recording.unit_ids, columns, known=config.recording.drop_unit),
            strict=True,
        )
    )
    types = tuple(known[unit] for unit in kept)
    fault = fault_of(types, kept, least=FEWEST_PAIRS)
    if fault is not None:
        where = Path(source).name if is_table(source) else f"unit column {source!r}"
        raise UsageError(f"{where}: {fault[0]}.", hint=fault[1])
    return types
