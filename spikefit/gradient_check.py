"""The gradient estimators compared at the user's own fit: what `spikefit doctor gradients` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spikefit.config import Config
from spikefit.errors import UsageError
from spikefit.fitted import Fit, load_result
from spikefit.reopening import reopen

if TYPE_CHECKING:
    from spikefit.diagnostics.gradients import GradientComparison


def compare_gradients(
    result: Fit | str | Path,
    recording: str | Path | None = None,
    *,
    estimators: Sequence[str] | None = None,
    temperatures: Sequence[float] | None = None,
    n_gradients: int = 200,
    most_bins: int = 4000,
    seed: int = 0,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> GradientComparison:
    """Bias, noise and direction of each estimator's gradient at the parameters of a fit, beside the exact gradient.

    Args:
        result: a fit with hidden units, or its folder.
        recording: that it was fitted to; where it was then, if None.
        estimators: names; the usual ones where None. The fit's own is always among them.
        temperatures: for estimators that have one; the fit's own is always among them.
        n_gradients: gradients drawn of each.
        most_bins: about so many bins, evenly spread, are looked at.
        seed: of the draws.
        on_case: told how many cases of how many are done.

    Raises:
        UsageError: if the fit has no hidden units or its posterior no exact gradient, or the recording is not the one it was fitted to.
    """
    fit = result if isinstance(result, Fit) else load_result(result)
    if not fit.n_hidden:
        raise UsageError(
            f"{fit.name} was fitted without hidden units; no gradient was estimated, the fit was solved.",
            hint="fit again with --hidden 2, say, to have something to compare",
        )
    if fit.config["model"]["posterior"] == "forward-self":
        raise UsageError(
            f"{fit.name} was fitted with the posterior forward-self, for which there is no exact gradient to compare with.",
            hint="fit with --posterior forward-backward or forward to compare estimators",
        )
    counts = reopen(fit, recording)

    from spikefit.diagnostics.gradients import DEFAULT_ESTIMATORS, DEFAULT_TEMPERATURES, compare_estimators
    from spikefit.fitting.device import choose_device, compute_threads
    from spikefit.fitting.rescore import network_of, windows_of

    gradient = fit.config["gradient"]
    config = Config.model_validate(fit.config)
    device = choose_device(config.run.device)
    model = network_of(dict(fit.parameters), link=config.model.link, family=config.model.family).to(device)
    with compute_threads(config.run.threads, counts.n_units):
        return compare_estimators(
            model,
            windows_of(counts, model),
            name=fit.name,
            used=(gradient["estimator"], gradient["temperature"]),
            estimators=DEFAULT_ESTIMATORS if estimators is None else estimators,
            temperatures=DEFAULT_TEMPERATURES if temperatures is None else temperatures,
            n_gradients=n_gradients,
            most_bins=most_bins,
            seed=seed,
            on_case=on_case,
        )
