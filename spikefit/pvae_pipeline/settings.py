"""Settings of a Poisson VAE: those a config asks for, and those a model was fitted with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spikefit.config import Config
from spikefit.config.command_sections import PVAE_LEARNING_RATE
from spikefit.errors import ResultError

if TYPE_CHECKING:
    from spikefit.fitting.pvae.saved import LatentModel
    from spikefit.fitting.pvae.settings import PvaeSettings


def pvae_settings(config: Config, *, latents: int | None = None) -> PvaeSettings:
    """What the fitting needs to know of a config.

    Args:
        config: all settings.
        latents: their number, where the config leaves it to be chosen.
    """
    from spikefit.fitting.pvae.settings import PvaeSettings

    wanted = config.pvae
    number = wanted.latents if latents is None else latents
    assert number is not None, "the number of latents is chosen first"
    return PvaeSettings(
        latents=number,
        encoder=wanted.encoder,
        decoder=wanted.decoder,
        observation=wanted.observation,
        link=config.model.link,
        excitatory=wanted.excitatory,
        context_s=wanted.context,
        smoothing_s=wanted.smoothing,
        width=wanted.width,
        unit_dropout=wanted.unit_dropout,
        beta=wanted.beta,
        estimator=config.gradient.estimator,
        temperature=config.gradient.temperature,
        n_draws=config.gradient.draws,
        heldout=config.fit.heldout,
        max_epochs=config.fit.max_epochs,
        learning_rate=config.fit.learning_rate if isinstance(config.fit.learning_rate, float) else PVAE_LEARNING_RATE,
        seed=config.run.seed,
    )


def model_config(model: LatentModel) -> Config:
    """The settings that a model was fitted with.

    Raises:
        ResultError: if this version cannot read them.
    """
    from pydantic import ValidationError

    try:
        return Config(**model.config)
    except (ValidationError, TypeError) as fault:
        raise ResultError(
            "this spikefit cannot use the settings in the model.", hint="score with the version that made it"
        ) from fault
