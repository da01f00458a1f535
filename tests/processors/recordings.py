"""Media as recorders write it: pictures and sound where wanted, tags, trims and losses, in a few lines each."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

SIZE = (160, 90)
_SAMPLES = 960


def spaced(seconds: float, rate: float = 10, start: float = 0.0) -> list[float]:
    """Moments from `start` on, `rate` a second, for `seconds`."""
    return [start + number / rate for number in range(round(seconds * rate))]


def record(
    path: Path,
    pictures: Sequence[float] = (),
    sounds: Sequence[Sequence[float]] = (),
    *,
    codec: str = "libx264",
    sound_codec: str = "aac",
    rate: int = 10,
    options: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    tags: Mapping[str, int] | None = None,
    pixels: str = "yuv420p",
    rotation: int = 0,
    levels: Sequence[float] = (),
    size: tuple[int, int] = SIZE,
    further_pictures: bool = False,
) -> Path:
    """A picture at each moment of `pictures`; for each of `sounds` a track with 20 ms of a tone at each moment.

    `pictures` empty and `codec` given still makes a track of pictures, one that is empty; pass codec="" for none.
    """
    with av.open(str(path), "w", options=dict(container_options or {})) as out:
        seen: list[Any] = []
        for _ in range((1 + further_pictures) if codec else 0):
            stream: Any = out.add_stream(codec, rate=rate, options=dict(options or {}))
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            stream.codec_context.time_base = Fraction(1, 1000)
            for name, value in (tags or {}).items():
                setattr(stream.codec_context, name, value)
            if rotation:
                stream.set_display_rotation(-rotation)
            seen.append(stream)
        heard: list[Any] = [out.add_stream(sound_codec, rate=48_000, layout="mono") for _ in sounds]
        entries = [(at, 0, track) for at in pictures for track in range(len(seen))]
        entries += [(at, 1, track) for track, moments in enumerate(sounds) for at in moments]
        for at, kind, track in sorted(entries):
            if kind == 0:
                out.mux(seen[track].encode(_picture(at, size, pixels)))
            else:
                level = levels[track] if levels else 0.3
                out.mux(heard[track].encode(_tone(at, level, heard[track].codec_context.format.name)))
        for each in (*seen, *heard):
            out.mux(each.encode(None))
    return path


def _picture(at: float, size: tuple[int, int], pixels: str) -> av.VideoFrame:
    frame, moved = av.VideoFrame(*size, "yuv420p"), round(at * 25)
    for number, plane in enumerate(frame.planes):
        row = bytes((x * 3 + moved * 5 + number * 40) % 256 for x in range(plane.line_size)) * 2
        starts = ((y + moved) % 60 for y in range(plane.height))
        plane.update(b"".join(row[start : start + plane.line_size] for start in starts))
    made = frame.reformat(format=pixels)
    made.pts, made.time_base = round(at * 1000), Fraction(1, 1000)
    return made


def _tone(at: float, level: float, form: str) -> av.AudioFrame:
    first = round(at * 48_000)
    values = array("f", (level * math.sin((first + n) * 0.06) for n in range(_SAMPLES)))
    frame = av.AudioFrame(format="flt", layout="mono", samples=_SAMPLES)
    frame.planes[0].update(values.tobytes())
    frame.sample_rate, frame.pts, frame.time_base = 48_000, first, Fraction(1, 48_000)
    if form == "flt":
        return frame
    (made,) = av.AudioResampler(format=form).resample(frame)
    made.pts, made.time_base = first, Fraction(1, 48_000)
    return made


def heard_between(*stretches: tuple[float, float]) -> list[float]:
    """The moments of 20 ms each that fill `stretches`."""
    return [at for start, end in stretches for at in spaced(end - start, 50, start)]


def trimmed(path: Path, start: float, end: float) -> Path:
    """Let the edit list of the first track of an MP4 show only from `start` to `end` seconds."""
    data = bytearray(path.read_bytes())
    place = data.index(b"mvhd")
    scale = struct.unpack(">I", data[place + 16 : place + 20])[0]
    length = struct.pack(">I", round((end - start) * scale))
    data[place + 20 : place + 24] = length
    place = data.index(b"tkhd")
    data[place + 24 : place + 28] = length
    media_scale = struct.unpack(">I", data[(at := data.index(b"mdhd")) + 16 : at + 20])[0]
    place = data.index(b"elst")
    (begun,) = struct.unpack(">I", data[place + 16 : place + 20])
    data[place + 12 : place + 20] = length + struct.pack(">I", begun + round(start * media_scale))
    path.write_bytes(data)
    return path


def with_subtitle(source: Path, path: Path, moments: Iterable[float]) -> Path:
    """`source` with a subtitle of a second at each of `moments`, in the container that the name of `path` says."""
    lines = "".join(f"{n}\n{_srt(at)} --> {_srt(at + 1)}\nwords\n\n" for n, at in enumerate(moments, 1))
    script = path.with_suffix(".srt")
    script.write_text(lines)
    with av.open(str(source)) as film, av.open(str(script)) as words, av.open(str(path), "w") as out:
        streams = {
            id(stream): out.add_stream_from_template(stream) for stream in (*film.streams, *words.streams)
        }
        for container in (film, words):
            for packet in container.demux():
                if packet.dts is not None:
                    packet.stream = streams[id(packet.stream)]
                    out.mux(packet)
    script.unlink()
    return path


def _srt(at: float) -> str:
    minutes, seconds = divmod(at, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02.0f}:{minutes:02.0f}:{seconds:06.3f}".replace(".", ",")


def overwrite(
    path: Path, stream: int, value: bytes, *, skip: int = 0, of_each: int = 1, keep: int = 0
) -> int:
    """Fill packets of an MP4's `stream` with `value`, but for their first `keep` bytes; returns how many."""
    data, hit = bytearray(path.read_bytes()), 0
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams[stream]) if p.size and p.pos is not None]
    for packet in packets[skip::of_each]:
        start, end = (packet.pos or 0) + keep, (packet.pos or 0) + packet.size
        if end > start:
            data[start:end] = value * (end - start)
            hit += 1
    path.write_bytes(data)
    return hit


def empty_unreferenced(path: Path) -> int:
    """Zero the payload of each H.264 picture of an MP4 that no other refers to; returns how many."""
    data, hit = bytearray(path.read_bytes()), 0
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for packet in packets:
        raw, place = bytes(packet), 0
        while place + 4 < len(raw):
            length = int.from_bytes(raw[place : place + 4], "big")
            if raw[place + 4] & 31 == 1 and not raw[place + 4] >> 5 & 3 and length > 24:
                start = (packet.pos or 0) + place
                data[start + 20 : start + 4 + length] = bytes(length - 16)
                hit += 1
            place += 4 + length
    path.write_bytes(data)
    return hit
