"""What is known of a session, in the form of an NWB file: start, id, subject."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pynwb import NWBFile

# As the archives want them: an ISO 8601 duration, and a Latin binomial.
_AGE = re.compile(r"P(?=.)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(/(P.+)?)?")
_SPECIES = re.compile(r"[A-Z][a-z]+ [a-z]+")


def nwb_file(session: Mapping[str, str], *, description: str, identifier: str, **further: Any) -> NWBFile:
    """A new NWB file in memory; where the start of the session is not known it says so in the description.

    Args:
        session: what the recording says of itself; see `SpikeTrains.session`.
        description: what the file is, in a sentence.
        identifier: of the file.
        further: other fields of `pynwb.NWBFile`.
    """
    from pynwb import NWBFile
    from pynwb.file import Subject

    start = start_time(session)
    unknown = "" if start else " When the session started is not known; the date is a placeholder."
    return NWBFile(
        session_description=f"{description}{unknown}",
        identifier=identifier,
        session_start_time=start or datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        session_id=session.get("session_id"),
        subject=Subject(
            subject_id=session.get("subject_id") or "unknown",
            sex=session["sex"] if session.get("sex") in ("F", "M", "O", "U") else "U",  # unknown
            age=session["age"] if _AGE.fullmatch(session.get("age", "")) else "P0D/",  # from no days up: unknown
            species=session["species"] if _SPECIES.fullmatch(session.get("species", "")) else None,
            description="As the recording has it; the recording is the place for more.",
        ),
        **further,
    )


def start_time(session: Mapping[str, str]) -> datetime.datetime | None:
    """When the session started, in UTC where no zone is given; None where it is not known."""
    text = session.get("session_start_time")
    try:
        start = datetime.datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
    return start.replace(tzinfo=start.tzinfo or datetime.UTC) if start else None


def free_name(wanted: str, taken: Mapping[str, Any]) -> str:
    """A name for a unit column that NWB takes and no other column has."""
    name = wanted.replace("/", "_").replace(":", "_").strip() or "column"
    while name in taken or name in RESERVED:
        name = f"unit_{name}"
    return name


# Columns of /units whose type NWB itself has laid down; a plain text or number there would not be valid.
RESERVED = frozenset(
    {
        *("electrodes", "electrode_group", "waveform_mean", "waveform_sd", "waveforms"),
        *("spike_times_index", "obs_intervals_index", "electrodes_index", "waveforms_index", "waveforms_index_index"),
        *("name", "description", "colnames", "columns", "spike_times", "obs_intervals", "id"),
    }
)
