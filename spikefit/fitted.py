"""The model as people use it from Python: settings in, a recording in, a result out that can score other recordings.

    fit = spikefit.POGLM(hidden=3, bin="10ms").fit(spikefit.read("session.nwb"))
    fit.connectivity, fit.hidden.expected_count, fit.score(other_recording)

A `Fit` is a `Result` whose parameters are still at work; torch is imported when it scores, not when it is opened.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit import results
from spikefit.config import Config
from spikefit.config.kinds import memory_bytes
from spikefit.config.sections import RecordingConfig
from spikefit.covariate_columns import CovariateColumns
from spikefit.errors import UsageError
from spikefit.pair_rules import check_names, check_pair_rules, read_pair_rules
from spikefit.pair_types import NONE, fault_of, is_table, types_of_units
from spikefit.plots.activity import DISPERSION
from spikefit.results import CommonDriveTerm, HiddenActivity, Result, UnitRow
from spikefit.spikes import Counts, SpikeTrains

PAIR_TYPE = "pair_type"  # column of the unit table: the type by which a unit's pairs were tested

if TYPE_CHECKING:
    from spikefit.fitting.expected import Judged
    from spikefit.fitting.outcome import FittedNetwork
    from spikefit.fitting.problem import FitSettings, Hooks


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Fit(Result):
    """A result that can be asked about spikes it has not seen."""

    def score(self, recording: SpikeTrains | Counts, *, n_draws: int = 8) -> dict[str, float]:
        """Score another recording of the same units.

        With hidden units the score is the evidence lower bound, with hidden counts drawn from the posterior; it errs
        on the low side.

        Args:
            recording: spike trains, or counts in the bin width of the fit, that hold every visible unit of the fit.
            n_draws: draws of the hidden counts.

        Returns:
            `nats_per_bin` and `bits_per_spike` with their standard errors over blocks of time (`…_se`), and `n_bins`.
            Bits are counted against constant rates in that recording itself.

        Raises:
            UsageError: if a unit is missing or the bin width is another.
        """
        from spikefit.fitting.rescore import score_counts

        counts = _counts_for(recording, self.bin_width_s)
        if not math.isclose(counts.bin_width_s, self.bin_width_s, rel_tol=1e-9):
            raise UsageError(
                f"the fit has bins of {self.bin_width_s:g} s, the counts have bins of {counts.bin_width_s:g} s.",
                hint="bin the recording as the fit was",
            )
        wanted = self.unit_id[: self.n_visible]
        missing = [unit for unit in wanted if unit not in counts.unit_ids]
        if missing:
            raise UsageError(
                f"{len(missing)} of the fit's {len(wanted)} units are not in the recording (first: {missing[0]!r}).",
                hint="score a recording of the same units",
            )
        rows = [counts.unit_ids.index(unit) for unit in wanted]
        covariates = self._covariates_of(recording, counts)
        model = self.config["model"]
        return score_counts(
            counts.counts[:, rows],
            counts.segment_offsets,
            dict(self.parameters),
            link=model["link"],
            family=model["family"],
            n_draws=n_draws,
            covariates=covariates,
            lost=None if counts.lost is None else counts.lost[:, rows],
        )

    def _covariates_of(self, recording: SpikeTrains | Counts, counts: Counts) -> CovariateColumns | None:
        """The fit's covariates in a recording, by the fit's own means, scales and knots."""
        from spikefit.covariate_design import fitted_terms, same_columns

        if self.covariates is None:
            return None
        if isinstance(recording, Counts):
            names = ", ".join(dict.fromkeys(self.covariates.covariate))
            raise UsageError(
                f"the fit listens to covariates ({names}), and counts alone do not hold them.",
                hint="score the recording itself (spikefit.read), with its covariates",
            )
        return same_columns(recording, counts, fitted_terms(self.covariates))


class POGLM:
    """A GLM of coupled neurons, some of them hidden.

    Args:
        config: all settings; the defaults where None.
        settings: single settings by the words of the command line, `POGLM(hidden=2, bin="10ms", device="cpu")`.

    Raises:
        ConfigError: for a setting that does not exist or cannot be, all of them listed.
    """

    def __init__(self, config: Config | None = None, **settings: Any) -> None:
        base = config or Config()
        self.config = base.replace(**settings) if settings else base

    def fit(self, recording: SpikeTrains | Counts, *, hooks: Hooks | None = None) -> Fit:
        """Fit a recording, all of it; choose units, epochs and intervals with the methods of `SpikeTrains` first.

        Args:
            recording: spike trains, or counts that are binned already (their bin width then holds).
            hooks: progress and checkpoints.

        Raises:
            SpikefitError: where recording and settings do not go together; see `spikefit.errors`.
        """
        from spikefit.diagnostics.significance import count_shared_inputs
        from spikefit.fitting.device import choose_device, compute_threads
        from spikefit.fitting.fit import fit_network

        counts = recording if isinstance(recording, Counts) else binned(recording, self.config)
        if self.config.model.with_covariates and counts.covariates is None:
            raise UsageError(
                f"counts alone do not hold the covariates that are asked for ({', '.join(self.config.model.with_covariates)}).",
                hint="fit the recording itself (spikefit.read), or give the counts their columns (spikefit.covariate_design)",
            )
        check_hidden(self.config, counts.unit_ids)
        check_structure(self.config, recording.unit_ids)
        types = pair_types(self.config, recording, counts.unit_ids)
        device = choose_device(self.config.run.device)
        with compute_threads(self.config.run.threads, counts.n_units):
            network = fit_network(
                counts, fit_settings(self.config), device=device, hooks=hooks, count_shared=count_shared_inputs
            )
        n_spikes = counts.counts.sum(axis=0, dtype=np.int64).tolist()
        units = [
            UnitRow(unit, "visible", True, "", n, mean / counts.bin_width_s)
            for unit, n, mean in zip(counts.unit_ids, n_spikes, counts.mean_count.tolist(), strict=True)
        ]
        name = recording.name if isinstance(recording, SpikeTrains) else "recording"
        return to_fit(
            network,
            counts,
            self.config,
            units=units,
            name=name,
            device=str(device),
            warnings=_unused(self.config),
            types=types,
        )


def _unused(config: Config) -> tuple[str, ...]:
    """A warning where settings of the recording were given to what takes a recording as it is."""
    plain = RecordingConfig()
    given = [key for key, value in config.recording if value != getattr(plain, key)]
    if not given:
        return ()
    return (
        f"POGLM.fit takes the recording as it is; these settings had no part in it: {', '.join(given)} (spikefit.infer uses them, or "
        "choose units and time with the methods of SpikeTrains)",
    )


def to_fit(
    network: FittedNetwork,
    counts: Counts,
    config: Config,
    *,
    units: Sequence[UnitRow],
    name: str,
    device: str,
    warnings: Sequence[str] = (),
    types: Sequence[str] | None = None,
    **further: Any,
) -> Fit:
    """Put a fitted network in the form of a result.

    Args:
        network: the fit.
        counts: what it was fitted to.
        config: the settings it was made with.
        units: rows of the unit table, dropped units included.
        name: of the recording.
        device: where it was computed.
        warnings: doubts about the input.
        types: of the recorded units, from `pair_types`; None where one null is for all pairs.
        further: other fields of `Result`.
    """
    from spikefit.diagnostics.identifiability import STRONG_RECURRENCE
    from spikefit.diagnostics.judging import judge
    from spikefit.diagnostics.stability import with_stability
    from spikefit.fitting.outcome import CI_LEVEL, CI_SIGMAS

    n_hidden = network.n_hidden
    n_lags = network.coupling_filters.shape[2]
    hidden = None
    if n_hidden:
        hidden = HiddenActivity(counts.time_s[network.hidden_bins], network.hidden_count)
    connectivity = network.coupling_filters.sum(axis=2)
    half_width = CI_SIGMAS * network.std_error
    ci_low, ci_high = connectivity - half_width, connectivity + half_width
    test = judge(network, config.fit.significance, level=CI_LEVEL, bin_width_s=counts.bin_width_s, types=types)
    metrics, notes = test.metrics, test.notes
    if types is not None:
        metrics = {"pair_types": config.fit.pair_types, **metrics}
        units = with_column(units, counts.unit_ids, PAIR_TYPE, types)
    p_value, q_value = _padded(test.p_value, n_hidden), _padded(test.q_value, n_hidden)
    tested_low, tested_high = _padded(test.ci_low, n_hidden), _padded(test.ci_high, n_hidden)
    tested = np.isfinite(tested_low)
    ci_low, ci_high = np.where(tested, tested_low, ci_low), np.where(tested, tested_high, ci_high)
    pairs, whole = _identifiability(network, counts, std_intervals=(ci_low, ci_high, p_value), link=config.model.link)
    metrics = {**metrics, **whole}
    if whole["spectral_radius"] >= STRONG_RECURRENCE:
        notes = (
            *notes,
            f"one spike calls up {whole['spectral_radius']:.2g} further ones in this fit (spectral radius): it is strongly recurrent, and "
            "couplings of such a fit can stand for slow drive that all units share",
        )
    goodness = None
    if network.judged is not None:
        goodness = _goodness(network.judged, counts, units, seed=config.run.seed)
        units, metrics = goodness[0], {**metrics, **goodness[2]}
    alpha = dispersion_of(network.parameters)
    metrics["count_law"] = config.model.count_law
    if alpha is not None:
        metrics["dispersion_median"] = float(np.median(alpha))
        units = with_column(units, counts.unit_ids, DISPERSION, alpha.tolist())
        notes = (*notes, "goodness of fit was not computed: rescaled intervals are known for Poisson counts alone")
    covariates = None
    if counts.covariates is not None:
        from spikefit.covariate_design import covariate_metrics, covariate_terms

        weights = np.asarray(network.parameters["covariate_weights"], dtype=np.float64)
        covariates = covariate_terms(counts.covariates, weights, network.covariate_std_error)
        metrics = {**metrics, **covariate_metrics(counts.covariates, covariates)}
        notes = (*notes, *_covariate_notes(counts))
    by_lag = {} if network.filter_std_error is None else {"filter_std_error": network.filter_std_error}
    fit = Fit(
        unit_id=(*counts.unit_ids, *(f"hidden-{h}" for h in range(n_hidden))),
        unit_kind=("visible",) * counts.n_units + ("hidden",) * n_hidden,
        connectivity=connectivity,
        coupling_filters=network.coupling_filters,
        lag_s=counts.bin_width_s * np.arange(1, n_lags + 1),
        baseline=network.baseline,
        bin_width_s=counts.bin_width_s,
        std_error=network.std_error,
        ci_low=ci_low,
        ci_high=ci_high,
        p_value=p_value,
        q_value=q_value,
        hidden=hidden,
        history=dict(network.history),
        diagnostics={**pairs, **test.by_pair, **by_lag, **(goodness[1] if goodness else {})},
        common_drive=_common_drive(network, counts.bin_width_s),
        covariates=covariates,
        metrics={**network.metrics, **metrics, "device": device},
        units=tuple(units),
        config=config.to_dict(),
        parameters=network.parameters,
        warnings=(*warnings, *network.notes, *notes),
        name=name,
        **further,
    )
    return with_stability(fit, network.stability)


def with_column(
    units: Sequence[UnitRow], unit_ids: Sequence[str], name: str, values: Sequence[str | float]
) -> list[UnitRow]:
    """The unit table with one further column, of the units that were fitted; `values` are in the order of `unit_ids`."""
    known = dict(zip(unit_ids, values, strict=True))
    return [
        dataclasses.replace(row, columns={**row.columns, name: known[row.id]}) if row.kept and row.id in known else row
        for row in units
    ]


def _padded(values: Any, n_hidden: int) -> Any:
    """Values of recorded pairs in a matrix of all units; NaN for hidden ones, which are not tested."""
    return np.pad(values, (0, n_hidden), constant_values=np.nan)


def _identifiability(
    network: FittedNetwork, counts: Counts, *, std_intervals: tuple[Any, Any, Any], link: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What there is to go by for each pair of recorded units, and for the whole."""
    from spikefit.diagnostics import identifiability as found

    n, n_lags = counts.n_units, network.coupling_filters.shape[2]
    connectivity = network.coupling_filters.sum(axis=2)
    n_pairs, by_chance = found.spike_pairs(counts.counts, counts.segment_offsets, n_lags, counts.lost)
    z = found.correlogram_z(n_pairs, by_chance)
    pairs = {"n_spike_pairs": n_pairs, "correlogram_z": z}
    ci_low, ci_high, p_value = (values[:n, :n] for values in std_intervals)
    visible, std_error = connectivity[:n, :n], network.std_error[:n, :n]
    if np.isfinite(p_value).any():
        pairs["shared_z"] = found.shared_z(visible, std_error, ci_low, ci_high, p_value)
    if network.h0_connectivity is not None:
        pairs["h0_weight"] = network.h0_connectivity
    if network.curvature is not None and network.variance_inflation is not None:
        pairs |= {"curvature": network.curvature, "variance_inflation": network.variance_inflation}
    restarts = network.restart_connectivity
    if restarts is not None:
        pairs["restart_sd"], pairs["restart_agreement"] = found.agreement_of_restarts(visible, restarts)
    everything = connectivity.copy()
    common = _common_drive(network, counts.bin_width_s)
    if common is not None:  # a spike of any recorded unit acts on all, summed over its exponentials
        decay = np.exp(-counts.bin_width_s / common.time_constant_s)
        everything[:, :n] += (common.weights @ (1 / (1 - decay)))[:, None]
    hidden = network.hidden_count.mean(axis=0) if network.n_hidden else np.empty(0)
    mean_count = np.concatenate([counts.mean_count, hidden])
    whole = {
        "spectral_radius": found.spectral_radius(everything, mean_count, link=link),
        "correlogram_share": found.share_known_to_correlograms(visible, std_error, z),
    }
    if restarts is not None:
        whole["restarts_compared"] = len(restarts)
    return pairs, whole


def _goodness(
    judged: Judged, counts: Counts, units: Sequence[UnitRow], *, seed: int
) -> tuple[list[UnitRow], dict[str, Any], dict[str, Any]]:
    """Unit rows with how well each unit is described, the curves behind it, and the figures in all."""
    from spikefit.diagnostics.goodness import goodness_of_fit

    found = goodness_of_fit(
        counts.counts[judged.bins],
        judged.expected_count,
        judged.constant_count,
        seed=seed,
        lost=None if counts.lost is None else counts.lost[judged.bins],
    )
    place = {unit: k for k, unit in enumerate(counts.unit_ids)}
    rows = []
    for row in units:
        if row.kept and row.id in place:
            further = {name: float(values[place[row.id]]) for name, values in found.columns.items()}
            row = dataclasses.replace(row, columns={**row.columns, **further})
        rows.append(row)
    metrics = {**found.metrics, "goodness_heldout": judged.heldout}
    return rows, {"ks_curve": found.ks_curve}, metrics


def dispersion_of(parameters: Mapping[str, Any]) -> np.ndarray | None:
    """Of negative-binomial counts of the recorded units; None where counts are Poisson."""
    if "dispersion" in parameters:
        return np.asarray(parameters["dispersion"], dtype=np.float64)
    if "log_dispersion" in parameters:
        return np.exp(np.asarray(parameters["log_dispersion"], dtype=np.float64))
    return None


def _covariate_notes(counts: Counts) -> tuple[str, ...]:
    """What the reader must know of the covariates."""
    columns = counts.covariates
    assert columns is not None
    notes = []
    missing = int((~columns.known).sum())
    if missing:
        names = " or ".join(term.name for term in columns.terms if term.share_known < 1)
        notes.append(
            f"{missing} of {columns.known.size} bins were left out of the fit, because {names} is not known there"
        )
    return tuple(notes)


def _common_drive(network: FittedNetwork, bin_width_s: float) -> CommonDriveTerm | None:
    parameters = network.parameters
    if "common_drive_weights" not in parameters:
        return None
    return CommonDriveTerm(
        time_constant_s=-bin_width_s / np.log(parameters["common_drive_decay"]),
        weights=parameters["common_drive_weights"],
        level_hz=float(parameters["common_drive_level"]) / bin_width_s,
    )


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
    from spikefit.fitting.problem import FitSettings

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


def check_structure(config: Config, unit_ids: Sequence[str]) -> None:
    """Refuse what is known of pairs where it names units that the recording does not have.

    Args:
        config: of the fit.
        unit_ids: of the whole recording, with the units that the fit leaves out.

    Raises:
        UsageError: naming the unit, and the nearest there is.
    """
    if config.model.pair_mask is not None:
        check_pair_rules(read_pair_rules(config.model.pair_mask), unit_ids, Path(config.model.pair_mask).name)
    check_names([name for name in config.model.dale if name not in ("all", "hidden")], unit_ids, "dale")


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


def check_hidden(config: Config, unit_ids: Sequence[str]) -> None:
    """Refuse a number of hidden units that no data of this kind could support, and ids that hidden units would take.

    Raises:
        UsageError: naming what was asked for and what makes sense.
    """
    hidden = fit_settings(config).hidden
    most = max(hidden)
    if most > len(unit_ids):
        raise UsageError(
            f"--hidden {most}: more hidden units than the {len(unit_ids)} recorded ones cannot be told apart.",
            hint=f"pass at most {len(unit_ids)}; a few are usually enough",
        )
    taken = sorted({f"hidden-{h}" for h in range(most)} & set(unit_ids))
    if taken:
        raise UsageError(
            f"a recorded unit is called {taken[0]!r}, a name that spikefit gives to hidden units.",
            hint="rename it, or fit without hidden units (--hidden 0)",
        )


def load_result(path: str | Path) -> Fit:
    """Open a result folder or its `connectivity.h5`, without torch.

    Raises:
        ResultError: if it is no result, half a result, damaged, or of a newer format.
    """
    return results.load_result(Path(path), cls=Fit)


def _counts_for(recording: SpikeTrains | Counts, bin_width_s: float) -> Counts:
    return recording if isinstance(recording, Counts) else recording.bin(bin_width_s)
