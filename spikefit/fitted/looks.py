"""What is there to be seen in a fitted network, one look at a time: each adds figures, remarks and columns to the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.plots.activity import DISPERSION
from spikefit.results import CommonDriveTerm, CovariateTerms, UnitRow
from spikefit.spikes import Counts

if TYPE_CHECKING:
    from spikefit.diagnostics.edge_test import EdgeTest
    from spikefit.fitting.expected import Judged
    from spikefit.fitting.outcome import FittedNetwork

ATTENUATION = "attenuation"  # column of the unit table: share of a coupling's size onto it that the fit shows
PAIR_TYPE = "pair_type"  # column of the unit table: the type by which a unit's pairs were tested


@dataclass(frozen=True, eq=False)
class Look:
    """What one look at a fit adds to its result.

    Attributes:
        metrics: figures of the whole fit.
        notes: what the reader must know, in sentences.
        columns: of the unit table, in the order of the fitted units.
        diagnostics: arrays, by the names that `Result.diagnostics` has for them.
    """

    metrics: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    columns: Mapping[str, Sequence[str | float]] = field(default_factory=dict)
    diagnostics: Mapping[str, Any] = field(default_factory=dict)


def with_columns(
    units: Sequence[UnitRow], unit_ids: Sequence[str], columns: Mapping[str, Sequence[str | float]]
) -> list[UnitRow]:
    """The unit table with further columns, of the units that were fitted; values are in the order of `unit_ids`."""
    of_unit = {unit: {name: columns[name][k] for name in columns} for k, unit in enumerate(unit_ids)}
    return [
        dataclasses.replace(row, columns={**row.columns, **of_unit[row.id]}) if row.kept and row.id in of_unit else row
        for row in units
    ]


def look_at_test(test: EdgeTest, types: Sequence[str] | None, source: str) -> Look:
    """What the test of the pairs says of all of them; `source` says where the types of the units come from."""
    if types is None:
        return Look(test.metrics, test.notes)
    return Look({"pair_types": source, **test.metrics}, test.notes, {PAIR_TYPE: types})


def look_at_identifiability(network: FittedNetwork, counts: Counts, *, link: str) -> Look:
    """What there is to go by for each pair of recorded units, and for the whole; `link` is that of the fit."""
    from spikefit.diagnostics import identifiability as found

    n, n_lags = counts.n_units, network.coupling_filters.shape[2]
    connectivity = network.coupling_filters.sum(axis=2)
    n_pairs, by_chance = found.spike_pairs(counts.counts, counts.segment_offsets, n_lags, counts.lost)
    z = found.correlogram_z(n_pairs, by_chance)
    pairs = {"n_spike_pairs": n_pairs, "correlogram_z": z}
    visible, std_error = connectivity[:n, :n], network.std_error[:n, :n]
    if network.h0_connectivity is not None:
        pairs["h0_weight"] = network.h0_connectivity
    if network.curvature is not None and network.variance_inflation is not None:
        pairs |= {"curvature": network.curvature, "variance_inflation": network.variance_inflation}
    restarts = network.restart_connectivity
    if restarts is not None:
        pairs["restart_sd"], pairs["restart_agreement"] = found.agreement_of_restarts(visible, restarts)
    everything = connectivity.copy()
    common = common_drive_of(network, counts.bin_width_s)
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
    notes: tuple[str, ...] = ()
    if whole["spectral_radius"] >= found.STRONG_RECURRENCE:
        notes = (
            f"one spike calls up {whole['spectral_radius']:.2g} further ones in this fit (spectral radius): it is strongly recurrent, and "
            "couplings of such a fit can stand for slow drive that all units share",
        )
    return Look(metrics=whole, notes=notes, diagnostics=pairs)


def look_at_goodness(judged: Judged | None, counts: Counts, *, seed: int) -> Look:
    """How well each unit is described; nothing where no bins were judged."""
    if judged is None:
        return Look()
    from spikefit.diagnostics.goodness import goodness_of_fit

    found = goodness_of_fit(
        counts.counts[judged.bins],
        judged.expected_count,
        judged.constant_count,
        seed=seed,
        lost=None if counts.lost is None else counts.lost[judged.bins],
    )
    return Look(
        metrics={**found.metrics, "goodness_heldout": judged.heldout},
        columns={name: [float(value) for value in values] for name, values in found.columns.items()},
        diagnostics={"ks_curve": found.ks_curve},
    )


def look_at_attenuation(network: FittedNetwork, counts: Counts, test: EdgeTest) -> Look:
    """How much of a coupling's size onto each unit the fit shows; nothing where that is not known."""
    if network.attenuation is None:
        return Look()
    from spikefit.diagnostics.stretching import attenuation_note

    return Look(
        {"attenuation_median": float(np.median(network.attenuation))},
        attenuation_note(network.attenuation, counts.unit_ids, tested=bool(np.isfinite(test.ci_low).any())),
        {ATTENUATION: network.attenuation.tolist()},
    )


def look_at_dispersion(parameters: Mapping[str, Any], count_law: str) -> Look:
    """The law of the counts, and how far each unit's scatter more than Poisson ones where they may."""
    alpha = _dispersion_of(parameters)
    if alpha is None:
        return Look({"count_law": count_law})
    return Look(
        {"count_law": count_law, "dispersion_median": float(np.median(alpha))},
        ("goodness of fit was not computed: rescaled intervals are known for Poisson counts alone",),
        {DISPERSION: alpha.tolist()},
    )


def _dispersion_of(parameters: Mapping[str, Any]) -> np.ndarray | None:
    """Of negative-binomial counts of the recorded units; None where counts are Poisson."""
    if "dispersion" in parameters:
        return np.asarray(parameters["dispersion"], dtype=np.float64)
    if "log_dispersion" in parameters:
        return np.exp(np.asarray(parameters["log_dispersion"], dtype=np.float64))
    return None


def look_at_covariates(network: FittedNetwork, counts: Counts) -> tuple[CovariateTerms | None, Look]:
    """What the fit makes of its covariates; None and nothing where it has none."""
    if counts.covariates is None:
        return None, Look()
    from spikefit.covariate_design import covariate_metrics, covariate_terms

    weights = np.asarray(network.parameters["covariate_weights"], dtype=np.float64)
    columns = counts.covariates
    terms = covariate_terms(columns, weights, network.covariate_std_error)
    notes: tuple[str, ...] = ()
    missing = int((~columns.known).sum())
    if missing:
        names = " or ".join(term.name for term in columns.terms if term.share_known < 1)
        notes = (
            f"{missing} of {columns.known.size} bins were left out of the fit, because {names} is not known there",
        )
    return terms, Look(covariate_metrics(columns, terms), notes)


def common_drive_of(network: FittedNetwork, bin_width_s: float) -> CommonDriveTerm | None:
    """How recent activity of the whole recorded population acts on each unit; None where the fit has no such term."""
    parameters = network.parameters
    if "common_drive_weights" not in parameters:
        return None
    return CommonDriveTerm(
        time_constant_s=-bin_width_s / np.log(parameters["common_drive_decay"]),
        weights=parameters["common_drive_weights"],
        level_hz=float(parameters["common_drive_level"]) / bin_width_s,
    )
