"""The Poisson variational autoencoder of spike counts.

    z[t, k] ~ Poisson(r[k])                                 prior, r learnt
    q(z[t, k] | x) = Poisson(r[k] · δr[t, k](x))            posterior; the encoder gives log δr, the residual
    x[t, n] ~ observation(decoder(z)[t, n])                 Poisson, negative binomial or Gaussian
    KL(q ‖ p) = Σ r (1 − δr + δr log δr)                    closed form

Source: Vafaii, Galor & Yates, "Poisson variational autoencoder" (NeurIPS 2024). There a latent belongs to an image;
here to a bin of a recording, and encoder and decoder look at a stretch of time round it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from spikefit.models.link import inverse_link
from spikefit.models.pvae.decoders import DECODERS, LinearDecoder
from spikefit.models.pvae.encoders import ENCODERS
from spikefit.models.pvae.observations import OBSERVATIONS, GaussianObservation

# The residual is held in e^±6: it leaves every rate that data call for, and no step can throw a rate to infinity.
LARGEST_RESIDUAL = 6.0


@dataclass(frozen=True)
class Shape:
    """What a network is made of; plain values, so that a file can hold them.

    Attributes:
        n_units: recorded units.
        n_latents: latent units.
        encoder: `linear`, `mlp`, `conv` or `gru`.
        decoder: `linear`, `mlp` or `conv`.
        observation: `poisson`, `negative-binomial` or `gaussian`.
        link: from the drive to the expected count; without effect for `gaussian`.
        encoder_reach: bins on either side that the encoder sees.
        decoder_reach: bins on either side over which a latent spike acts, for `conv`.
        width: units of hidden layers.
        excitatory: hold every latent's effect at or above zero.
    """

    n_units: int
    n_latents: int
    encoder: str
    decoder: str
    observation: str
    link: str
    encoder_reach: int
    decoder_reach: int
    width: int
    excitatory: bool


class PVAE(nn.Module):
    """The network; everything it learns is a parameter, what it knows of the data's size is a buffer.

    Args:
        shape: what it is made of.
        mean_count: mean count of every unit per bin, above zero for counts.
        scale: standard deviation of every unit's count, above zero.
        prior_count: the prior rate that every latent starts from, spikes per bin.
        generator: source of the start, on the CPU.
    """

    mean_count: Tensor
    scale: Tensor
    unseen_gain: Tensor
    unseen_offset: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        mean_count: Float[Tensor, " unit"],
        scale: Float[Tensor, " unit"],
        prior_count: float = 0.5,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean_count", mean_count.float().clone())
        self.register_buffer("scale", scale.float().clone())
        # What corrects the rate of a unit that the encoder is not shown; learnt after training.
        self.register_buffer("unseen_gain", torch.ones(shape.n_units))
        self.register_buffer("unseen_offset", torch.zeros(shape.n_units))
        self.log_prior = nn.Parameter(torch.full((shape.n_latents,), prior_count).log())
        # One input more than units: whether a bin lies inside its segment.
        self.encoder = ENCODERS[shape.encoder](
            shape.n_units + 1,
            shape.n_latents,
            reach=shape.encoder_reach,
            width=shape.width,
            generator=generator,
        )
        self.observation = OBSERVATIONS[shape.observation](shape.n_units, shape.link)
        mean = mean_count.float()
        whole = self.observation.whole_counts
        self.decoder = DECODERS[shape.decoder](
            shape.n_latents,
            shape.n_units,
            reach=shape.decoder_reach,
            width=shape.width,
            baseline=inverse_link(shape.link, mean) if whole else mean,
            generator=generator,
        )
        # Gentle at first: latent noise through full-size weights would drown the data.
        with torch.no_grad():
            self.decoder.soften(0.3 * (torch.ones_like(self.scale) if whole else self.scale))
            if whole:
                self.decoder.baseline.sub_(self.decoder.weights() @ self.log_prior.exp())
        if shape.excitatory:
            self.decoder.only_excite()

    @property
    def reach(self) -> int:
        """Bins on either side that a window needs beside the bins it explains."""
        return self.encoder.reach + self.decoder.reach

    @property
    def has_closed_form(self) -> bool:
        """Whether the expected log-likelihood is known without drawing latents."""
        gaussian = self.shape.observation == "gaussian"
        return self.shape.decoder == "linear" and (
            gaussian or (self.shape.observation == "poisson" and self.shape.link == "exp")
        )

    def residual(
        self,
        counts: Float[Tensor, "window unit padded"],
        inside: Float[Tensor, "window 1 padded"],
        present: Float[Tensor, "window unit"] | None = None,
    ) -> Float[Tensor, "window latent bin"]:
        """Log δr of every latent, in bins that lose the encoder's reach on either side.

        Args:
            counts: of all units; what lies outside the segment or belongs to units that are not present is not read.
            inside: 1 for bins of the segment, 0 for others.
            present: 1 for units that are shown to the encoder, 0 for those hidden from it; None shows all.
        """
        signal = (counts - self.mean_count[:, None]) / self.scale[:, None] * inside
        if present is not None:
            # Fewer units speak as loud as all.
            share = present.mean(1, keepdim=True).clamp(min=1e-6)
            signal = signal * (present / share)[:, :, None]
        raw = self.encoder(torch.cat([signal, inside], dim=1))
        return LARGEST_RESIDUAL * torch.tanh(raw / LARGEST_RESIDUAL)

    def expected(self, residual: Float[Tensor, "*batch latent bin"]) -> Float[Tensor, "*batch latent bin"]:
        """Posterior expected counts r · δr."""
        return torch.exp(self.log_prior[:, None] + residual)

    def divergence(self, residual: Float[Tensor, "*batch latent bin"]) -> Float[Tensor, "*batch latent bin"]:
        """KL of posterior from prior in nats, r (1 − δr + δr log δr)."""
        factor = residual.exp()
        return self.log_prior.exp()[:, None] * (1 - factor + factor * residual)

    def fill(
        self, latents: Float[Tensor, "*draw window latent bin"], inside: Float[Tensor, "window 1 bin"]
    ) -> Float[Tensor, "*draw window latent bin"]:
        """Latents with the prior's expected count where there is no bin: an edge is neither silence nor a spike."""
        return latents * inside + self.log_prior.exp()[:, None] * (1 - inside)

    def drive(self, latents: Float[Tensor, "*batch latent padded"]) -> Float[Tensor, "*batch unit bin"]:
        """The units' drive, in bins that lose the decoder's reach on either side."""
        drive: Tensor = self.decoder(latents)
        return drive

    def corrected(
        self, value: Float[Tensor, "window unit bin"], present: Float[Tensor, "window unit"] | None
    ) -> Float[Tensor, "window unit bin"]:
        """Expected counts, those of units that are not shown corrected by their gain and offset."""
        if present is None or not self.observation.whole_counts:
            return value
        unseen = torch.exp(self.unseen_offset[:, None] + self.unseen_gain[:, None] * value.log())
        return torch.where(present[:, :, None] > 0, value, unseen.clamp(max=1e4))

    def expected_log_prob(
        self, expected: Float[Tensor, "window latent bin"], values: Float[Tensor, "window unit bin"]
    ) -> Float[Tensor, "window unit bin"]:
        """E_q[log p(x | z)] in closed form, without a draw.

        A linear decoder makes the drive a sum of independent Poisson counts: for Gaussian values only its mean and
        variance matter, and E[exp(w z)] = exp(λ (e^w − 1)) for the exponential link.

        Raises:
            ValueError: if this network has none; see `has_closed_form`.
        """
        decoder, observation = self.decoder, self.observation
        if not self.has_closed_form or not isinstance(decoder, LinearDecoder):
            raise ValueError("the expected log-likelihood is known for a linear decoder, Gaussian or with link exp")
        loadings, baseline = decoder.loadings, decoder.baseline[:, None]
        mean = loadings @ expected + baseline
        if isinstance(observation, GaussianObservation):
            log_variance = observation.log_variance[:, None]
            variance = loadings.square() @ expected
            at_mean = observation.log_prob(mean, values)
            return at_mean - 0.5 * variance * torch.exp(-log_variance)
        log_expected = (torch.expm1(loadings) @ expected + baseline).clamp(max=20)
        return values * mean - log_expected.exp() - torch.lgamma(values + 1)

    @torch.no_grad()
    def hold_constraints(self) -> None:
        """After a step: weights that must not be negative are not."""
        if self.shape.excitatory:
            self.decoder.only_excite()
