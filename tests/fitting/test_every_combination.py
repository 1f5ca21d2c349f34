"""Every posterior with every family and every estimator trains, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch

from spikefit.config import Config
from spikefit.config.sections import GradientConfig, ModelConfig
from spikefit.errors import ConfigError
from spikefit.fitting.loop import Loop, LoopSettings, judge
from spikefit.fitting.rescore import network_of
from spikefit.fitting.settings import FitSettings
from spikefit.fitting.windows import Windows
from spikefit.fitting.with_hidden import choose_estimator
from spikefit.models import posteriors as models_posteriors
from spikefit.models.poglm import POGLMNetwork
from spikefit.prob.estimators import ESTIMATORS as BY_NAME
from spikefit.spikes import Counts

POSTERIORS = get_args(ModelConfig.model_fields["posterior"].annotation)
FAMILIES = [(family, 1) for family in get_args(ModelConfig.model_fields["family"].annotation)] + [("categorical", 3)]
ESTIMATORS = get_args(GradientConfig.model_fields["estimator"].annotation)
NAMES = {  # all that a user can ask for, so that none goes or comes without the tests below
    "posterior": {"forward-backward", "forward", "forward-self"},
    "family": {"poisson", "categorical"},
    "estimator": {
        "eat-cubic", "eat-sigmoid", "eat-linear", "eat-quintic", "eat-cosine", "gsm", "score", "exact",
    },
}  # fmt: skip
REFUSED = {("forward-self", "exact"): "needs the posterior of all later bins to stay as it is"}


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("family", "max_count"), FAMILIES)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_it_trains_or_is_refused_with_the_reason(
    make_model: Callable[..., POGLMNetwork],
    segmented: Callable[..., Counts],
    tiny_settings: Callable[..., FitSettings],
    posterior: str,
    family: str,
    max_count: int,
    estimator: str,
    depth: int,
) -> None:
    reason = REFUSED.get((posterior, estimator))
    if reason is not None:
        with pytest.raises(ConfigError, match=reason):
            Config().replace(posterior=posterior, family=family, max_count=max_count, estimator=estimator)
        return
    config = Config().replace(
        posterior=posterior, family=family, max_count=max_count, estimator=estimator, draws=2, posterior_depth=depth
    )
    assert config.model.posterior == posterior
    settings = tiny_settings(posterior=posterior, family=family, max_count=max_count, estimator=estimator)
    model = make_model(
        3,
        2,
        n_restarts=2,
        family=family,
        max_count=max_count,
        posterior=posterior,
        depth=depth,
        dtype=torch.float32,
    )
    counts = segmented([60, 45])
    windows = Windows(
        torch.from_numpy(np.ascontiguousarray(counts.counts.T)),
        counts.segment_offsets,
        np.stack([counts.segment_offsets[:-1] + model.n_lags, counts.segment_offsets[1:]], axis=1),
        context=model.context,
        core_bins=25,
    )
    loop = Loop(
        model,
        windows,
        estimator=choose_estimator(settings),
        settings=LoopSettings(learning_rate=0.03, n_draws=2, ridge=1.0, batch_windows=2),
        generator=torch.Generator().manual_seed(0),
        shuffle=torch.Generator().manual_seed(0),
        name_unit=str,
    )
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    start = judge(model, windows, n_draws=20).sum(0)
    for _ in range(2):
        assert torch.isfinite(loop.epoch(1.0, 1.0)).all()
    assert loop.rate_scale == 1.0  # no step had to be taken back
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    # Ten steps from random parameters go uphill in both restarts.
    assert (judge(model, windows, n_draws=20).sum(0) > start).all()


def test_every_name_is_tried_with_every_other() -> None:
    marks = [mark.args for mark in test_it_trains_or_is_refused_with_the_reason.pytestmark]  # type: ignore[attr-defined]
    tried = {names if isinstance(names, str) else names[0]: list(values) for names, values in marks}
    tried["family"] = [family for family, _ in tried["family"]]
    assert {name: set(tried[name]) for name in NAMES} == NAMES
    # What the settings offer is what there is.
    assert set(BY_NAME) == NAMES["estimator"]
    assert set(models_posteriors.POSTERIORS) == NAMES["posterior"]
    assert {posterior for posterior, _ in REFUSED} < NAMES["posterior"]


def test_a_poisson_posterior_with_a_largest_count_is_refused() -> None:
    with pytest.raises(ConfigError, match="a poisson posterior has no largest count, and max_count is 3"):
        Config().replace(family="poisson", max_count=3)


@pytest.mark.parametrize(("depth", "max_count"), [(0, 1), (1, 1), (3, 1), (0, 3), (2, 2)])
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_what_a_fit_leaves_makes_its_network_again(
    make_model: Callable[..., POGLMNetwork], posterior: str, depth: int, max_count: int
) -> None:
    model = make_model(
        3, 2, posterior=posterior, family="categorical", max_count=max_count, depth=depth, dtype=torch.float32
    )
    left = {name: parameter.detach()[0].numpy() for name, parameter in model.named_parameters()}
    again = network_of(left | {"basis": model.basis.numpy()}, link="softplus", family="categorical")
    assert again.posterior_name == posterior
    assert again.posterior.depth == depth
    assert again.max_count == max_count
    assert again.context == model.context
    for name, parameter in model.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter), name
