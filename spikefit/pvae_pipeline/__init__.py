"""What `spikefit pvae` does: fit a Poisson VAE to recordings, encode others with it, score it, and draw from it."""

from spikefit.pvae_pipeline.fitting import fit
from spikefit.pvae_pipeline.opened import counts_for
from spikefit.pvae_pipeline.sessions import Sessions, prepare_sessions
from spikefit.pvae_pipeline.settings import model_config, pvae_settings
from spikefit.pvae_pipeline.using import encode, generate, score

__all__ = [
    "Sessions",
    "counts_for",
    "encode",
    "fit",
    "generate",
    "model_config",
    "prepare_sessions",
    "pvae_settings",
    "score",
]
