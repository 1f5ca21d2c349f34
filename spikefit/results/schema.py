"""What stands in `connectivity.h5`: paths, dimensions, units and a sentence for each dataset."""

from __future__ import annotations

from typing import Any, NamedTuple

from spikefit.marks import FORMAT as FORMAT

# The first number changes when an older reader would misread a file; the second when something was only added.
FORMAT_VERSION = 1
FORMAT_MINOR = 2


class About(NamedTuple):
    """The three attributes that every dataset carries."""

    dims: str
    units: str
    description: str


PAIR = "post, pre"

ABOUT: dict[str, About] = {
    "unit_id": About(
        "unit", "1", "unit ids as in the recording; hidden units are hidden-0, hidden-1, …; visible come first"
    ),
    "unit_kind": About("unit", "1", "visible (recorded) or hidden (inferred)"),
    "connectivity": About(PAIR, "drive per spike", "coupling filter summed over lags; row receives, column sends"),
    "coupling_filters": About(
        "post, pre, lag",
        "drive per spike",
        "effect of one spike of pre on the drive of post, by lag; row receives, column sends",
    ),
    "lag_s": About("lag", "s", "lag of each coupling filter value behind the sender's spike"),
    "baseline": About("post", "drive", "drive of each unit with nobody spiking, the common drive at its mean"),
    "std_error": About(PAIR, "drive per spike", "standard error of connectivity; NaN where not known"),
    "ci_low": About(
        PAIR, "drive per spike", "lower end of the confidence interval of connectivity; NaN where not known"
    ),
    "ci_high": About(
        PAIR, "drive per spike", "upper end of the confidence interval of connectivity; NaN where not known"
    ),
    "p_value": About(PAIR, "1", "p-value of connectivity against no edge; NaN where not asked for"),
    "q_value": About(PAIR, "1", "false-discovery rate at which the edge is called; NaN where not asked for"),
    "common_drive/time_constant_s": About(
        "time_constant", "s", "time constants of the exponentials by which past spikes of the whole population count"
    ),
    "common_drive/weights": About(
        "post, time_constant",
        "drive per spike",
        "what a spike of any recorded unit adds to the drive of post one bin later; it decays with the time constant",
    ),
    "common_drive/level_hz": About(
        "scalar",
        "Hz",
        "mean rate of all recorded units together; what is added at this rate is taken off, so it is drive against it",
    ),
    "covariates/column": About("column", "1", "name of each column of covariates"),
    "covariates/covariate": About("column", "1", "the covariate that the column was made of"),
    "covariates/basis": About("column", "1", "its basis: linear, b-spline, cyclic or lags"),
    "covariates/mean": About("column", "1", "mean of the column before it was standardised, in its own unit"),
    "covariates/sd": About(
        "column", "1", "standard deviation of the column before it was standardised, in its own unit"
    ),
    "covariates/weights": About(
        "post, column", "drive per standard deviation", "what the column, brought to mean 0 and sd 1, does to each unit"
    ),
    "covariates/std_error": About(
        "post, column", "drive per standard deviation", "standard error of weights; NaN where not known"
    ),
    "covariates/curve": About("curve", "1", "the covariate, or one of its series, that a curve is over"),
    "covariates/curve_label": About("curve", "1", "what the curve's values are, with their unit"),
    "covariates/curve_x": About("curve, point", "as curve_label says", "values of the covariate, or lags"),
    "covariates/curve_drive": About(
        "post, curve, point",
        "drive",
        "what the covariate adds at these values, less its average over the recording; over lags, what one bin one sd up adds later",
    ),
    "covariates/curve_std_error": About("post, curve, point", "drive", "its standard error; NaN where not known"),
    "covariates/terms_json": About("term", "1", "for each covariate, as JSON, all that makes its columns again"),
    "hidden/time_s": About("bin", "s", "start of each bin, gaps left out"),
    "hidden/expected_count": About("bin, hidden", "spikes per bin", "posterior mean of the hidden units' spike counts"),
    "excerpt/interval_s": About("edge", "s", "start and end of a short stretch of the recording that travels along"),
    "excerpt/spike_time_s": About("spike", "s", "spikes of the recorded units in that stretch, unit after unit"),
    "excerpt/unit": About("spike", "1", "place of each spike's unit in unit_id, from 0"),
    "diagnostics/ks_curve": About(
        "unit, level",
        "1",
        "share of a unit's rescaled intervals below each level, levels spread evenly from 0 to 1; the level itself if the fit is right",
    ),
    "diagnostics/filter_std_error": About(
        "post, pre, lag",
        "drive per spike",
        "standard error of coupling_filters at each lag, by the likelihood's curvature",
    ),
    "diagnostics/n_spike_pairs": About(
        PAIR,
        "spikes",
        "spikes of pre followed by one of post inside the window, each pair of spikes counted; visible units",
    ),
    "diagnostics/correlogram_z": About(
        PAIR,
        "1",
        "their excess over constant rates, over its standard deviation: the plain cross-correlogram; visible units",
    ),
    "diagnostics/shared_z": About(
        PAIR,
        "1",
        "what was taken off connectivity over std_error as shared input before the test; NaN without a test; visible units",
    ),
    "diagnostics/tested_z": About(
        PAIR,
        "1",
        "what was held against the null: connectivity over std_error with shared inputs taken off; NaN without a test; visible units",
    ),
    "diagnostics/null_centre": About(
        PAIR,
        "1",
        "centre of what no edge looks like among pairs of these types, in standard errors, shared inputs off; NaN without a test; visible units",
    ),
    "diagnostics/null_spread": About(
        PAIR, "1", "its spread, in standard errors; it counts as 1 where it is less; NaN without a test; visible units"
    ),
    "diagnostics/h0_weight": About(
        PAIR, "drive per spike", "connectivity in the fit without hidden units, from the training bins; visible units"
    ),
    "diagnostics/curvature": About(
        PAIR,
        "nats per (drive per spike)^2",
        "curvature of the log-likelihood along connectivity with all other parameters at their best, penalty included; with hidden units that "
        "of the fit without them to the training bins; visible units",
    ),
    "diagnostics/variance_inflation": About(
        PAIR,
        "1",
        "variance of connectivity over what it would be were pre the only sender in the model: how far others make up pre; visible units",
    ),
    "diagnostics/restart_sd": About(
        PAIR,
        "drive per spike",
        "standard deviation of connectivity over the restarts, the reported one included; visible units",
    ),
    "diagnostics/restart_agreement": About(
        PAIR,
        "1",
        "share of the other restarts whose connectivity lies within half of its size of the reported one; visible units",
    ),
    "diagnostics/pair_correlation": About(
        PAIR,
        "1",
        "correlation of the counts of two units over the stretches from which free runs of the fit start, as recorded; visible units",
    ),
    "diagnostics/simulated_pair_correlation": About(PAIR, "1", "the same in the free runs of the fit; visible units"),
    "diagnostics/hidden_likeness": About(
        "hidden, fit",
        "1",
        "for each other fit likeness of the hidden unit that it matches to this one: mean correlation of posterior counts and of filters",
    ),
    "diagnostics/hidden_consensus_filters": About(
        "hidden, post, lag",
        "drive per spike",
        "effect of each hidden unit on the visible ones, averaged over this fit and those that agree on the unit, each scaled to this one",
    ),
    "diagnostics/hidden_consensus_spread": About(
        "hidden, post, lag",
        "drive per spike",
        "standard deviation of those filters over the fits; NaN where no other fit agrees",
    ),
    "units/id": About("row", "1", "every unit of the recording, dropped ones included, then the hidden units"),
    "units/kind": About("row", "1", "visible or hidden"),
    "units/kept": About("row", "1", "1 where the fit used the unit"),
    "units/reason": About("row", "1", "why a unit was dropped; empty where it was kept"),
    "units/n_spikes": About("row", "spikes", "spikes in the fitted time; for hidden units expected spikes, rounded"),
    "units/rate_hz": About("row", "Hz", "mean rate over the fitted time"),
}

_ABOUT_BLOCKS = {
    "heldout_block_start_s": About("block", "s", "start of every held-out block"),
    "heldout_block_bins": About("block", "bins", "scored bins of every held-out block"),
    "heldout_piece_start_s": About("piece", "s", "start of every held-out piece of half a second"),
    "heldout_piece_spikes": About("piece", "spikes", "spikes of the recorded units in it"),
    "heldout_piece_nats": About(
        "piece",
        "nats",
        "log-likelihood of the spike times in it, in seconds (its bound with hidden units): the same measure for all bin widths",
    ),
    "heldout_piece_constant_nats": About("piece", "nats", "the same under constant rates, those of the training bins"),
    "heldout_block_nats": About("block", "nats", "held-out log-likelihood of every block; its bound with hidden units"),
}
_STEPS = ("step", "iteration", "epoch")


def about_history(name: str, metrics: Any) -> About:
    """Dimensions, unit and sentence of one series of the fit."""
    objective_unit = str(metrics.get("objective_unit") or "nats per bin")
    if name in _STEPS or name.endswith(tuple(f"_{step}" for step in _STEPS)):
        return About(name, "1", "optimisation step of the series that goes with it")
    if name in _ABOUT_BLOCKS:
        return _ABOUT_BLOCKS[name]
    if name.startswith("heldout_block_"):
        return _ABOUT_BLOCKS.get(name) or About("block", "1", f"{name.replace('_', ' ')}, one for every held-out block")
    if name.endswith("_s"):
        return About("step", "s", f"{name.replace('_', ' ')} over the fit")
    if "objective" in name or "heldout" in name:
        return About("step", objective_unit, f"{name.replace('_', ' ')} over the fit")
    if "decrement" in name:
        return About("step", "nats", "Newton decrement: how far the objective still lies from its optimum, at most")
    return About("step", "1", f"{name.replace('_', ' ')} over the fit")


def about_parameter(name: str, n_axes: int) -> About:
    """Dimensions, unit and sentence of one model parameter."""
    dims = ", ".join(f"axis_{k}" for k in range(n_axes)) or "scalar"
    return About(dims, "1", f"model parameter {name}, as in model.safetensors")


def about_column(name: str) -> About:
    """Dimensions, unit and sentence of a further column of the unit table."""
    return About("row", "1", f"column {name!r} of the recording's unit table")
