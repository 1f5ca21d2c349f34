"""Hidden units of a result beside the latents of a Poisson VAE, matched one to one.

Both stand for what the recorded units have in common: a hidden unit drives them with delays, a latent describes a bin. They
are matched as hidden units of two results are (`spikefit.alignment`), by the mean of two correlations: of their posterior
counts over the time that both cover, and of what one spike of each adds to the drive of the recorded units in common.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikefit.alignment import correlations
from spikefit.comparison.hidden import Floats, HiddenMatch, matched, on_shared_bins
from spikefit.comparison.scores import input_hash
from spikefit.marks import MAIN_FILE
from spikefit.results import Result
from spikefit.results.latents import FORMAT, LATENTS_FILE, Latents, load_latents


@dataclass(frozen=True)
class LatentComparison:
    """The hidden units of one result beside the latents of one Poisson VAE.

    Attributes:
        result, latents: their names.
        n_latents: latents in all; those that no hidden unit is matched to are not listed.
        hidden: a match for every hidden unit; `second` says which latent, by its number.
        same_recording: whether both were made from the same file.
        notes: what stands in the way of a plain reading.
    """

    result: str
    latents: str
    n_latents: int
    hidden: tuple[HiddenMatch, ...]
    same_recording: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LatentSource:
    """Latents, and the checksums of the recordings they are of; None where that is not known."""

    latents: Latents
    hashes: tuple[Any, ...]


def are_latents(item: Any) -> bool:
    """Whether something to compare is latents: as an object, a folder that `spikefit pvae fit` left, or a file."""
    if isinstance(item, Latents):
        return True
    if isinstance(item, Result):
        return False
    path = Path(item)
    if path.is_dir():
        return (path / LATENTS_FILE).is_file() and not (path / MAIN_FILE).exists()
    if not path.is_file() or path.suffix != ".h5" or path.name == MAIN_FILE:
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return bool(file.attrs.get("format") == FORMAT)
    except (OSError, RuntimeError):
        return False


def open_latents(item: str | Path | Latents) -> LatentSource:
    """Read latents, and from the record beside them which recordings they are of.

    Raises:
        ResultError: if they cannot be read.
    """
    if isinstance(item, Latents):
        return LatentSource(item, (None,) * len(item.session_name))
    path = Path(item)
    latents = load_latents(path)
    hashes: tuple[Any, ...] = (None,) * len(latents.session_name)
    folder = path if path.is_dir() else path.parent
    record = folder / "provenance.json"
    # A file that was moved elsewhere must not take the record of a stranger for its own.
    if record.is_file() and (path.is_dir() or path.name == LATENTS_FILE):
        try:
            inputs = json.loads(record.read_text(encoding="utf-8")).get("inputs") or []
        except (OSError, ValueError):
            inputs = []
        found = tuple(each.get("sha256") or each.get("spikes_sha256") for each in inputs if isinstance(each, dict))
        if len(found) == len(hashes):
            hashes = found
    return LatentSource(latents, hashes)


def beside_latents(result: Result, name: str, source: LatentSource, latents_name: str) -> LatentComparison:
    """Match the hidden units of a result to latents."""
    latents, notes = source.latents, []
    n_latents = latents.expected_count.shape[1]
    common = [unit for unit in result.unit_id[result.visible] if unit in set(latents.unit_id)]
    known = input_hash(result)
    same = known is not None and known in source.hashes
    if not result.n_hidden:
        notes.append(f"{name} has no hidden units")
        return LatentComparison(name, latents_name, n_latents, (), same, tuple(notes))
    filters = np.full((result.n_hidden, n_latents), np.nan)
    if len(common) >= 3:
        posts = [result.index_of(unit) for unit in common]
        rows = [latents.unit_id.index(unit) for unit in common]
        effects = result.connectivity[posts][:, result.hidden_units].T
        filters = correlations(effects, latents.arrays["decoder_weights"][rows].T)
    else:
        notes.append(f"{len(common)} recorded units are in both: effects on them are not compared")
    activity = np.full_like(filters, np.nan)
    shared = _shared(result, source, source.hashes.index(known)) if same else None
    if shared is not None:
        activity = correlations(*shared)
    elif same:
        notes.append("the two share no time: what they did is not compared")
    else:
        notes.append("they are not known to be of one recording: what they did is not compared, only effects are")
    names = list(result.unit_id[result.hidden_units])
    found = matched(names, [str(k) for k in range(n_latents)], activity, filters)
    listed = tuple(each for each in found if each.first is not None)
    return LatentComparison(name, latents_name, n_latents, listed, same, tuple(notes))


def _shared(result: Result, source: LatentSource, session: int) -> tuple[Floats, Floats] | None:
    hidden, latents = result.hidden, source.latents
    if hidden is None:
        return None
    own = latents.arrays["session"] == session
    return on_shared_bins(
        (hidden.time_s, result.bin_width_s, hidden.expected_count),
        (latents.time_s[own], latents.bin_width_s, latents.expected_count[own]),
    )
