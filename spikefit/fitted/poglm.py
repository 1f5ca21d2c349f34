"""The model itself: settings in, a recording in, a result out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spikefit.config import Config
from spikefit.config.sections import RecordingConfig
from spikefit.errors import UsageError
from spikefit.fitted.fit import Fit
from spikefit.fitted.refusals import check_hidden, check_structure
from spikefit.fitted.result import to_fit
from spikefit.fitted.settings import binned, fit_settings, pair_types
from spikefit.results import UnitRow
from spikefit.spikes import Counts, SpikeTrains

if TYPE_CHECKING:
    from spikefit.fitting.hooks import Hooks


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
