"""A spiking latent code of a recording, from Python: what `spikefit pvae` does on the shell.

    import spikefit

    found = spikefit.pvae.fit("session.nwb", "latents", bin="20ms", latents=8)
    found.latents.expected_count, found.latents.time_s, found.metrics["co_bps"]
    spikefit.pvae.score("latents", "session.nwb")["baselines"]
    spikefit.pvae.encode("latents", "tomorrow.nwb").expected_count
    spikefit.pvae.load_latents("latents").arrays["decoder_weights"]

Recordings are files or `SpikeTrains`; models are folders that `fit` left, or what `fit` returned. docs/pvae.md says what the
numbers mean.
"""

from spikefit.latent_files import LatentFit
from spikefit.pvae_pipeline import encode, fit, generate, score
from spikefit.results.latents import Latents, load_latents

__all__ = ["LatentFit", "Latents", "encode", "fit", "generate", "load_latents", "score"]
