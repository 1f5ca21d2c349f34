"""All posteriors by name, and which of them a fit's parameters belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spikefit.models.encoder import ForwardBackwardPosterior, ForwardPosterior
from spikefit.models.self_encoder import ForwardSelfPosterior

POSTERIORS: dict[str, type[ForwardPosterior]] = {
    "forward-backward": ForwardBackwardPosterior,
    "forward": ForwardPosterior,
    "forward-self": ForwardSelfPosterior,
}


def depth_of(parameters: Mapping[str, Any]) -> int:
    """Residual convolutions of the posterior whose parameters, of one restart, a fit has left."""
    layers = parameters.get("posterior.deep.layers")
    return 0 if layers is None else int(layers.shape[0])


def posterior_of(parameter_names: Iterable[str]) -> str:
    """The posterior that parameters of these names belong to, as a fit has left them."""
    names = set(parameter_names)
    if "posterior.own" in names:
        return "forward-self"
    return "forward-backward" if "posterior.future" in names else "forward"
