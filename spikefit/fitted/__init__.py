"""The model as people use it from Python: settings in, a recording in, a result out that can score other recordings.

    fit = spikefit.POGLM(hidden=3, bin="10ms").fit(spikefit.read("session.nwb"))
    fit.connectivity, fit.hidden.expected_count, fit.score(other_recording)

A `Fit` is a `Result` whose parameters are still at work; torch is imported when it scores, not when it is opened.
"""

from spikefit.fitted.fit import Fit, load_result
from spikefit.fitted.poglm import POGLM
from spikefit.fitted.refusals import check_hidden, check_structure
from spikefit.fitted.result import to_fit
from spikefit.fitted.settings import binned, fit_settings, pair_types

__all__ = [
    "POGLM",
    "Fit",
    "binned",
    "check_hidden",
    "check_structure",
    "fit_settings",
    "load_result",
    "pair_types",
    "to_fit",
]
