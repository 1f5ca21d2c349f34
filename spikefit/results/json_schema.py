"""JSON schemas of `metrics.json` and `provenance.json`: what other programs may rely on.

Further keys may come at any time; those named here keep their name, type and unit as long as the format version stays.
"""

from __future__ import annotations

from typing import Any

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def _number(text: str) -> dict[str, Any]:
    # A number that could not be computed is null: JSON has no NaN.
    return {"type": ["number", "null"], "description": text}


def _count(text: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0, "description": text}


METRICS_SCHEMA: dict[str, Any] = {
    "$schema": _DRAFT,
    "title": "metrics.json of a spikefit result",
    "type": "object",
    "properties": {
        "heldout_nats_per_bin": _number(
            "log-likelihood (its bound with hidden units) of the held-out bins, nats per bin"
        ),
        "heldout_bits_per_spike": _number("the same above constant rates, bits per spike"),
        "elbo_per_bin": _number("objective on the fitted bins, nats per bin"),
        "n_visible": _count("recorded units"),
        "n_hidden": _count("hidden units"),
        "n_bins": _count("bins in all"),
        "common_drive": {
            "type": "boolean",
            "description": "whether the reported fit has the recent activity of the whole population as covariates",
        },
        "count_law": {"type": "string", "description": "law of the recorded counts: poisson or negative-binomial"},
        "dispersion_median": _number("dispersion of the median unit, where counts are negative-binomial"),
        "covariates": {
            "type": "array",
            "description": "one entry for each covariate of the fit",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "basis": {"type": "string", "description": "linear, b-spline, cyclic or lags"},
                    "unit": {"type": "string", "description": "of its values; empty where not stated"},
                    "n_columns": _count("columns of the design"),
                    "mean": {"type": "array", "items": _number("mean of a series of its values, in its unit")},
                    "sd": {"type": "array", "items": _number("standard deviation of a series, in its unit")},
                    "share_known": _number("part of the bins in which it is known"),
                    "drive_sd_median": _number(
                        "standard deviation over bins of what it adds to the drive, median unit"
                    ),
                    "drive_sd_largest": _number("the same of the unit that it moves most"),
                },
                "required": ["name", "basis", "n_columns"],
            },
        },
        "n_bins_without_covariates": _count("bins left out because a covariate is not known in them"),
        "converged": {"type": "boolean", "description": "whether the fit met its stopping rule"},
        "fit_s": _number("time of the optimisation alone, seconds"),
        "wall_s": _number("time of the whole run, seconds"),
        "peak_rss_bytes": _number("largest resident memory of the process, bytes"),
        "device": {"type": "string", "description": "where the fit ran: cpu, cuda:0, mps"},
        "h0_common_drive": {
            "type": "boolean",
            "description": "whether the fit without hidden units that scores are compared with has these covariates",
        },
        "h0_heldout_nats_per_bin": _number("held-out score of the fit without hidden units, nats per bin"),
        "heldout_gain_nats_per_bin": _number("held-out score above the fit without hidden units, nats per bin"),
        "heldout_gain_se": _number("standard error of that gain, paired over bins, nats per bin"),
        "significance": {"type": "string", "description": "how edges were tested: null, jitter, shift, trials or none"},
        "tested_on": {
            "type": "string",
            "description": "with hidden units whose couplings have no errors: the fit that was tested, `fit without hidden units`",
        },
        "n_surrogates": _count("recordings with moved spikes that were refitted for that test"),
        "surrogate_centre": _number(
            "how far couplings lie from zero in surrogates, median over pairs, in standard errors; 0 if nothing slow is shared"
        ),
        "surrogate_spread": _number(
            "how widely a pair's coupling scatters over surrogates, median over pairs, in standard errors"
        ),
        "control_first_lag_s": _number("shortest of the long lags at which nothing should be called, seconds"),
        "control_last_lag_s": _number("longest of them, seconds"),
        "control_tested_pairs": _count("pairs that were tested at those lags"),
        "control_edges": _count("of those, called edges; they are false"),
        "n_tested_pairs": _count("ordered pairs of recorded units that were tested"),
        "n_edges": _count("of those, called edges at the level below"),
        "n_edges_q_level": _number("false-discovery rate at which n_edges are called"),
        "attenuation_median": _number(
            "share of a coupling's size that the fit shows beside input that it does not see, in the median receiver"
        ),
        "z_spread": _number("spread of coupling over standard error over pairs; 1 if the standard errors were right"),
        "n_shared_inputs": _count("inputs shared by many units that were found in the couplings and taken off"),
        "shared_inputs_agreement": _number("share of the divisions into folds that find this number by themselves"),
        "hidden_auto": {"type": "boolean", "description": "whether the number of hidden units was left to spikefit"},
        "hidden_bar_nats_per_bin": _number("gain over H = 0 that auto wants to see before it keeps hidden units"),
        "hidden_choice": {"type": "string", "description": "why that number of hidden units, as a sentence"},
        "n_shared_inputs_train": {
            "type": ["integer", "null"],
            "description": "shared inputs in the couplings of the training bins, by which auto chose what to try",
        },
        "null_centre": _number("centre of what no edge looks like, in standard errors"),
        "null_spread": _number("its spread, in standard errors; it counts as 1 where it is less"),
        "detectable_weight": _number(
            "how far a coupling of the median pair must lie from what is no edge to be called if no other was, drive per spike"
        ),
        "n_pairs_held_by_penalty": _count("pairs whose spikes are so few that moving them hardly moves the coupling"),
        "null_share_edges": _number(
            "share of pairs that do not look like no edge, where that was fitted because they are many"
        ),
        "null_shape": _number("its shape: 2 for a normal law, less for heavier tails"),
        "pair_types": {
            "type": "string",
            "description": "where pairs of types were tested apart: the unit column or table that the types come from; null_centre, null_spread "
            "and null_shape are then of one null for all pairs, for comparison",
        },
        "n_edges_one_null": _count(
            "where pairs of types were tested apart: edges that one null for all pairs would call"
        ),
        "null_by_type": {
            "type": "array",
            "description": "one entry for each ordered pair of types, the largest first: what no edge looks like among their pairs",
            "items": {
                "type": "object",
                "properties": {
                    "pre_type": {"type": "string", "description": "type of the senders"},
                    "post_type": {"type": "string", "description": "type of the receivers"},
                    "n_pairs": _count("tested pairs of such units"),
                    "fitted_to": {
                        "enum": ["own", "within", "between", "rest", "all"],
                        "description": "these pairs alone (own); where they are too few, all such small groups within a type (within), between types "
                        "(between), both together (rest), or all pairs (all)",
                    },
                    "n_fitted": _count("pairs that the null was fitted to"),
                    "centre": _number("in standard errors"),
                    "spread": _number("in standard errors; it counts as 1 where it is less"),
                    "shape": _number("2 for a normal law, less for heavier tails; read from all groups together"),
                    "share_edges": _number(
                        "share of edges among them, where they are so many that both were fitted together"
                    ),
                    "n_edges": _count("of the pairs, called edges"),
                },
                "required": ["pre_type", "post_type", "n_pairs", "fitted_to", "centre", "spread", "shape", "n_edges"],
            },
        },
        "ridge": _number("strength of the ridge penalty on couplings"),
        "learning_rate": _number("largest step of the optimiser, with hidden units"),
        "compiled": {
            "type": "boolean",
            "description": "where compiling was asked for: whether hidden units were trained with compiled arithmetic to the end",
        },
        "compile_s": _number("time that compiling took, seconds"),
        "compile_fault": {
            "type": ["string", "null"],
            "description": "why compiling was given up, and the fit went on without; null where it was not",
        },
        "learning_rate_turning": {
            "type": "array",
            "description": "where a trial found the learning rate: the rate of each restart beyond which the bound stopped rising",
            "items": {"type": "number"},
        },
        "ridge_path": {
            "type": "array",
            "description": "penalties that were tried where the ridge was left to the data, by cross-validation in the training bins",
            "items": {
                "type": "object",
                "properties": {
                    "ridge": _number("the penalty"),
                    "nats_per_bin": _number(
                        "score of the bins set aside, factorials of the counts left out, nats per bin"
                    ),
                    "behind": _number("how much less than the best penalty, nats per bin"),
                    "behind_se": _number("its standard error over blocks of time, nats per bin"),
                },
            },
        },
        "goodness_heldout": {
            "type": "boolean",
            "description": "whether goodness of fit was computed on bins that the fit had not seen",
        },
        "ks_units_tested": _count("recorded units with enough spikes for a test of their rescaled intervals"),
        "ks_units_failed": _count("of those, units that the fit does not describe at the level below"),
        "ks_q_level": _number("false-discovery rate over units at which ks_units_failed are counted"),
        "ks_median_distance": _number(
            "median over units of the Kolmogorov-Smirnov distance of their rescaled intervals"
        ),
        "spectral_radius": _number(
            "further spikes that one spike calls up, along the strongest mode of the linearised network"
        ),
        "correlogram_share": _number("squared rank correlation over pairs of couplings and plain cross-correlograms"),
        "simulated_runs": _count("free runs of the fitted network from the recorded past"),
        "simulated_runaway": _count("those of them in which the activity ran away"),
        "simulated_run_s": _number("length of a free run, seconds"),
        "n_unstable_hidden": _count("hidden units that fewer than half of the other restarts found again"),
        "hidden_stability": {
            "type": "array",
            "description": "one entry for each hidden unit, where there was more than one restart",
            "items": {
                "type": "object",
                "properties": {
                    "unit": {"type": "string", "description": "its id"},
                    "stability": _number("mean likeness of its matches in other fits, 0 to 1"),
                    "fits_agreeing": _count("other fits that found it again"),
                    "fits_compared": _count("other fits"),
                    "unstable": {"type": "boolean", "description": "whether fewer than half found it again"},
                },
                "required": ["unit", "stability", "unstable"],
            },
        },
        "iwae_draws": _count("draws behind each importance-weighted bound"),
        "heldout_iwae_nats_per_bin": _number("importance-weighted bound of the held-out bins, nats per bin"),
        "heldout_iwae_gain_nats_per_bin": _number("the same above the fit without hidden units, nats per bin"),
        "cross_validation": {
            "type": "object",
            "description": "folds of the training bins by which the number of hidden units was chosen",
            "properties": {
                "folds": _count("folds"),
                "blocks": _count("blocks in all"),
                "bins": _count("scored bins"),
                "fold_bins": {"type": "array", "items": _count("scored bins of each fold")},
                "fold_intervals_s": {
                    "type": "array",
                    "description": "for each fold the stretches that it sets aside, [start, end] in seconds",
                    "items": {
                        "type": "array",
                        "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                    },
                },
            },
        },
        "candidates": {
            "type": "array",
            "description": "one entry for each number of hidden units that was tried",
            "items": {
                "type": "object",
                "properties": {
                    "n_hidden": _count("hidden units"),
                    "heldout_nats_per_bin": _number("as above"),
                    "heldout_gain_nats_per_bin": _number("above no hidden units, nats per bin"),
                    "heldout_iwae_gain_nats_per_bin": _number("the same by the importance-weighted bound"),
                    "cv_gain_nats_per_bin": _number("the same in the folds of the training bins"),
                    "cv_gain_nats_per_bin_se": _number("its standard error, paired over blocks of time, nats per bin"),
                    "cv_fold_nats_per_bin": {
                        "type": "array",
                        "items": _number("score in each fold, factorials of the counts left out, nats per bin"),
                    },
                },
                "required": ["n_hidden"],
            },
        },
    },
    "required": [
        *("heldout_nats_per_bin", "heldout_bits_per_spike", "elbo_per_bin", "n_visible", "n_hidden", "n_bins"),
        *("converged", "fit_s", "wall_s", "peak_rss_bytes", "device"),
    ],
}

PROVENANCE_SCHEMA: dict[str, Any] = {
    "$schema": _DRAFT,
    "title": "provenance.json of a spikefit result",
    "type": "object",
    "properties": {
        "versions": {
            "type": "object",
            "description": "versions of spikefit and the libraries it used",
            "additionalProperties": {"type": ["string", "null"]},
            "required": ["spikefit", "python", "numpy"],
        },
        "device": {"type": "string", "description": "where the fit ran"},
        "argv": {"type": "array", "items": {"type": "string"}, "description": "the command as it was typed"},
        "seed": {"type": ["integer", "null"], "description": "seed of all randomness"},
        "input": {
            "type": "object",
            "description": "the recording",
            "properties": {
                "path": {"type": "string"},
                "bytes": _count("size of the file"),
                "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            },
            "required": ["path", "bytes", "sha256"],
        },
        "covariate_files": {
            "type": "object",
            "description": "size and SHA-256 of each table from which a covariate of the fit was read, by its name",
            "additionalProperties": {"type": "object"},
        },
        "lost_time_file": {
            "type": "object",
            "description": "path, size and SHA-256 of the table of when units were lost",
        },
        "pair_mask_file": {
            "type": "object",
            "description": "path, size and SHA-256 of the table of pairs that were known beforehand",
        },
        "pair_types_file": {
            "type": "object",
            "description": "path, size and SHA-256 of the table of types of units",
        },
        "session": {
            "type": "object",
            "description": "what the recording says of its session: session_start_time (ISO), session_id, subject_id, …",
            "additionalProperties": {"type": "string"},
        },
        "wall_s": _number("time of the whole run, seconds"),
        "cpu_s": _number("processor time of the whole run, seconds"),
        "peak_rss_bytes": _number("largest resident memory of the process, bytes"),
        "warnings": {"type": "array", "items": {"type": "string"}, "description": "doubts about the input or the fit"},
        "config_origin": {
            "type": "object",
            "description": "where each value of the configuration came from, by dotted key",
            "additionalProperties": {"type": "string"},
        },
    },
    "required": [
        "versions",
        "device",
        "argv",
        "seed",
        "input",
        "wall_s",
        "peak_rss_bytes",
        "warnings",
        "config_origin",
    ],
}
