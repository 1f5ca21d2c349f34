"""spikefit finds the connections between neurons in a recording, the neurons it did not record included.

    import spikefit

    trains = spikefit.read("session.nwb")
    result = spikefit.infer("session.nwb", "results", hidden=3)

Everything below is loaded when it is first asked for: `import spikefit` alone costs a few milliseconds and brings in
neither numpy nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikefit import baselines, config, errors, exporters, plots, prob, pvae, report, simulate
    from spikefit.batching import batch
    from spikefit.comparison import compare
    from spikefit.config import Config
    from spikefit.errors import SpikefitError
    from spikefit.fitted import POGLM, load_result
    from spikefit.gradient_check import compare_gradients
    from spikefit.loaders import read
    from spikefit.pipeline import infer, plan
    from spikefit.recovery import recover
    from spikefit.spikes import Counts, SpikeTrains

    __version__: str

__all__ = [
    "POGLM",
    "Config",
    "Counts",
    "SpikeTrains",
    "SpikefitError",
    "__version__",
    "baselines",
    "batch",
    "bin",
    "compare",
    "compare_gradients",
    "config",
    "errors",
    "exporters",
    "infer",
    "load_result",
    "plan",
    "plots",
    "prob",
    "pvae",
    "read",
    "recover",
    "report",
    "simulate",
]

# Where each public name lives. A sub-module stands for itself.
_HOMES = {
    "Config": "spikefit.config",
    "Counts": "spikefit.spikes",
    "POGLM": "spikefit.fitted",
    "SpikeTrains": "spikefit.spikes",
    "SpikefitError": "spikefit.errors",
    "batch": "spikefit.batching",
    "compare_gradients": "spikefit.gradient_check",
    "compare": "spikefit.comparison",
    "infer": "spikefit.pipeline",
    "load_result": "spikefit.fitted",
    "plan": "spikefit.pipeline",
    "read": "spikefit.loaders",
    "recover": "spikefit.recovery",
}
_SUBMODULES = frozenset({"baselines", "config", "errors", "exporters", "plots", "prob", "pvae", "report", "simulate"})


def bin(trains: SpikeTrains, bin_width_s: float) -> Counts:
    """Count spikes in bins `[start, stop)` inside the observed intervals of a recording.

    Args:
        trains: the recording.
        bin_width_s: bin width in seconds.

    Raises:
        UsageError: if the width is not above zero, or no observed interval is as long as one bin.
    """
    return trains.bin(bin_width_s)


def __getattr__(name: str) -> Any:
    import importlib

    value: Any
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"spikefit.{name}")
    elif name == "__version__":
        from importlib.metadata import version

        value = version("spikefit")
    else:
        raise AttributeError(f"module 'spikefit' has no attribute {name!r}")
    globals()[name] = value  # the next look-up costs nothing
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
