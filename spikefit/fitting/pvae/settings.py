"""What the fit of a Poisson VAE depends on beside the counts; see `spikefit.config` for the meaning and the defaults."""

from __future__ import annotations

from dataclasses import dataclass

from spikefit.models.pvae.network import Shape

FEW_UNITS = 20
DROPOUT_OF_FEW, DROPOUT_OF_MANY = 0.25, 0.45


@dataclass(frozen=True)
class PvaeSettings:
    """Settings of a fit; times in seconds."""

    latents: int
    encoder: str
    decoder: str
    observation: str
    link: str
    excitatory: bool
    context_s: float
    smoothing_s: float
    width: int
    unit_dropout: float | None
    beta: float
    estimator: str
    temperature: float
    n_draws: int
    heldout: float
    max_epochs: int
    learning_rate: float
    seed: int

    def hidden_share(self, n_units: int) -> float:
        """Mean share of the units that the encoder is not shown in training.

        Hiding many makes it predict units from others; a small population has then too little left to go by.
        """
        if self.unit_dropout is not None:
            return self.unit_dropout
        return DROPOUT_OF_FEW if n_units < FEW_UNITS else DROPOUT_OF_MANY

    def shape(self, n_units: int, bin_width_s: float) -> Shape:
        """The network for so many units in bins of that width."""
        return Shape(
            n_units=n_units,
            n_latents=self.latents,
            encoder=self.encoder,
            decoder=self.decoder,
            observation=self.observation,
            link=self.link,
            encoder_reach=max(1, round(self.context_s / bin_width_s)),
            decoder_reach=max(1, round(self.smoothing_s / bin_width_s)) if self.decoder == "conv" else 0,
            width=self.width,
            excitatory=self.excitatory,
        )
