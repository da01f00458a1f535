"""Sample media for tests, a few seconds long and made in a moment; every function returns the path it wrote."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import av
from av.stream import Disposition

from vvwatch.processors.media.sample_clips import (
    Clip,
    generate_pattern,
    generate_tone,
    write_clip,
    write_part,
    write_picture,
)

_VIDEO_CODECS = {
    "webm": ("libvpx", "libopus"),
    "avi": ("mpeg4", "libmp3lame"),
    "mxf": ("mpeg2video", "pcm_s16le"),
    "mpg": ("mpeg2video", "mp2"),
    "mpeg": ("mpeg1video", "mp2"),
    "vob": ("mpeg2video", "ac3"),
    "m2ts": ("libx264", "ac3"),
    "wmv": ("wmv2", "wmav2"),
    "asf": ("wmv2", "wmav2"),
}
_SOUND_CODECS = {
    "mp3": "libmp3lame",
    "wav": "pcm_s16le",
    "flac": "flac",
    "ogg": "libopus",
    "aif": "pcm_s16be",
    "aiff": "pcm_s24be",
    "aifc": "pcm_s16le",
    "opus": "libopus",
    "oga": "flac",
    "mka": "flac",
    "bwf": "pcm_s24le",
    "rf64": "pcm_s16le",
    "w64": "pcm_s16le",
    "caf": "alac",
    "wma": "wmav2",
}
_NEEDED = {"wmav2": {"b": "128k"}}
_MUXERS = {"aifc": "aiff", "bwf": "wav", "rf64": "wav", "m2ts": "mpegts", "f4v": "mp4"}
_CONTAINER_OPTIONS = {
    "bwf": {"write_bext": "1"},
    "rf64": {"rf64": "always"},
    "m2ts": {"mpegts_m2ts_mode": "1"},
    "mts": {"mpegts_m2ts_mode": "1"},
}
_PICTURE_CODECS = {"png": "png", "webp": "libwebp", "gif": "gif", "bmp": "bmp", "tif": "tiff", "tiff": "tiff"}
_FAST = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
}


def video(
    path: Path,
    seconds: float = 4,
    *,
    cuts: tuple[float, ...] = (),
    pauses: tuple[tuple[float, float], ...] = (),
    audio: bool = True,
    codec: str | None = None,
    size: tuple[int, int] = (160, 90),
    frame_rate: int = 25,
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """Test patterns with a tone, another pattern after each cut; the codecs follow from the extension."""
    usual, sound = _VIDEO_CODECS.get(path.suffix[1:], ("libx264", "aac"))
    codec = codec or usual
    clip = Clip(
        seconds=seconds,
        cuts=cuts,
        pauses=pauses,
        size=size,
        frame_rate=frame_rate,
        video_codec=codec,
        audio_codec=sound if audio else None,
        container_options=container_options or _CONTAINER_OPTIONS.get(path.suffix[1:], {}),
        container=_MUXERS.get(path.suffix[1:]),
        video_options=_FAST.get(codec, {}),
        audio_options=_NEEDED.get(sound, {}),
    )
    return write_clip(path, clip)


def audio(
    path: Path,
    seconds: float = 4,
    *,
    silences: tuple[tuple[float, float], ...] = (),
    container_options: Mapping[str, str] | None = None,
) -> Path:
    """A tone that stops within `silences`; the codec follows from the extension."""
    codec = _SOUND_CODECS.get(path.suffix[1:], "aac")
    clip = Clip(
        seconds,
        pauses=silences,
        video_codec=None,
        audio_codec=codec,
        audio_options=_NEEDED.get(codec, {}),
        container_options=container_options or _CONTAINER_OPTIONS.get(path.suffix[1:], {}),
        container=_MUXERS.get(path.suffix[1:]),
    )
    return write_clip(path, clip)


def image(path: Path, size: tuple[int, int] = (160, 90)) -> Path:
    """A test pattern; the codec follows from the extension."""
    codec = _PICTURE_CODECS.get(path.suffix[1:], "mjpeg")
    write_picture(path, size, codec)
    if codec == "gif":  # the encoder leaves the trailer to the muxer
        path.write_bytes(path.read_bytes() + b";")
    return path


def blank_png(path: Path, size: tuple[int, int], *, bits: int = 8) -> Path:
    """A black picture of any size in a few kilobytes, with 1 or 8 bits per pixel."""
    width, height = size
    squeezer = zlib.compressobj(1)
    row = bytes(1 + -(-width * bits // 8))
    pixels = b"".join(squeezer.compress(row) for _ in range(height)) + squeezer.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = _png_chunk(b"IHDR", header) + _png_chunk(b"IDAT", pixels) + _png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def song_with_cover(path: Path, seconds: float = 2) -> Path:
    """An MP3 file with a picture on its sleeve."""
    with av.open(str(path), "w") as container:
        sleeve = container.add_stream("mjpeg", rate=1)
        sleeve.width, sleeve.height, sleeve.pix_fmt = 160, 90, "yuvj420p"
        sleeve.disposition = Disposition.attached_pic
        sound = container.add_stream("libmp3lame", rate=48_000, layout="stereo")
        container.mux(sleeve.encode(next(generate_pattern("testsrc2", (160, 90), 1, "yuvj420p"))))
        for frame in generate_tone(()):
            if frame.time is None or frame.time >= seconds:
                break
            container.mux(sound.encode(frame))
        container.mux(sleeve.encode(None))
        container.mux(sound.encode(None))
    return path


def truncated(source: Path, path: Path, fraction: float) -> Path:
    """The first `fraction` of the bytes of `source`."""
    return write_part(source, path, fraction)


def holed(source: Path, path: Path, start: float, end: float) -> Path:
    """`source` with zeros between two fractions of its length, as a sparse copy has them."""
    content = bytearray(source.read_bytes())
    first, last = int(len(content) * start), int(len(content) * end)
    content[first:last] = bytes(last - first)
    path.write_bytes(content)
    return path


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
