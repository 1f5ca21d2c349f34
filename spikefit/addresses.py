"""Recordings that lie on the network: telling their addresses from paths, and showing them without what gives access."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")
# What is kept of a query: all else may be a signature or a token.
_HARMLESS = ("versionId",)


def is_address(recording: object) -> bool:
    """Whether a text is an address (`https://…`, `s3://…`) and no path."""
    return isinstance(recording, str) and _ADDRESS.match(recording) is not None


def scheme_of(address: str) -> str:
    """`https` of `https://…`, in small letters."""
    match = _ADDRESS.match(address)
    return "" if match is None else match["scheme"].lower()


def without_credentials(address: str) -> str:
    """An address that may be shown and kept: no user, no password, no signature, no token."""
    parts = urlsplit(address)
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key in _HARMLESS])
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def name_of_recording(recording: str | Path) -> str:
    """The name of the file: the last part of a path or an address."""
    if is_address(recording):
        parts = urlsplit(str(recording))
        return unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.netloc.rpartition("@")[2]
    return Path(recording).name
