"""Made by `python -m spikefit.cli.flags` from the models in `spikefit.config`: change those, then make it again."""

from typing import Any

RECORDING: dict[str, Any] = {
    "format": None,
    "units_table": None,
    "mapping": {},
    "covariates": {},
    "time_unit": None,
    "t_start": None,
    "t_stop": None,
    "clip": False,
    "follow_links": False,
    "observed": "per-unit",
    "lost_time": None,
    "drop_unit": (),
    "units": None,
    "epochs": (),
    "interval": (),
    "min_spikes": 1,
}

CHECKS: dict[str, Any] = {
    "few_spikes": 50,
    "refractory_s": 0.001,
    "max_refractory_share": 0.02,
    "outlier_rate_factor": 100.0,
    "max_repeated_share": 0.0,
    "min_time_s": 0.0,
    "unix_time_s": 100000000.0,
    "identical_share": 0.9,
    "max_duration_s": 86400.0,
    "min_median_rate_hz": 0.01,
    "max_median_rate_hz": 500.0,
    "lone_spike_factor": 10.0,
    "max_read_bytes": 17179869184,
    "max_expansion": 1000.0,
    "max_covariate_bytes": 1073741824,
}
