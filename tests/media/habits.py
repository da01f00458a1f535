"""Valid moving pictures as recorders, phones, editors and servers write them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from tests.media import boxes, matroska
from tests.media.movies import (
    AAC,
    AC3,
    B_FRAMES,
    DNXHR,
    MP2,
    MP3,
    MPEG2,
    MPEG4,
    OPUS,
    PCM16,
    PRORES,
    VP8,
    VP9,
    X264,
    X265,
    clip,
)
from tests.media.recipe import Recipe, Truth
from tests.media.writing import STYLES, Extra, Hear, See, write


def never(_: float) -> bool:
    return False


def changed(recipe: Recipe, name: str, change: Callable[[bytes], bytes], **truth: object) -> Recipe:
    """What `recipe` writes, changed; fields of its truth replaced by `truth`."""

    def make(path: Path) -> Truth:
        known = recipe.make(path)
        path.write_bytes(change(path.read_bytes()))
        return replace(known, **truth)  # type: ignore[arg-type]

    return Recipe(name, recipe.group, make)


def appended(tail: bytes) -> Callable[[bytes], bytes]:
    """A change that puts `tail` behind the end."""
    return lambda data: data + tail


MP4_FLAGS: Mapping[str, str] = {
    "faststart": "+faststart",
    "fragmented": "+frag_keyframe+empty_moov",
    "fragmented-base-moof": "+frag_keyframe+empty_moov+default_base_moof",
    "cmaf": "+cmaf+frag_keyframe+delay_moov",
    "dash": "+dash+frag_keyframe+delay_moov",
    "first-part-in-moov": "+frag_keyframe",
    "separate-moof": "+frag_keyframe+empty_moov+separate_moof",
    "every-frame": "+frag_every_frame+empty_moov",
    "skip-trailer": "+frag_keyframe+empty_moov+skip_trailer",
    "hybrid": "+hybrid_fragmented",
    "negative-offsets": "+negative_cts_offsets",
    "rtp-hint": "+rtphint",
    "omit-offset": "+frag_keyframe+empty_moov+omit_tfhd_offset",
    "isml": "+isml+frag_keyframe+empty_moov",
}


def mp4_writing() -> Iterator[Recipe]:
    """The ways to lay out MP4."""
    for name, flags in MP4_FLAGS.items():
        # Without an edit list the pictures begin when the first is decoded, two pictures late.
        known = clip(f"{name}.mp4", B_FRAMES, AAC, options={"movflags": flags})
        yield changed(known, known.name, bytes, padding_seconds=0.08)
    for name in ("fragmented", "cmaf", "every-frame"):
        yield clip(
            f"{name}-piped.mp4", X264, AAC, format="mp4", options={"movflags": MP4_FLAGS[name]}, pipe=True
        )
        known = clip(f"{name}-hevc.mp4", X265, AAC, options={"movflags": MP4_FLAGS[name]})
        yield changed(known, known.name, bytes, padding_seconds=0.12)
        yield clip(
            f"{name}.mov", X264, PCM16 if name == "fragmented" else AAC, options={"movflags": MP4_FLAGS[name]}
        )
    yield clip("short-parts.mp4", X264, AAC, options={"movflags": "empty_moov", "frag_duration": "200000"})
    yield clip("reserved-moov.mp4", X264, AAC, options={"moov_size": "20000"})
    yield clip("f4v.mp4", X264, AAC, format="f4v")
    yield clip("ipod.m4v", X264, AAC, format="ipod")
    yield clip("psp.mp4", X264, AAC, format="psp")
    plain = clip("plain.mp4", B_FRAMES, AAC)
    yield changed(plain, "large-mdat.mp4", boxes.with_large_mdat)
    yield changed(plain, "mdat-to-the-end.mp4", _mdat_last_without_length)
    yield changed(
        plain,
        "no-ftyp.mov",
        lambda data: boxes.move_chunks(data, -len(boxes.top(data)[0]))[len(boxes.top(data)[0]) :],
    )
    yield changed(plain, "free-between.mp4", _free_between)
    yield changed(plain, "length-unknown.mp4", lambda data: boxes.set_movie_length(data, 0xFFFFFFFF))
    yield changed(plain, "length-zero.mp4", lambda data: boxes.set_movie_length(data, 0))
    yield changed(plain, "length-too-long.mp4", lambda data: boxes.set_movie_length(data, 600_000))


def _mdat_last_without_length(data: bytes) -> bytes:
    """Movable moov before an mdat whose length of zero means: to the end of the file."""
    parts = {part[4:8]: part for part in boxes.top(data)}
    moved = boxes.move_chunks(data, len(parts[b"moov"]) + len(parts[b"ftyp"]) + 8 - data.index(b"mdat") - 4)
    parts = {part[4:8]: part for part in boxes.top(moved)}
    return parts[b"ftyp"] + parts[b"moov"] + b"\0\0\0\0mdat" + parts[b"mdat"][8:]


def _free_between(data: bytes) -> bytes:
    parts = boxes.top(data)
    return b"".join(
        part + (boxes.box(b"free", bytes(512)) if part[4:8] == b"mdat" else b"") for part in parts
    )


def edits() -> Iterator[Recipe]:
    """Edit lists, as trimming without encoding and late recorders write them."""
    video = clip("v.mp4", replace(X264, seconds=3, options={"g": "250", "bf": "0"}))
    ordered = clip(
        "v.mp4", replace(B_FRAMES, seconds=3, options={"preset": "veryfast", "g": "250", "bf": "3"})
    )
    both = clip("v.mp4", replace(B_FRAMES, seconds=3), replace(AAC, seconds=3))
    for extension in ("mp4", "mov"):
        yield changed(video, f"edit-end.{extension}", lambda d: boxes.set_duration(d, 1.6), seconds=1.6)
        yield changed(
            ordered, f"edit-end-b.{extension}", lambda d: boxes.set_edits(d, [(1.6, 0.08, 1)]), seconds=1.6
        )
        yield changed(
            video, f"edit-start.{extension}", lambda d: boxes.set_edits(d, [(2.0, 1.0, 1)]), seconds=2.0
        )
        yield changed(both, f"edit-both.{extension}", _trim_both, seconds=2.0)
        yield changed(
            both,
            f"edit-pictures-late.{extension}",
            lambda d: boxes.set_edits(d, [(1.0, -1, 1), (3.0, 0.08, 1)]),
            seconds=4.0,
        )
        yield changed(
            both,
            f"edit-sound-late.{extension}",
            lambda d: boxes.set_edits(d, [(0.5, -1, 1), (2.5, 0.0213, 1)], 1),
            seconds=3.0,
        )
        yield changed(
            video,
            f"edit-two-parts.{extension}",
            lambda d: boxes.set_edits(d, [(1.0, 0, 1), (1.0, 2.0, 1)]),
            seconds=2.0,
        )
        yield changed(
            both,
            f"edit-sound-trimmed.{extension}",
            lambda d: boxes.set_edits(d, [(1.0, 0.0213, 1)], 1),
            seconds=3.0,
        )


def _trim_both(data: bytes) -> bytes:
    return boxes.set_edits(boxes.set_edits(data, [(2.0, 0.5, 1)], 0), [(2.0, 0.5, 1)], 1)


def rotations() -> Iterator[Recipe]:
    """How a phone was held."""
    for degrees in (90, 180, 270):
        for container, see, hear in (
            ("mp4", X264, AAC),
            ("mov", replace(X265, tag="hvc1"), AAC),
            ("mkv", X264, OPUS),
            ("webm", VP8, OPUS),
        ):
            yield clip(f"rotated-{degrees}.{container}", replace(see, rotation=degrees), hear)
        yield clip(
            f"rotated-{degrees}-fragmented.mp4",
            replace(X264, rotation=degrees),
            options={"movflags": MP4_FLAGS["cmaf"]},
        )
        yield clip(f"rotated-{degrees}-portrait.3gp", replace(X264, rotation=degrees, size=(144, 176)), AAC)


def late_and_empty() -> Iterator[Recipe]:
    """Tracks that begin late, end early or have nothing."""
    nothing = replace(AAC, keep=never)
    for container, see, hear in (
        ("mkv", X264, "aac"),
        ("webm", VP8, "libopus"),
        ("mov", X264, "pcm_s16le"),
        ("flv", X264, "aac"),
        ("avi", MPEG4, "libmp3lame"),
        ("ts", X264, "mp2"),
    ):
        yield clip(f"empty-sound.{container}", see, replace(nothing, codec=hear))
        yield clip(f"early-end-of-sound.{container}", replace(see, seconds=4), Hear(hear, seconds=1))
        if container not in ("flv", "avi"):
            yield clip(f"late-sound.{container}", replace(see, seconds=4), Hear(hear, seconds=2, start=2))
            yield clip(
                f"late-pictures.{container}",
                replace(see, seconds=4, keep=lambda t: t >= 2),
                Hear(hear, seconds=4),
            )
    yield clip("empty-sound-fragmented.mp4", X264, nothing, options={"movflags": MP4_FLAGS["fragmented"]})
    yield clip("empty-sound-second.mkv", X264, AAC, nothing)
    yield clip("empty-sound-first.mkv", X264, nothing, AAC)
    yield clip("empty-pictures.mkv", replace(X264, keep=never), AAC)
    yield clip("early-end-of-pictures.mkv", X264, replace(AAC, seconds=4))
    yield clip("early-end-of-pictures.mp4", X264, replace(AAC, seconds=4))
    yield clip("one-picture.mp4", replace(X264, seconds=0.04))
    yield clip("one-picture-long-sound.mp4", replace(X264, seconds=0.04), replace(AAC, seconds=3))
    yield clip("one-picture-long-sound.mkv", replace(X264, seconds=0.04), replace(OPUS, seconds=3))


def gaps() -> Iterator[Recipe]:
    """Still screens, muted calls, jitter, time-lapse."""

    def still(t: float) -> bool:
        return t < 1 or t >= 5

    def muted(t: float) -> bool:
        return t < 1 or 3 <= t < 4 or t >= 5

    def jitter(n: int) -> int:
        return n * 40 + (0, 13, -9, 4, 7)[n % 5]

    for container, see, hear in (
        ("mkv", X264, "libopus"),
        ("webm", VP8, "libopus"),
        ("mp4", X264, "aac"),
        ("mov", X264, "pcm_s16le"),
        ("flv", X264, "aac"),
        ("ts", X264, "mp2"),
    ):
        yield clip(f"still.{container}", replace(see, seconds=6, keep=still))
        yield clip(
            f"still-with-sound.{container}", replace(see, seconds=6, keep=still), Hear(hear, seconds=6)
        )
        if container != "mov":
            yield clip(f"muted.{container}", replace(see, seconds=6), Hear(hear, seconds=6, keep=muted))
        yield clip(
            f"still-and-muted.{container}",
            replace(see, seconds=6, keep=still),
            Hear(hear, seconds=6, keep=still),
        )
        milli = Fraction(1, 1000)
        yield clip(f"jitter.{container}", replace(see, stamp=jitter, base=milli), Hear(hear))
    for container in ("mp4", "mkv", "mov"):
        yield clip(f"time-lapse.{container}", replace(B_FRAMES, seconds=60, rate=Fraction(1, 5)))
        yield clip(
            f"screen.{container}",
            replace(B_FRAMES, seconds=10, keep=lambda t: t < 0.5 or round(t * 25) % 60 == 0),
        )
        yield clip(
            f"long-still-end.{container}",
            replace(X264, seconds=8, keep=lambda t: t < 1 or t > 7.9),
            replace(AAC, seconds=8),
        )
    yield clip(
        "still-live.mkv",
        replace(X264, seconds=6, keep=still),
        options={"live": "1"},
        pipe=True,
        format="matroska",
    )
    yield clip("muted-sound.mka", Hear("libopus", seconds=6, keep=muted))
    yield clip("muted-sound-aac.mka", Hear("aac", seconds=6, keep=muted))
    yield clip("muted-sound.m4a", Hear("aac", seconds=6, keep=muted), format="mp4")


def absolute_times() -> Iterator[Recipe]:
    """Cameras that count from midnight, from their start or from 1970."""
    for name, offset in (("midnight", 43_200), ("uptime", 95_000)):
        for container, see, hear in (
            ("ts", B_FRAMES, AC3),
            ("mkv", X264, AAC),
            ("flv", X264, AAC),
            ("webm", VP8, OPUS),
        ):
            yield clip(f"from-{name}.{container}", see, hear, options={"output_ts_offset": str(offset)})
        yield clip(
            f"from-{name}.m2ts",
            X264,
            AC3,
            format="mpegts",
            options={"mpegts_m2ts_mode": "1", "output_ts_offset": str(offset)},
        )
        yield clip(
            f"from-{name}-fragmented.mp4",
            X264,
            AAC,
            options={
                "movflags": "+frag_keyframe+empty_moov+default_base_moof",
                "output_ts_offset": str(offset),
                "use_editlist": "0",
            },
        )
    yield clip(
        "from-midnight-b.mkv", replace(B_FRAMES, seconds=3), AAC, options={"output_ts_offset": "43200"}
    )
    yield clip(
        "from-1970-live.mkv",
        X264,
        AAC,
        options={"output_ts_offset": "1700000", "live": "1"},
        format="matroska",
        pipe=True,
    )
    yield clip("clock-wraps.ts", replace(X264, seconds=3), MP2, options={"output_ts_offset": "95442.0"})


def tracks() -> Iterator[Recipe]:
    """Further tracks: several sounds, subtitles, data."""
    mono = Hear("pcm_s16le", layout="mono")
    for container in ("mov", "mxf", "mkv", "avi"):
        see = MPEG2 if container == "mxf" else X264
        yield clip(f"four-mono.{container}", see, *([mono] * 4))
        yield clip(
            f"four-mono-first-silent.{container}",
            see,
            replace(mono, silent=True),
            mono,
            mono,
            replace(mono, silent=True),
        )
    yield clip("four-mono-first-unused.mov", X264, replace(mono, keep=never), mono, mono, mono)
    yield clip(
        "languages.mp4", X264, replace(AAC, language="deu"), replace(AAC, language="eng", default=False)
    )
    yield clip(
        "languages.mkv",
        X264,
        replace(AC3, language="deu", default=False),
        replace(AAC, language="eng", default=True),
        replace(MP3, language="fra", default=False),
    )
    yield clip("two-pictures.mkv", X264, replace(X264, size=(80, 46)), AAC)
    yield clip("two-pictures.mp4", X264, replace(X264, size=(80, 46)), AAC)
    texts = [(0.5, 1.0, b"\0\5first"), (5.0, 2.0, b"\0\4last")]
    yield clip("subtitles-past-end.mp4", X264, AAC, Extra("mov_text", texts))
    yield clip("subtitles-past-end.mov", X264, AAC, Extra("mov_text", texts))
    yield clip("subtitles-past-end-no-sound.mp4", B_FRAMES, Extra("mov_text", texts))
    yield Recipe("subtitles-past-end.mkv", "mkv", lambda path: _subtitles(path, X264, AAC, "subrip"))
    yield Recipe("subtitles-past-end-ass.mkv", "mkv", lambda path: _subtitles(path, B_FRAMES, AAC, "ass"))
    yield Recipe("subtitles-past-end.webm", "webm", lambda path: _subtitles(path, VP8, OPUS, "webvtt"))
    data = [(n * 0.5, 0.5, b"DEVC\0\1\0\1") for n in range(8)]
    for container in ("mp4", "mov"):
        if container == "mp4":
            yield clip(f"camera-data.{container}", X264, AAC, Extra("bin_data", data, "GoPro MET"))
        yield clip(
            f"timecode.{container}",
            replace(X264, metadata={"timecode": "10:00:00:00"}),
            AAC,
            options={"write_tmcd": "1"},
            metadata={"timecode": "10:00:00:00"},
        )
    yield clip(
        "timecode-prores.mov",
        PRORES,
        replace(PCM16, seconds=0.6),
        metadata={"timecode": "01:00:00;00"},
        options={"write_tmcd": "1"},
    )
    yield clip("timecode.mxf", MPEG2, PCM16, metadata={"timecode": "10:00:00:00"})
    yield clip("camera-data.ts", X264, AAC, Extra("bin_data", data))
    yield clip(
        "cover.mp4", X264, AAC, See("mjpeg", seconds=0.04, pixels="yuvj420p", size=(320, 320), cover=True)
    )
    yield clip(
        "cover-png.mp4", X264, AAC, See("png", seconds=0.04, pixels="rgb24", size=(320, 320), cover=True)
    )


def _subtitles(path: Path, see: See, hear: Hear, codec: str) -> Truth:
    """Subtitles of text in Matroska, the last of them long after the end."""
    raw, texts = (
        path.with_name(f"{path.name}.raw.mkv"),
        path.with_name(path.name + {"webvtt": ".vtt", "ass": ".ass"}.get(codec, ".srt")),
    )
    known = write(raw, see, hear, format="matroska")
    texts.write_bytes(SUBTITLES[codec])
    with av.open(str(raw)) as media, av.open(str(texts)) as lines, av.open(str(path), "w") as out:
        copies = {stream: out.add_stream_from_template(stream) for stream in (*media.streams, *lines.streams)}
        for packet in (*media.demux(), *lines.demux()):
            if packet.size and packet.dts is not None:
                packet.stream = copies[packet.stream]
                out.mux(packet)
    raw.unlink()
    texts.unlink()
    return known


SUBTITLES: Mapping[str, bytes] = {
    "subrip": b"1\n00:00:00,500 --> 00:00:01,500\nfirst\n\n2\n00:00:06,000 --> 00:00:08,000\nlast\n",
    "webvtt": b"WEBVTT\n\n00:00.500 --> 00:01.500\nfirst\n\n00:06.000 --> 00:08.000\nlast\n",
    "ass": STYLES
    + b"Dialogue: 0,0:00:00.50,0:00:01.50,Default,,0,0,0,,first\n"
    + b"Dialogue: 0,0:00:06.00,0:00:08.00,Default,,0,0,0,,last\n",
}


def _resized(path: Path, first: See, second: See) -> Truth:
    """A call whose pictures change their size in the middle."""
    parts = []
    for n, see in enumerate((first, second)):
        parts.append(path.with_name(f"{path.name}.{n}.mkv"))
        write(parts[-1], see, format="matroska")
    with av.open(str(path), "w") as out:
        stream: Any = None
        for n, part in enumerate(parts):
            with av.open(str(part)) as media:
                stream = stream or out.add_stream_from_template(media.streams.video[0])
                for packet in media.demux(video=0):
                    if packet.size:
                        packet.pts, packet.dts = (packet.pts or 0) + 2000 * n, (packet.dts or 0) + 2000 * n
                        packet.stream = stream
                        out.mux(packet)
            part.unlink()
    return Truth(4.0, 0.04)


def calls() -> Iterator[Recipe]:
    """Calls and streams that change their size; chapters; attachments."""
    for container in ("webm", "mkv"):
        yield Recipe(
            f"resized.{container}", container, lambda path: _resized(path, VP8, replace(VP8, size=(320, 180)))
        )
        yield Recipe(
            f"shrunk.{container}",
            container,
            lambda path: _resized(path, replace(VP9, seconds=2, size=(320, 180)), replace(VP9, seconds=2)),
        )
    chapters = ((0.0, 1.0, "One"), (1.0, 2.0, "Two"))
    for container in ("mp4", "mov", "mkv"):
        yield clip(f"chapters.{container}", X264, AAC, chapters=chapters)
    yield clip("chapters-past-end.mp4", X264, AAC, chapters=((0.0, 1.0, "One"), (1.0, 9.0, "Two")))
    yield clip("chapters.m4b", AAC, chapters=chapters, format="mp4")
    yield clip("attachment.mkv", X264, AAC, attachment=b"\0\1\0\0" * 500)
    camera = clip(
        "a.mp4",
        X264,
        AAC,
        Extra("bin_data", [(n * 0.5, 0.5, bytes(20)) for n in range(8)], "Core Media Metadata"),
    )
    yield changed(camera, "phone-metadata.mp4", lambda data: data.replace(b"gpmd", b"mebx"))


def behind_the_end() -> Iterator[Recipe]:
    """What tools, cards and servers leave behind the last box, chunk or element."""
    xmp = boxes.box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac"), b"<x:xmpmeta/>")
    tails = {
        "newline": b"\r\n",
        "zeros": bytes(4096),
        "text": b"-- end of upload --\n",
        "id3v1": b"TAG" + bytes(125),
    }
    tails |= {
        "uuid": xmp,
        "samsung": b"\0\0\x30\x0aSEFHi\0\0\0\1\0\0\0\0\0\0\0SEFT",
        "one-zero": b"\0",
        "seven": b"upload!",
    }
    for name, tail in tails.items():
        yield changed(
            clip("a.mp4", X264, AAC, options={"movflags": "+faststart"}),
            f"behind-{name}.mp4",
            appended(tail),
        )
    sources = {
        "mov": clip("a.mov", X264, PCM16),
        "mkv": clip("a.mkv", X264, AAC),
        "webm": clip("a.webm", VP8, OPUS),
        "avi": clip("a.avi", MPEG4, MP3),
        "ts": clip("a.ts", X264, MP2),
        "mpg": clip("a.mpg", MPEG2, MP2, format="vob"),
        "flv": clip("a.flv", X264, AAC),
    }
    for container, source in sources.items():
        yield changed(source, f"behind-newline.{container}", lambda d: d + b"\r\n")
        yield changed(source, f"behind-zeros.{container}", lambda d: d + bytes(4096))


COLOURS: Mapping[str, Mapping[str, int]] = {
    "bt709": {"colorspace": 1, "color_primaries": 1, "color_trc": 1},
    "bt470bg": {"colorspace": 5, "color_primaries": 5, "color_trc": 5},
    "smpte170m": {"colorspace": 6, "color_primaries": 6, "color_trc": 6},
    "smpte240m": {"colorspace": 7, "color_primaries": 7, "color_trc": 7},
    "fcc": {"colorspace": 4, "color_primaries": 4, "color_trc": 4},
    "ycgco": {"colorspace": 8, "color_primaries": 1, "color_trc": 13},
    "bt2020-pq": {"colorspace": 9, "color_primaries": 9, "color_trc": 16},
    "bt2020-hlg": {"colorspace": 9, "color_primaries": 9, "color_trc": 18},
    "bt2020-constant": {"colorspace": 10, "color_primaries": 9, "color_trc": 14},
    "ictcp": {"colorspace": 14, "color_primaries": 9, "color_trc": 16},
    "chroma-derived": {"colorspace": 12, "color_primaries": 12, "color_trc": 13},
    "chroma-constant": {"colorspace": 13, "color_primaries": 12, "color_trc": 13},
    "gbr-tag": {"colorspace": 0, "color_primaries": 1, "color_trc": 13},
    "full-range": {"colorspace": 1, "color_range": 2},
    "smpte2085": {"colorspace": 11, "color_primaries": 9, "color_trc": 16},
    "film-xyz": {"colorspace": 1, "color_primaries": 10, "color_trc": 17},
}


def colours() -> Iterator[Recipe]:
    """Colour tags, also those that few programs know."""
    for name, tags in COLOURS.items():
        yield clip(
            f"colour-{name}.mp4",
            replace(X264, seconds=1, colours=tags, options={**_x264_tags(tags), "bf": "0"}),
        )
    for name in ("bt2020-pq", "bt2020-constant", "ictcp", "gbr-tag", "chroma-derived"):
        tags = COLOURS[name]
        yield clip(
            f"colour-{name}-10bit.mkv",
            replace(X264, seconds=1, pixels="yuv420p10le", colours=tags, options=_x264_tags(tags)),
        )
        if name != "gbr-tag":
            yield clip(f"colour-{name}.webm", replace(VP9, seconds=1, colours=tags))
        yield clip(f"colour-{name}.mov", replace(PRORES, colours=tags))


X264_MATRIX = {
    0: "GBR",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "YCgCo",
    9: "bt2020nc",
    10: "bt2020c",
    11: "smpte2085",
    12: "chroma-derived-nc",
    13: "chroma-derived-c",
    14: "ICtCp",
}


def _x264_tags(tags: Mapping[str, int]) -> Mapping[str, str]:
    return {"x264-params": f"colormatrix={X264_MATRIX[tags['colorspace']]}"} if tags["colorspace"] else {}


def shapes() -> Iterator[Recipe]:
    """Sizes, shapes of pixels, fields."""
    for width, height in (
        (162, 90),
        (90, 160),
        (16, 16),
        (1280, 20),
        (20, 1280),
        (128, 96),
        (178, 100),
        (258, 146),
    ):
        yield clip(f"size-{width}x{height}.mp4", replace(X264, size=(width, height), seconds=1))
    for width, height in ((161, 91), (33, 17), (1, 1)):
        yield clip(
            f"size-{width}x{height}.mkv", replace(X264, size=(width, height), seconds=1, pixels="yuv444p")
        )
        if width > 1:
            yield clip(f"size-{width}x{height}.webm", replace(VP9, size=(width, height), seconds=0.6))
        yield clip(
            f"size-{width}x{height}.avi", See("mjpeg", size=(width, height), seconds=0.4, pixels="yuvj444p")
        )
    for container in ("mp4", "mkv", "mov", "avi"):
        yield clip(
            f"anamorphic.{container}",
            replace(X264, size=(144, 116), aspect=Fraction(16, 11)),
            MP3 if container == "avi" else AAC,
        )
    tff = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    bff = {"x264-params": "bff=1"}
    for container in ("mp4", "mov", "mkv", "ts", "m2ts"):
        yield clip(
            f"interlaced.{container}",
            replace(X264, size=(160, 96), options=tff),
            AC3,
            format="mpegts" if container == "m2ts" else None,
            options={"mpegts_m2ts_mode": "1"} if container == "m2ts" else None,
        )
    yield clip("interlaced-bottom.mp4", replace(X264, size=(160, 96), options=bff), AAC)
    yield clip(
        "interlaced-fake.mp4",
        replace(X264, size=(160, 96), options={"x264-params": "fake-interlaced=1"}),
        AAC,
    )
    for container in ("mxf", "ts", "mpg", "mov"):
        yield clip(
            f"interlaced-mpeg2.{container}",
            replace(MPEG2, options={"flags": "+ildct+ilme", "bf": "2"}),
            PCM16 if container in ("mxf", "mov") else MP2,
            format="vob" if container == "mpg" else None,
        )
    yield clip("interlaced-prores.mov", replace(PRORES, options={"flags": "+ildct+ilme"}))
    yield clip("interlaced-dnxhr.mov", DNXHR)


CODING: Mapping[str, Mapping[str, str]] = {
    "open-gop": {"preset": "veryfast", "x264-params": "open-gop=1:keyint=12:bframes=3"},
    "pyramid": {"preset": "veryfast", "x264-params": "b-pyramid=normal:bframes=7:keyint=40"},
    "intra-refresh": {"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=25"},
    "zero-latency": {"preset": "ultrafast", "tune": "zerolatency"},
    "slices": {"preset": "ultrafast", "x264-params": "slices=4"},
    "intra-only": {"preset": "ultrafast", "g": "1"},
    "one-key-frame": {"preset": "veryfast", "g": "9999", "sc_threshold": "0"},
    "lossless": {"preset": "ultrafast", "qp": "0"},
    "constrained": {"preset": "ultrafast", "profile": "baseline"},
    "annexb-aud": {"preset": "ultrafast", "x264-params": "aud=1:repeat-headers=1"},
    "weighted": {"preset": "slower", "x264-params": "weightp=2:bframes=5"},
    "filler": {
        "preset": "ultrafast",
        "x264-params": "nal-hrd=cbr:bitrate=300:vbv-maxrate=300:vbv-bufsize=300:filler=1",
    },
}


def coding() -> Iterator[Recipe]:
    """How an encoder arranges pictures."""
    for name, options in CODING.items():
        for container in ("mp4", "mkv", "ts"):
            yield clip(
                f"{name}.{container}", replace(X264, options=options), MP2 if container == "ts" else AAC
            )
    for container in ("mp4", "mkv", "ts"):
        params = (
            "log-level=none:pools=1:frame-threads=1:bframes=4:keyint=12:min-keyint=12:open-gop=1:scenecut=0"
        )
        layers = params.replace("bframes=4", "bframes=7") + ":temporal-layers=3:b-pyramid=1"
        yield clip(
            f"hevc-temporal-layers.{container}",
            replace(X265, seconds=2, options={"preset": "veryfast", "x265-params": layers}),
        )
        yield clip(
            f"hevc-open-gop.{container}", replace(X265, options={"preset": "veryfast", "x265-params": params})
        )


def matroska_writing() -> Iterator[Recipe]:
    """Matroska as others than FFmpeg write it."""
    habit = matroska.Habit
    table = {
        "mkvmerge-like.mkv": habit(duration=2.0, strip=True, lacing="ebml", groups=True, void=1024),
        "xiph-lacing.mkv": habit(duration=2.0, lacing="xiph"),
        "ebml-lacing.mkv": habit(duration=2.0, lacing="ebml"),
        "browser-recorder.webm": habit(segment_unknown=True, cluster_unknown=True, doctype="webm"),
        "streamer.mkv": habit(segment_unknown=True),
        "no-duration.mkv": habit(),
        "groups.mkv": habit(groups=True, duration=2.0),
        "stripped-headers.mkv": habit(strip=True, duration=2.0),
        "checksums.mkv": habit(crc=True, duration=2.0),
        "short-clusters.mkv": habit(cluster_seconds=0.1, duration=2.0, void=200),
        "from-noon.mkv": habit(start_seconds=43200.0),
        "from-noon-with-duration.mkv": habit(start_seconds=43200.0, duration=2.0),
        "from-noon-with-end.mkv": habit(start_seconds=43200.0, duration=43202.0),
    }
    for name, how in table.items():
        yield Recipe(name, name.rpartition(".")[2], lambda path, how=how: _remuxed(path, how))  # type: ignore[misc]
    for name, container in (("obs", "mkv"), ("meet", "webm")):
        see, hear = (X264, AAC) if container == "mkv" else (VP8, OPUS)
        yield clip(
            f"live-{name}.{container}",
            see,
            hear,
            options={"live": "1"},
            pipe=True,
            format={"mkv": "matroska"}.get(container, container),
        )
        yield clip(
            f"piped-{name}.{container}",
            see,
            hear,
            pipe=True,
            format={"mkv": "matroska"}.get(container, container),
        )
        yield clip(f"cues-first-{name}.{container}", see, hear, options={"reserve_index_space": "4096"})
        yield clip(f"small-clusters-{name}.{container}", see, hear, options={"cluster_time_limit": "200"})
    yield clip("no-crc.mkv", X264, AAC, options={"write_crc32": "0"})


def _remuxed(path: Path, how: matroska.Habit) -> Truth:
    raw = path.with_name(f"{path.name}.raw.mp4")
    webm = how.doctype == "webm"
    write(raw, VP8 if webm else X264, OPUS if webm else AAC, format="matroska" if webm else "mov")
    matroska.remux(raw, path, how)
    raw.unlink()
    return matroska.truth(2.0)


def streams() -> Iterator[Recipe]:
    """Transport and programme streams, Flash, AVI and others as recorders leave them."""
    ts = clip("a.ts", replace(B_FRAMES, seconds=3), AC3)
    yield changed(ts, "null-packets.ts", _with_null_packets)
    yield changed(ts, "204.ts", lambda d: b"".join(d[n : n + 188] + bytes(16) for n in range(0, len(d), 188)))
    yield changed(ts, "joined-within-packet.ts", lambda d: d[100 - 188 :] and bytes(60) + d)
    yield clip("pcr-often.ts", X264, MP2, options={"pcr_period": "20", "muxrate": "900000"})
    yield clip("piped.ts", X264, MP2, pipe=True, format="mpegts")
    yield clip("latm.ts", X264, AAC, options={"mpegts_flags": "+latm"})
    yield clip("avi-no-index.avi", MPEG4, MP3, pipe=True, format="avi")
    yield clip(
        "avi-still.avi", replace(MPEG4, seconds=4, keep=lambda t: t < 1 or t >= 3), replace(MP3, seconds=4)
    )
    yield clip("flv-live.flv", X264, AAC, pipe=True, format="flv")
    yield clip("flv-no-duration.flv", X264, AAC, options={"flvflags": "no_duration_filesize"})
    yield clip("flv-no-metadata.flv", X264, AAC, options={"flvflags": "no_metadata"})
    yield clip("flv-no-end.flv", X264, AAC, options={"flvflags": "no_sequence_end"})
    asf = See("wmv2"), Hear("wmav2", options={"b": "96k"})
    yield clip("asf-live.wmv", *asf, format="asf", pipe=True)
    yield changed(clip("a.avi", MPEG4, MP3), "open-dml.avi", _two_riffs)
    yield changed(
        clip("a.avi", MPEG4, MP3),
        "junk-between.avi",
        lambda d: d.replace(b"idx1", b"JUNK\4\0\0\0....idx1").replace(
            d[4:8], struct.pack("<I", len(d) + 4), 1
        ),
    )
    yield clip("vob.mpg", MPEG2, AC3, format="vob")
    yield clip("dvd.mpg", MPEG2, AC3, format="dvd")
    yield clip("svcd.mpg", MPEG2, MP2, format="svcd")
    yield clip("vcd.mpg", See("mpeg1video"), MP2, format="vcd")
    yield clip("system.mpg", See("mpeg1video"), MP2, format="mpeg")
    yield clip("lpcm.mpg", MPEG2, Hear("pcm_dvd"), format="vob")
    yield clip("programme.mpeg", MPEG2, MP2, format="vob")
    yield clip("opatom.mxf", DNXHR, format="mxf_opatom")
    yield clip(
        "opatom-sound.mxf",
        Hear("pcm_s16le", layout="mono"),
        format="mxf_opatom",
        options={"mxf_audio_edit_rate": "25"},
    )


def _two_riffs(data: bytes) -> bytes:
    """The second half of the chunks in a RIFF of their own, as OpenDML does beyond a gigabyte; no index."""
    place = data.index(b"movi") + 4
    end = place - 8 + struct.unpack("<I", data[place - 8 : place - 4])[0] + 4
    chunks, at = [], place
    while at < end:
        length = struct.unpack("<I", data[at + 4 : at + 8])[0]
        chunks.append(data[at : at + 8 + length + length % 2])
        at += 8 + length + length % 2
    half = len(chunks) // 2
    first, second = (b"".join(part) for part in (chunks[:half], chunks[half:]))
    head = data[12 : place - 12]
    body = head + b"LIST" + struct.pack("<I", 4 + len(first)) + b"movi" + first
    more = b"LIST" + struct.pack("<I", 4 + len(second)) + b"movi" + second
    riffs = (b"AVI ", body), (b"AVIX", more)
    return b"".join(b"RIFF" + struct.pack("<I", 4 + len(part)) + kind + part for kind, part in riffs)


def _with_null_packets(data: bytes) -> bytes:
    null = b"\x47\x1f\xff\x10" + b"\xff" * 184
    return (
        b"".join(data[n : n + 188] + null * (n // 188 % 3 == 0) for n in range(0, len(data), 188)) + null * 20
    )


def encrypted() -> Iterator[Recipe]:
    """What cannot be decoded here and is whole."""
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "2" * 32, "encryption_kid": "1" * 32}
    for name, flags in (
        ("encrypted", "+faststart"),
        ("encrypted-cmaf", "+cmaf+frag_keyframe+delay_moov"),
        ("encrypted-fragments", "+frag_keyframe+empty_moov"),
    ):
        recipe = clip(f"{name}.mp4", X264, AAC, options={**key, "movflags": flags})
        yield changed(recipe, recipe.name, bytes, may_refuse=True)
    yield changed(
        clip("a.mp4", X264, AAC),
        "unknown-pictures.mp4",
        lambda d: d.replace(b"avc1", b"xyz1"),
        may_refuse=True,
    )
    yield changed(
        clip("a.mkv", X264, AAC),
        "unknown-pictures.mkv",
        lambda d: d.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"),
        may_refuse=True,
    )
    yield changed(
        clip("a.mp4", Hear("aac")),
        "unknown-sound.m4a",
        lambda d: d.replace(b"mp4a", b"xyzw"),
        may_refuse=True,
    )
    yield changed(
        clip("a.avi", MPEG4, MP3),
        "unknown-pictures.avi",
        lambda d: d.replace(b"FMP4", b"XYZ9"),
        may_refuse=True,
    )


def all_habits() -> Iterator[Recipe]:
    """Every recipe of this module."""
    for family in (
        mp4_writing,
        edits,
        rotations,
        late_and_empty,
        gaps,
        absolute_times,
        tracks,
        behind_the_end,
    ):
        yield from family()
    for family in (calls, colours, shapes, coding, matroska_writing, streams, encrypted):
        yield from family()


_ = struct
