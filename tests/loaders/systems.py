"""Small files of recording systems, packed field by field from the makers' own descriptions of their formats.

Every writer takes `{(channel, unit): times in seconds}`, with unit 0 for spikes that were not sorted.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Spikes = Mapping[tuple[int, int], Sequence[float]]
RATE_HZ = 30_000


def in_order(spikes: Spikes) -> list[tuple[float, int, int]]:
    return sorted((t, channel, unit) for (channel, unit), train in spikes.items() for t in train)


def channels_of(spikes: Spikes) -> list[int]:
    return sorted({channel for channel, _ in spikes})


def blackrock(path: Path, spikes: Spikes) -> Path:
    """NEV 2.3: header, a NEUEVWAV header per channel, packets of 104 bytes."""
    n = len(channels_of(spikes))
    head = struct.pack(
        "<8sBBHIIII8H32s256sI", b"NEURALEV", 2, 3, 1, 336 + 32 * n, 104, RATE_HZ, RATE_HZ, 2020, 1, 3, 1, 10, 0, 0, 0, b"Central", b"", n,
    )  # fmt: skip
    for channel in channels_of(spikes):
        head += struct.pack("<8sHBBHHhhBBH8x", b"NEUEVWAV", channel, 1, channel, 250, 0, 0, 0, 5, 2, 48)
    packets = b"".join(
        struct.pack("<IHBB96x", round(t * RATE_HZ), channel, unit, 0) for t, channel, unit in in_order(spikes)
    )
    path.write_bytes(head + packets)
    return path


def plexon(path: Path, spikes: Spikes) -> Path:
    """PLX 106: global header of 7504 bytes, channel headers of 1020, then blocks; every channel has the same name."""
    rate = 10_000
    channels = channels_of(spikes)
    head = struct.pack(
        "<II128s14id4B3H", 0x58454C50, 106, b"", rate, len(channels), 0, 0, 8, 4, 2020, 1, 1, 0, 0, 0, 0, rate, 40_000.0,
        1, 1, 12, 12, 3000, 5000, 1000,
    )  # fmt: skip
    content = head.ljust(7504, b"\0")
    for channel in channels:
        content += struct.pack("<32s32siiiiii", b"SPK01", b"SPK01", channel, 0, 0, 0, 1, 0).ljust(1020, b"\0")
    for t, channel, unit in in_order(spikes):
        content += struct.pack("<hHIhhhh", 1, 0, round(t * rate), channel, unit, 1, 4) + bytes(8)
    path.write_bytes(content)
    return path


def neuro_explorer(path: Path, trains: Mapping[str, Sequence[float]], waves: Mapping[str, Sequence[float]]) -> Path:
    """NEX 104: header of 544 bytes, variable headers of 208; waveform variables hold the times of their unit once more."""
    rate = 40_000
    variables = [(name, 0, list(train), 0) for name, train in trains.items()]
    variables += [(name, 3, list(train), 8) for name, train in waves.items()]
    end = round(4 * rate)
    head = struct.pack("<4si256sdiii", b"NEX1", 104, b"", rate, 0, end, len(variables)).ljust(544, b"\0")
    place, data = 544 + 208 * len(variables), b""
    for name, kind, times, points in variables:
        head += struct.pack(
            "<ii64siiiiiidddddiid", kind, 100, name.encode(), place + len(data), len(times), 0, 0, 0, 0, 0, 0, rate, 1.0, 0, points, 0, 0,
        ).ljust(208, b"\0")  # fmt: skip
        data += (np.round(np.array(times) * rate)).astype("<i4").tobytes() + bytes(2 * points * len(times))
    path.write_bytes(head + data)
    return path


def neuralynx(path: Path, spikes: Spikes, *, wires: int = 1) -> Path:
    """NSE or NTT: 16 kB of text, then records of a time in microseconds, a unit, eight features and the waveforms."""
    size = 48 + 64 * wires
    text = (
        "######## Neuralynx Data File Header\r\n## File Name C:\\session\\TT1\r\n"
        "## Time Opened (m/d/y): 1/1/2020  (h:m:s.ms) 10:0:0.0\r\n## Time Closed (m/d/y): 1/1/2020  (h:m:s.ms) 11:0:0.0\r\n"
        f"-CheetahRev 5.5.1\r\n-AcqEntName TT1\r\n-FileType Spike\r\n-RecordSize {size}\r\n-SamplingFrequency 32000\r\n"
        f"-ADChannel {' '.join(str(k) for k in range(wires))}\r\n-ADBitVolts {' '.join(['0.00000006'] * wires)}\r\n"
        f"-InputRange {' '.join(['2000'] * wires)}\r\n-NumADChannels {wires}\r\n-ADMaxValue 32767\r\n"
    )
    records = b"".join(
        struct.pack("<QII", round(t * 1e6), channel, unit) + bytes(32 + 64 * wires)
        for t, channel, unit in in_order(spikes)
    )
    path.write_bytes(text.encode().ljust(16384, b"\0") + records)
    return path


def spike2(path: Path, spikes: Spikes, *, per_block: int = 2) -> Path:
    """SON 6: header and channel headers of 512 and 140 bytes, AdcMark channels in linked blocks of 512 bytes.

    One tick is 10 µs. Codes are the marker's first byte, 00 for what was not sorted.
    """
    channels = channels_of(spikes)
    content = struct.pack(
        "<h10s8shhhihhhhhid", 6, b"(C) CED 87", b"tests", 10, 1, 0, 0, len(channels), 0, 0, 0, 0, 10**6, 1e-6
    ).ljust(512, b"\0")
    first = 512 + 140 * len(channels)
    headers, blocks = b"", b""
    for number, channel in enumerate(channels):
        own = [(t, unit) for t, c, unit in in_order(spikes) if c == channel]
        groups = [own[k : k + per_block] for k in range(0, len(own), per_block)]
        starts = [first + len(blocks) + 512 * k for k in range(len(groups))]
        headers += struct.pack(
            "<hiiihhhhhh72siih10sfBb", 0, -1, starts[0], starts[-1], len(groups), 8, 0, 0, 0, 40, b"", 10**6, 1, number,
            bytes([4]) + b"unit", 25_000.0, 6, 0,
        )  # fmt: skip
        headers += struct.pack("<ff6sh", 1.0, 0.0, bytes([1]) + b"V", 1)
        for k, group in enumerate(groups):
            ticks = [round(t * 1e5) for t, _ in group]
            block = struct.pack(
                "<iiiihh", starts[k - 1] if k else -1, starts[k + 1] if k + 1 < len(groups) else -1, ticks[0], ticks[-1], number, len(group),
            )  # fmt: skip
            for tick, (_, unit) in zip(ticks, group, strict=True):
                block += struct.pack("<iI8x", tick, unit)
            blocks += block.ljust(512, b"\0")
    path.write_bytes(content + headers + blocks)
    return path


def open_ephys(path: Path, spikes: Spikes) -> Path:
    """A `.spikes` file: 1024 bytes of text, then records with one channel of eight samples each."""
    text = (
        "header.format = 'Open Ephys Data Format'; \nheader.version = 0.4; \nheader.header_bytes = 1024;\n"
        "header.description = 'spikes'; \nheader.date_created = '1-Jan-2020 100000';\nheader.channel = 'SE0';\n"
        f"header.channelType = 'Electrode';\nheader.num_channels = 1;\nheader.sampleRate = {RATE_HZ};\n"
    )
    content = text.encode().ljust(1024)
    for t, channel, unit in in_order(spikes):
        content += struct.pack(
            "<BqqHHHHHH3B2fH", 4, round(t * RATE_HZ), 0, channel, 1, 8, unit, channel, 0, 0, 0, 0, 0, 0, RATE_HZ
        )
        content += bytes(16) + struct.pack("<fHH", 1.0, 0, 0)
    path.write_bytes(content)
    return path


def tdt(folder: Path, spikes: Spikes, *, start_s: float = 1.5e9, stop_s: float = 4.0) -> Path:
    """A block of TDT: the text of its stores (`.Tbk`) and the index of its events (`.tsq`), 40 bytes each."""
    folder.mkdir(exist_ok=True)
    fields = {
        "StoreName": ("S", "eNe1"), "HeadName": ("S", "PZ5"), "Enabled": ("B", "1"), "CircType": ("L", "1"),
        "NumChan": ("L", str(max(channels_of(spikes)))), "StrobeMode": ("L", "0"), "TankEvType": ("L", str(0x8201)),
        "NumPoints": ("L", "30"), "DataFormat": ("L", "0"), "SampleFreq": ("D", "24414.0625"),
    }  # fmt: skip
    store = "".join(f"NAME={name};TYPE={kind};VALUE={value};\r\n" for name, (kind, value) in fields.items())
    (folder / f"{folder.name}.Tbk").write_bytes(f"[STOREHDRITEM]\r\n{store}[USERNOTEDELIMITER]\r\n".encode())
    rows = [(0, 0, b"", 0, 0, 0.0), (0, 0x8801, b"\x01", 0, 0, start_s)]
    rows += [(40, 0x8201, b"eNe1", c, unit, start_s + t) for t, c, unit in in_order(spikes)]
    rows += [(0, 0x8801, b"\x02", 0, 0, start_s + stop_s)]
    (folder / f"{folder.name}.tsq").write_bytes(
        b"".join(struct.pack("<ii4sHHdqif", *row, 0, 0, 24414.0625) for row in rows)
    )
    return folder


def klusters(
    folder: Path, spikes: Spikes, *, rate_hz: float | None = 20_000.0, base: str = "rat1", times: str = "res"
) -> Path:
    """Klusters: a line per spike, samples in `.res.N` (or last in `.fet.N`) and clusters, after their number, in `.clu.N`."""
    folder.mkdir(exist_ok=True)
    if rate_hz is not None:
        (folder / f"{base}.xml").write_text(
            f"<?xml version='1.0'?>\n<parameters>\n <acquisitionSystem>\n  <samplingRate>{rate_hz:g}</samplingRate>\n"
            " </acquisitionSystem>\n</parameters>\n"
        )
    for shank in channels_of(spikes):
        own = [(round(t * (rate_hz or 20_000)), unit) for t, c, unit in in_order(spikes) if c == shank]
        clusters = "".join(f"{unit}\n" for _, unit in own)
        (folder / f"{base}.clu.{shank}").write_text(f"{len({u for _, u in own})}\n{clusters}")
        if times == "res":
            (folder / f"{base}.res.{shank}").write_text("".join(f"{sample}\n" for sample, _ in own))
        else:
            (folder / f"{base}.fet.{shank}").write_text("3\n" + "".join(f"7 -3 {sample}\n" for sample, _ in own))
    return folder


def brainware_f32(path: Path, trials: Sequence[Sequence[float]], *, length_ms: float = 500.0) -> Path:
    """BrainWare F32: numbers of 4 bytes; -2 begins a condition (length, parameters), -1 a sweep, and spikes follow in ms."""
    numbers = [-2.0, length_ms, 1.0, 7.0]
    for times in trials:
        numbers += [-1.0, *(1e3 * t for t in times)]
    path.write_bytes(np.array(numbers, dtype="<f4").tobytes())
    return path


def kwik(path: Path, spikes: Spikes, *, rate_hz: float | None = 20_000.0, recordings: Sequence[int] = (0,)) -> Path:
    """A `.kwik` file of version 2; unit numbers stand for their groups: 0 noise, 1 mua, 2 good, others unsorted."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["kwik_version"] = 2
        for recording in recordings:
            group = file.create_group(f"recordings/{recording}")
            if rate_hz is not None:
                group.attrs["sample_rate"] = rate_hz
        for channels in channels_of(spikes):
            own = [(round(t * (rate_hz or 20_000)), unit) for t, c, unit in in_order(spikes) if c == channels]
            place = file.create_group(f"channel_groups/{channels}")
            place["spikes/time_samples"] = np.array([sample for sample, _ in own], np.uint64)
            place["spikes/clusters/main"] = np.array([unit for _, unit in own], np.uint32)
            place["spikes/recording"] = np.resize(recordings, len(own)).astype(np.uint16)
            for unit in {unit for _, unit in own}:
                place.create_group(f"clusters/main/{unit}").attrs["cluster_group"] = min(unit, 3)
    return path
