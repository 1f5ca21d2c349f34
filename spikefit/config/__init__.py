"""The configuration: one model per section, one home of every default.

`resolve_config` puts flags, environment, file and defaults together; `Config` is what the rest of spikefit reads.
"""

from __future__ import annotations

from spikefit.config.command_sections import BatchConfig, SimulateConfig, SlurmConfig
from spikefit.config.cross_checks import JOB_SECTIONS
from spikefit.config.faults import Fault
from spikefit.config.keys import Key, all_keys, keys_of
from spikefit.config.resolve import ResolvedConfig, resolve_config, resolve_with_faults
from spikefit.config.sections import (
    ChecksConfig,
    Config,
    FitConfig,
    GradientConfig,
    ModelConfig,
    RecordingConfig,
    RunConfig,
)
from spikefit.config.writing import commented_yaml, config_schema, reference_page

__all__ = [
    "JOB_SECTIONS",
    "BatchConfig",
    "ChecksConfig",
    "Config",
    "Fault",
    "FitConfig",
    "GradientConfig",
    "Key",
    "ModelConfig",
    "RecordingConfig",
    "ResolvedConfig",
    "RunConfig",
    "SimulateConfig",
    "SlurmConfig",
    "all_keys",
    "commented_yaml",
    "config_schema",
    "keys_of",
    "reference_page",
    "resolve_config",
    "resolve_with_faults",
]
