"""Latents of recordings as one file, `latents.h5`: what `spikefit pvae fit` and `encode` write.

Root attributes: `format="spikefit-latents"`, `format_version=1`, `bin_width_s`, `generator`, `created_utc`, `name`.
Every dataset says its `dims`, `units` and `description`; the table below is what stands in them. Bins follow one
another without the gaps between them: `time_s` has the time, `segment` changes where context ends.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikefit.errors import ResultError
from spikefit.results.schema import About

LATENTS_FILE = "latents.h5"
FORMAT, FORMAT_VERSION = "spikefit-latents", 1
PASS_BINS = 20_000
# A latent that says less than this about a bin has gone back to its prior.
DEAD_NATS_PER_BIN = 1e-3

ABOUT: dict[str, About] = {
    "unit_id": About("unit", "1", "units that the model explains, by their ids in the recording"),
    "session_name": About("session", "1", "recordings that the bins come from"),
    "time_s": About("bin", "s", "start of each bin on its recording's clock, gaps left out"),
    "session": About("bin", "1", "which recording each bin comes from, by its place in session_name"),
    "segment": About("bin", "1", "which unbroken stretch each bin belongs to; trials and epochs are such stretches"),
    "expected_count": About("bin, latent", "spikes per bin", "posterior mean of each latent's count"),
    "counts": About("draw, bin, latent", "spikes per bin", "latent counts drawn from the posterior"),
    "fold": About("bin", "1", "what the bin was used for: 0 training, 1 choosing, 2 held out"),
    "prior_count": About("latent", "spikes per bin", "expected count of each latent under the prior"),
    "decoder_weights": About(
        "unit, latent", "drive per spike", "effect of one latent spike on the drive of a unit, summed over the kernel"
    ),
    "kernels": About("latent, lag", "1", "time course of that effect, of sum 1"),
    "kernel_lag_s": About("lag", "s", "lag of each kernel value behind the latent spike"),
    "divergence": About(
        "latent", "nats per bin", "mean divergence of the posterior from the prior: what a latent says"
    ),
    "lifetime_sparsity": About("latent", "1", "Treves-Rolls sparsity over time; 0 always alike, 1 seldom active"),
}


@dataclass(frozen=True, eq=False)
class Latents:
    """The content of `latents.h5`.

    Attributes:
        name: of the recording, or of the first of several.
        unit_id: units that the model explains.
        bin_width_s: bin width in seconds.
        session_name: recordings.
        arrays: datasets by name, as in `ABOUT`; `history/…` are series over epochs.
    """

    name: str
    unit_id: tuple[str, ...]
    bin_width_s: float
    session_name: tuple[str, ...]
    arrays: Mapping[str, NDArray[Any]]
    history: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def expected_count(self) -> NDArray[np.float32]:
        """Posterior mean counts, (bin, latent)."""
        return self.arrays["expected_count"]

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Start of every bin, (bin,)."""
        return self.arrays["time_s"]


def latents_bytes(latents: Latents, *, generator: str, created_utc: str) -> bytes:
    """The file's bytes; built in memory, because HDF5 does not survive a full disk."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs.update(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "bin_width_s": latents.bin_width_s,
                "generator": generator,
                "created_utc": created_utc,
                "name": latents.name,
            }
        )
        for key in ("unit_id", "session_name"):
            values = np.array(getattr(latents, key), dtype=object)
            _describe(file.create_dataset(key, data=values, dtype=h5py.string_dtype("utf-8")), ABOUT[key])
        for key, array in latents.arrays.items():
            options: dict[str, Any] = {"chunks": True, "fletcher32": True} if array.nbytes >= 4096 else {}
            if options and key in ("session", "segment", "fold", "counts"):
                options |= {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            _describe(file.create_dataset(key, data=array, **options), ABOUT[key])
        for key, series in latents.history.items():
            about = About("epoch", "nats per bin", f"{key.replace('_', ' ')} over training")
            _describe(file.create_dataset(f"history/{key}", data=series), about)
    return buffer.getvalue()


def load_latents(path: Path) -> Latents:
    """Read a `latents.h5`, or the one in a folder.

    Raises:
        ResultError: if it is not there, damaged, or something else.
    """
    import h5py

    path = path / LATENTS_FILE if path.is_dir() else path
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT or int(file.attrs["format_version"]) > FORMAT_VERSION:
                raise ResultError(
                    f"{path}: expected {FORMAT} version {FORMAT_VERSION}, it says {file.attrs.get('format')!r} "
                    f"version {file.attrs.get('format_version')!r}.",
                    hint="pass a file that `spikefit pvae` wrote",
                )
            texts = {key: tuple(file[key].asstr()[()].tolist()) for key in ("unit_id", "session_name")}
            arrays = {key: file[key][()] for key in ABOUT if key in file and key not in texts}
            history = {key: series[()] for key, series in file["history"].items()} if "history" in file else {}
            return Latents(
                name=str(file.attrs["name"]),
                bin_width_s=float(file.attrs["bin_width_s"]),
                arrays=arrays,
                history=history,
                **texts,
            )
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as fault:
        raise ResultError(
            f"{path}: no latents can be read here ({fault}).", hint="encode the recording again"
        ) from fault


def _describe(dataset: Any, about: About) -> None:
    for key, text in about._asdict().items():
        dataset.attrs[key] = text


def mean_divergence(
    expected_count: NDArray[np.floating[Any]], prior_count: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """What each latent says about a bin in the mean, in nats: its posterior's divergence from the prior; (latent,)."""
    total = np.zeros(len(prior_count))
    for part in _passes(expected_count):
        ratio = part / prior_count
        total += (prior_count * (1 - ratio + ratio * np.log(ratio))).sum(axis=0)
    return total / len(expected_count)


def lifetime_sparsity(expected_count: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Treves-Rolls sparsity of each latent over time, (1 − ⟨r⟩² / ⟨r²⟩) / (1 − 1/n); (latent,)."""
    n = len(expected_count)
    mean, square = (
        sum(power(part).sum(axis=0) for part in _passes(expected_count)) / n for power in (np.asarray, np.square)
    )
    return _sparsity(mean, square, n)


def population_sparsity(expected_count: NDArray[np.floating[Any]]) -> float:
    """The same over the latents of a bin, averaged over bins; NaN for a single latent."""
    n = expected_count.shape[1]
    total = 0.0
    for part in _passes(expected_count):
        total += float(_sparsity(part.mean(axis=1), np.square(part).mean(axis=1), n).sum())
    return total / len(expected_count)


def _sparsity(mean: NDArray[np.float64], square: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((1 - np.square(mean) / square) / np.float64(1 - 1 / n))


def _passes(values: NDArray[np.floating[Any]]) -> Iterator[NDArray[np.float64]]:
    """Bins in float64, some at a time: all at once would be twice what is measured."""
    for start in range(0, len(values), PASS_BINS):
        yield np.asarray(values[start : start + PASS_BINS], dtype=np.float64)
