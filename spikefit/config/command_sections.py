"""The settings of the commands beside `infer`: what is simulated, batches and their engines, the Poisson VAE."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spikefit.config.grids import Grid
from spikefit.config.kinds import Address, ClusterWord, CountOrAuto, Duration, Hint, Memory, Names
from spikefit.config.section import NotAFlag, Section


class SimulateConfig(Section):
    """The network that `spikefit simulate` draws; its bin width, window and link are the model's."""

    neurons: Annotated[int, Hint("N")] = Field(default=20, ge=1, le=100_000, description="Recorded units.")
    drivers: Annotated[int, Hint("N")] = Field(
        default=3, ge=0, le=10_000, description="Unrecorded units that each excite many of the recorded ones."
    )
    duration: Duration = Field(default=300.0, description="Length of the simulated recording.")
    rate_hz: Annotated[float, Hint("HZ")] = Field(
        default=5.0, gt=0, le=1000, description="Median firing rate of the recorded units before they are coupled."
    )
    density: Annotated[float, Hint("SHARE")] = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Share of ordered pairs of recorded units that are connected; half inhibit.",
    )
    strength: Annotated[float, Hint("X")] = Field(
        default=1.5, ge=0, le=1000, description="Typical size of a coupling summed over lags, in units of the drive."
    )
    fan_out: Annotated[float, Hint("SHARE")] = Field(
        default=0.6, ge=0, le=1, description="Share of the recorded units that each driver excites."
    )
    driver_strength: Annotated[float, Hint("X")] = Field(
        default=5.0, ge=0, le=1000, description="Typical size of a driver's coupling summed over lags."
    )
    driver_rate_hz: Annotated[float, Hint("HZ")] = Field(
        default=6.0, gt=0, le=1000, description="Firing rate of the drivers."
    )


class BatchConfig(Section):
    """What `spikefit batch` runs, and on which engine."""

    files: NotAFlag[Names] = Field(
        default=(), description="Recordings, as paths or patterns (sub-*/*.nwb); those of a file are relative to it."
    )
    sessions: Annotated[str | None, Hint("CSV")] = Field(
        default=None, description="A table with one recording per row: its path, and any setting that differs for it."
    )
    grid: Grid = Field(default=(), description="Fit every recording with each combination of these values.")
    most_jobs: Annotated[int, Hint("N")] = Field(
        default=10_000, ge=1, description="Refuse to start more jobs than this; raise it to confirm that you mean it."
    )
    executor: Literal["local", "dask", "slurm"] = Field(
        default="local", description="Where jobs run: on this computer, a Dask cluster or Slurm."
    )
    spread: bool = Field(
        default=False,
        description="Spread each fit over the workers, too: its numbers of hidden units, its folds and its surrogates.",
    )
    jobs: Annotated[int | None, Hint("N")] = Field(
        default=None,
        ge=1,
        le=4096,
        description="Jobs at a time; where not given, one per GPU, else one per core (Slurm: as many as it gives).",
    )
    scheduler: Address | None = Field(
        default=None, description="A running Dask scheduler; where not given, Dask workers are started here."
    )


class SlurmConfig(Section):
    """What is asked of Slurm for each job of a batch."""

    partition: ClusterWord | None = Field(default=None, description="Partition; Slurm's own default where not given.")
    account: ClusterWord | None = Field(default=None, description="Account that is charged.")
    qos: ClusterWord | None = Field(default=None, description="Quality of service.")
    constraint: ClusterWord | None = Field(default=None, description="Feature that the nodes must have.")
    time_limit: Duration = Field(
        default=3600.0, description="Time for a job, in whole minutes at least one; it goes on from its checkpoint."
    )
    stop_before: Duration = Field(
        default=60.0, description="How long before that time a job is asked to write its checkpoint."
    )
    memory: Memory | None = Field(default=None, description="Memory for a job; Slurm's own default where not given.")
    cpus: Annotated[int, Hint("N")] = Field(default=1, ge=1, le=4096, description="CPU cores for a job.")
    gpus: Annotated[int, Hint("N")] = Field(default=0, ge=0, le=64, description="GPUs for a job.")
    requeues: Annotated[int, Hint("N")] = Field(
        default=20, ge=0, description="How often a job that was cut off is queued again to go on from its checkpoint."
    )


PVAE_LEARNING_RATE = 0.01  # what `learning_rate: auto` means to a Poisson VAE, which has no trial


class PvaeConfig(Section):
    """The Poisson VAE that `spikefit pvae` fits; its bin width and link are the model's."""

    latents: CountOrAuto = Field(
        default=16,
        ge=1,
        le=10_000,
        description="Number of latent units; auto fits several numbers and takes the fewest that do as well as the best.",
    )
    encoder: Literal["linear", "mlp", "conv", "gru"] = Field(
        default="conv", description="From the counts round a bin to the latents of that bin."
    )
    decoder: Literal["linear", "mlp", "conv"] = Field(
        default="conv", description="From latents to rates: of the same bin (linear, mlp), or smoothed in time (conv)."
    )
    observation: Literal["poisson", "negative-binomial", "gaussian"] = Field(
        default="poisson", description="Law of what is observed, given its rate."
    )
    context: Duration = Field(default=0.15, description="How far the encoder looks to either side of a bin.")
    smoothing: Duration = Field(
        default=0.1, description="How far a latent spike acts to either side of its bin, with the conv decoder."
    )
    width: Annotated[int, Hint("N")] = Field(
        default=64, ge=1, le=100_000, description="Units in the hidden layers of encoder and decoder."
    )
    unit_dropout: Annotated[float | None, Hint("SHARE")] = Field(
        default=None,
        ge=0,
        lt=0.5,
        description="Mean share of the units that the encoder is not shown in training; it varies from 0 to twice that. Where not "
        "given, 0.25 for fewer than 20 units and 0.45 for more.",
    )
    beta: Annotated[float, Hint("X")] = Field(
        default=0.3,
        ge=0,
        le=1000,
        description="Weight of the divergence from the prior; 1 is the evidence lower bound.",
    )
    excitatory: bool = Field(default=False, description="Let latents only raise rates, never lower them.")
