"""Every setting of spikefit with its default, one model per section of the YAML file.

This is the one home of defaults: the flags of the command line, `spikefit config show`, `init` and `schema`, and the
reference page are all made from the fields below and in `command_sections.py`. Each key is used once in all sections, so it is also its flag.
Times are seconds.
"""

from __future__ import annotations

import collections.abc
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from spikefit.config.command_sections import PVAE_LEARNING_RATE, BatchConfig, PvaeConfig, SimulateConfig, SlurmConfig
from spikefit.config.cross_checks import contradictions
from spikefit.config.kinds import (
    Covariates,
    Device,
    Duration,
    Durations,
    FigureFormats,
    HiddenCounts,
    Hint,
    Intervals,
    LearningRate,
    Mapping,
    Memory,
    Moment,
    Names,
    OnOff,
    Ridge,
    Signs,
    Terms,
    TimeUnit,
)
from spikefit.config.section import NotAFlag, Section


class RecordingConfig(Section):
    """Which spikes are read, and from which part of the recording."""

    format: Annotated[str | None, Hint("NAME")] = Field(
        default=None, description="File format, where the content alone does not tell; recognised by content otherwise."
    )
    units_table: Annotated[str | None, Hint("PATH")] = Field(
        default=None, description="Path of the units table inside the file, where it holds several."
    )
    mapping: Mapping = Field(
        default={},
        description="Datasets of an HDF5 file by role: times, units or index, unit_names, counts, bin_width, intervals.",
    )
    covariates: Covariates = Field(
        default={},
        description="Covariates beside those the file offers: NAME=PATH in it, with @TIMES or @30Hz, or NAME=TABLE.csv.",
    )
    time_unit: TimeUnit | None = Field(
        default=None, description="Unit of the spike times in the file, where it is not what the format says."
    )
    t_start: Moment | None = Field(default=None, description="Start of the recording, where the file does not know it.")
    t_stop: Moment | None = Field(default=None, description="End of the recording, where the file does not know it.")
    clip: bool = Field(default=False, description="Drop spikes that lie outside the recording instead of refusing it.")
    follow_links: bool = Field(
        default=False, description="Follow links to other HDF5 files in the recording's own folder."
    )
    observed: Literal["per-unit", "common"] = Field(
        default="per-unit",
        description="Where units were observed at different times: leave each out of the fit where it is lost (per-unit), or use "
        "only the time common to all (common).",
    )
    lost_time: Annotated[str | None, Hint("CSV")] = Field(
        default=None, description="A table of when units were lost (unit_id,start_s,stop_s), beside what the file says."
    )
    drop_unit: Names = Field(default=(), description="Leave out these units, by their ids.")
    units: Annotated[str | None, Hint("EXPR")] = Field(
        default=None,
        description="Keep only these units: ids and patterns (g1,ca*), or a condition on unit columns (rate_hz > 0.5).",
    )
    epochs: Names = Field(default=(), description="Use only these named epochs.")
    interval: Intervals = Field(
        default=(), description="Use only these stretches, in seconds; either side may be empty."
    )
    min_spikes: Annotated[int, Hint("N")] = Field(
        default=1, ge=0, description="Leave out units with fewer spikes than this in the part that is used."
    )


class ModelConfig(Section):
    """The network that is fitted."""

    bin: Duration = Field(default=0.005, description="Bin width.")
    window: Duration = Field(default=0.1, description="Length of the spike history that a unit responds to.")
    hidden: HiddenCounts = Field(
        default=0,
        description="Number of hidden units; several (0,2,4) are fitted in turn and the best held out is kept; auto finds it.",
    )
    basis: Literal["raised-cosine-log", "raised-cosine-linear", "b-spline", "exponential", "raw"] = Field(
        default="raised-cosine-log", description="Functions of the lag that coupling filters are made of."
    )
    functions: Annotated[int, Hint("N")] = Field(
        default=5,
        ge=1,
        le=200,
        description="Number of basis functions per filter; raw takes one per lag whatever is given.",
    )
    self_basis: Literal["same", "raised-cosine-log", "raised-cosine-linear", "b-spline", "exponential", "raw"] = Field(
        default="same",
        description="Functions of the lag for what a unit's own spikes do to it, where they shall not be those of couplings.",
    )
    self_functions: Annotated[int, Hint("N")] = Field(
        default=4, ge=1, le=200, description="Number of these functions; raw takes one per lag whatever is given."
    )
    self_window: Duration | None = Field(
        default=None, description="How far they reach back, up to the window; the window where not given."
    )
    link: Literal["softplus", "exp", "sigmoid"] = Field(
        default="softplus",
        description="From the drive to the expected count; sigmoid is bounded, at 5 spikes per bin.",
    )
    count_law: Literal["poisson", "negative-binomial"] = Field(
        default="poisson",
        description="Law of the recorded counts about what is expected: poisson, or negative-binomial for units that scatter more.",
    )
    common_drive: OnOff = Field(
        default="on",
        description="Whether recent activity of the whole recorded population drives each unit; without hidden units only.",
    )
    common_drive_tau: Durations = Field(
        default=(0.1, 0.3, 1.0, 3.0), min_length=1, description="Time constants by which that activity is forgotten."
    )
    with_covariates: Terms = Field(
        default={},
        description="Covariates that drive the units, with or without a basis: speed, direction=cyclic:2, speed=b-spline:5, "
        "speed=lags:4:500ms; drift and time-in-trial are always there.",
    )
    covariate_gaps: Literal["refuse", "leave-out"] = Field(
        default="refuse",
        description="Where a covariate is not known in some bins: refuse the fit, or leave these bins out of it.",
    )
    posterior: Literal["forward-backward", "forward", "forward-self"] = Field(
        default="forward-backward",
        description="What the posterior over hidden spikes sees: all visible spikes nearby (forward-backward), past ones "
        "only (forward), or past visible and past hidden ones, drawn bin by bin (forward-self).",
    )
    posterior_depth: Annotated[int, Hint("N")] = Field(
        default=0,
        ge=0,
        le=8,
        description="Residual convolutions over time beside the posterior's linear read-out; 0 for none.",
    )
    pair_mask: Annotated[str | None, Hint("CSV")] = Field(
        default=None,
        description="A table of pairs known beforehand (pre_id,post_id,rule): forbidden couplings are zero, required ones "
        "are not penalised.",
    )
    dale: Signs = Field(
        default={},
        description="Recorded units that excite or inhibit all others: ids, patterns or all, each excitatory, inhibitory, "
        "auto (one of the two, by the data) or any.",
    )
    hidden_sign: Literal["any", "excitatory", "inhibitory"] = Field(
        default="any",
        description="What hidden units may do to others: held throughout the fit, or any; any starts "
        "excitatory, but for one of several restarts.",
    )
    family: Literal["poisson", "categorical"] = Field(
        default="categorical",
        description="Law of the hidden counts in the posterior: poisson, or categorical (at most max_count spikes per bin).",
    )
    max_count: Annotated[int, Hint("N")] = Field(
        default=1,
        ge=1,
        le=10,
        description="Most hidden spikes per bin that a categorical posterior tells apart; raise it where bins are wide and "
        "hidden units fire several spikes in one.",
    )


class GradientConfig(Section):
    """How gradients pass through hidden spike counts; without hidden units it changes nothing."""

    estimator: Literal[
        "eat-cubic", "eat-sigmoid", "eat-linear", "eat-quintic", "eat-cosine", "gsm", "score", "exact"
    ] = Field(default="eat-cubic", description="Estimator of the gradient through hidden spike counts.")
    temperature: Annotated[float, Hint("TAU")] = Field(
        default=0.5, gt=0, le=1, description="Softness of the estimator's edge, as a fraction of a bin, up to 1."
    )
    draws: Annotated[int, Hint("N")] = Field(default=2, ge=1, le=1000, description="Monte-Carlo draws per step.")


class FitConfig(Section):
    """How the fit is regularised, repeated and judged."""

    ridge: Ridge = Field(
        default=1.0,
        description="Strength of the ridge penalty on couplings; auto chooses it by cross-validation inside the training bins.",
    )
    group_lasso: Ridge = Field(
        default=0.0,
        description="Strength of a penalty that sets whole couplings to zero; auto chooses it by cross-validation inside "
        "the training bins.",
    )
    restarts: Annotated[int, Hint("N")] = Field(
        default=3, ge=1, le=1000, description="Fits from different random starts; the best held out is kept."
    )
    heldout: Annotated[float, Hint("SHARE")] = Field(
        default=0.2,
        gt=0,
        lt=0.9,
        description="Share of the recording, in blocks, that no fit sees and every fit is scored on.",
    )
    folds: Annotated[int, Hint("K")] = Field(
        default=1,
        ge=1,
        le=50,
        description="Choose among numbers of hidden units by blocked cross-validation in K folds of the training bins; 1 chooses by the held-out blocks.",
    )
    significance: Literal["null", "jitter", "shift", "trials", "none"] = Field(
        default="null",
        description="How edges are tested: null reads from the pairs what no edge looks like; jitter, shift and trials refit, without hidden "
        "units, recordings whose spikes were moved.",
    )
    pair_types: Annotated[str, Hint("none|COLUMN|CSV")] = Field(
        default="none",
        min_length=1,
        description="Types of units (excitatory, inhibitory; areas; shanks): a unit column of the recording, or a table (unit_id,type) whose name "
        "ends in .csv. The test null then reads from each ordered pair of types by itself what no edge looks like; none: from all pairs together.",
    )
    surrogates: Annotated[int, Hint("N")] = Field(
        default=100, ge=20, le=100_000, description="Recordings with moved spikes that are refitted for such a test."
    )
    long_lags: OnOff = Field(
        default="off",
        description="Also fit couplings at lags too long for a synapse (from three windows back) and count what the test calls there, as a control; "
        "without hidden units.",
    )
    max_epochs: Annotated[int, Hint("N")] = Field(
        default=200, ge=1, description="Most passes over the recording; the fit stops earlier once it has converged."
    )
    learning_rate: LearningRate = Field(
        default="auto",
        description="Largest step of the optimiser with hidden units; auto finds it by a short trial before each training. "
        f"A Poisson VAE has no such trial: auto is {PVAE_LEARNING_RATE:g} there.",
    )


class RunConfig(Section):
    """Where and how the work is done."""

    device: Device = Field(default="auto", description="Where to compute; auto takes a GPU where there is one.")
    seed: Annotated[int, Hint("N")] = Field(default=0, ge=0, lt=2**63, description="Seed of all randomness.")
    threads: Annotated[int | None, Hint("N")] = Field(
        default=None,
        ge=1,
        le=4096,
        description="CPU threads; where not given, one for small recordings and all cores for large ones.",
    )
    memory_limit: Memory | None = Field(
        default=None,
        description="Most memory that the arrays of a fit may take (8GB), on the GPU where it runs on one; three quarters of what is free where not given.",
    )
    compile: bool = Field(
        default=False,
        description="Compile the arithmetic of the training of hidden units with torch.compile; the answer moves by roundings only, and "
        "without hidden units it changes nothing.",
    )
    checkpoint_every: Duration = Field(default=60.0, description="Time between checkpoints.")
    figures: FigureFormats = Field(
        default=("png",), description="Formats of the figures: some of png, svg and pdf with commas between, or none."
    )
    strict: bool = Field(default=False, description="Exit with code 6 where a fit did not converge.")
    log_json: bool = Field(
        default=False, description="Write the log a second time, as one JSON object per line (spikefit.log.jsonl)."
    )


class ChecksConfig(Section):
    """From where on a recording is doubtful, or dangerous to read."""

    few_spikes: NotAFlag[int] = Field(default=50, ge=0, description="Warn of units with fewer spikes than this.")
    refractory_s: NotAFlag[float] = Field(
        default=0.001,
        ge=0,
        le=1,
        description="Two spikes of one unit closer than this, in seconds, violate its refractory period.",
    )
    max_refractory_share: NotAFlag[float] = Field(
        default=0.02,
        ge=0,
        le=1,
        description="Warn of units in which more than this share of the intervals violates it.",
    )
    outlier_rate_factor: NotAFlag[float] = Field(
        default=100.0, gt=1, description="Warn of units that fire this many times above the median unit."
    )
    max_repeated_share: NotAFlag[float] = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Warn where more than this share of all spikes stands at the very time of the spike before.",
    )
    min_time_s: NotAFlag[float] = Field(
        default=0.0,
        description="Warn of spikes before this time, in seconds, where the file does not say that it was recording then.",
    )
    unix_time_s: NotAFlag[float] = Field(
        default=1e8,
        gt=0,
        description="Times above this many seconds (as UNIX time, in 1973) count from a date, not from the start of a recording.",
    )
    identical_share: NotAFlag[float] = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Warn of pairs of units that share at least this part of their spike times exactly.",
    )
    max_duration_s: NotAFlag[float] = Field(
        default=86400.0,
        gt=0,
        description="A recording longer than this, in seconds, was probably not written in seconds.",
    )
    min_median_rate_hz: NotAFlag[float] = Field(
        default=0.01,
        ge=0,
        description="A median unit below this rate, in spikes per second, raises the same doubt.",
    )
    max_median_rate_hz: NotAFlag[float] = Field(
        default=500.0, gt=0, description="So does a median unit above this rate, in spikes per second."
    )
    lone_spike_factor: NotAFlag[float] = Field(
        default=10.0,
        gt=1,
        description="Warn of a few spikes that stretch the recording this many times beyond all the others.",
    )
    max_read_bytes: NotAFlag[int] = Field(
        default=16 * 1024**3, gt=0, description="Refuse to read a dataset that declares more bytes than this."
    )
    max_expansion: NotAFlag[float] = Field(
        default=1000.0,
        gt=1,
        description="Refuse a dataset that declares this many times the bytes it has stored, above 64 MiB.",
    )
    max_covariate_bytes: NotAFlag[int] = Field(
        default=1024**3,
        gt=0,
        description="A series that takes more bytes than this in memory is not offered as a covariate.",
    )


class Config(Section):
    """All settings of one run."""

    recording: RecordingConfig = RecordingConfig()
    model: ModelConfig = ModelConfig()
    gradient: GradientConfig = GradientConfig()
    fit: FitConfig = FitConfig()
    run: RunConfig = RunConfig()
    checks: ChecksConfig = ChecksConfig()
    simulate: SimulateConfig = SimulateConfig()
    batch: BatchConfig = BatchConfig()
    slurm: SlurmConfig = SlurmConfig()
    pvae: PvaeConfig = PvaeConfig()

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        found = contradictions(self)
        if found:
            # The list travels in the context, so that each can be told apart and traced to where it was set.
            text = "; ".join(item.text for item in found)
            raise PydanticCustomError("contradiction", "{text}", {"text": text, "contradictions": found})
        return self

    def flat(self) -> dict[str, Any]:
        """Every setting by its own key, the sections left out."""
        return {key: value for _, section in self for key, value in section}

    def replace(self, **values: Any) -> Config:
        """This config with some settings changed, each named by its key and checked again.

        Args:
            **values: new values by key, as on the command line (`bin="10ms"`, `hidden=2`).

        Raises:
            ConfigError: for a key that does not exist or a value it cannot take, all of them listed.
        """
        from spikefit.config.resolve import checked

        return checked({**self.flat(), **values}, {key: f"{key}=" for key in values})

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values that JSON can hold; times are texts with their unit. `Config(**…)` reads it back."""
        return self.model_dump(mode="json")

    def to_yaml(self, origin: collections.abc.Mapping[str, str] | None = None) -> str:
        """The YAML file that gives this config again.

        Args:
            origin: where each value came from, by key; written behind it as a comment.
        """
        from spikefit.config.writing import config_yaml

        return config_yaml(self, origin)
