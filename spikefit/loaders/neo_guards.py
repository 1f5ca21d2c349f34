"""What is looked at before one of Neo's raw readers sees a file: numbers that would keep it busy for hours."""

from __future__ import annotations

import struct
from pathlib import Path

from spikefit.errors import RecordingError

SPIKE2_HEADER_BYTES = 512
SPIKE2_CHANNEL_BYTES = 140
SPIKE2_BLOCK_BYTES = 20


def check_spike2(path: Path) -> None:
    """Refuse a Spike2 file whose channels claim more blocks than it can hold; the reader looks up every one of them.

    Layout: CED's "SON filing system", as `neo.rawio.spike2rawio` describes it.

    Raises:
        RecordingError: saying which channel.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        content = file.read(SPIKE2_HEADER_BYTES + SPIKE2_CHANNEL_BYTES * 500)
    (n_channels,) = struct.unpack_from("<h", content, 30)
    total = 0
    for channel in range(max(n_channels, 0)):
        at = SPIKE2_HEADER_BYTES + SPIKE2_CHANNEL_BYTES * channel
        if at + SPIKE2_CHANNEL_BYTES > len(content):
            raise RecordingError(
                f"{path.name}: the file claims {n_channels} channels, and ends before channel {channel}.",
                hint="copy it again from where it was recorded",
            )
        (n_blocks,) = struct.unpack_from("<h", content, at + 14)
        total += max(n_blocks, 0)
        if total * SPIKE2_BLOCK_BYTES > size:
            raise RecordingError(
                f"{path.name}: channel {channel} claims {n_blocks} blocks, more than the file holds.",
                hint="copy it again from where it was recorded",
            )
