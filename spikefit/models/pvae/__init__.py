"""The Poisson variational autoencoder: counts to latent spike counts and back."""

from spikefit.models.pvae.decoders import DECODERS
from spikefit.models.pvae.encoders import ENCODERS
from spikefit.models.pvae.network import PVAE, Shape
from spikefit.models.pvae.observations import OBSERVATIONS

__all__ = ["DECODERS", "ENCODERS", "OBSERVATIONS", "PVAE", "Shape"]
