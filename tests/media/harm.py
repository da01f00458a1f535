"""Media that was cut, overwritten or half copied, and what its structure still tells of it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av

from tests.media import boxes, habits, movies, sounds, stills
from tests.media.movies import (
    AAC,
    AC3,
    B_FRAMES,
    MP2,
    MP3,
    MPEG2,
    MPEG4,
    OPUS,
    PCM16,
    VP8,
    VP9,
    X264,
    X265,
    clip,
)
from tests.media.recipe import Damaged, Recipe
from tests.media.writing import Hear, See

Harm = Callable[[Path], bytes]


def cut(fraction: float) -> Harm:
    """Only the first part of the bytes, as of an upload that broke off."""
    return lambda path: path.read_bytes()[: int(path.stat().st_size * fraction)]


def cut_bytes(count: int) -> Harm:
    """All but the last bytes."""
    return lambda path: path.read_bytes()[:-count]


def hole(start: float, end: float) -> Harm:
    """Zeros between two fractions, as of a sparse copy or a download in parts that lost one."""

    def harm(path: Path) -> bytes:
        data = bytearray(path.read_bytes())
        first, last = int(len(data) * start), int(len(data) * end)
        data[first:last] = bytes(last - first)
        return bytes(data)

    return harm


def flips(count: int, start: float = 0.25, end: float = 0.9) -> Harm:
    """Single bytes overwritten at random places."""

    def harm(path: Path) -> bytes:
        data, dice = bytearray(path.read_bytes()), random.Random(f"{path.stem}{count}")
        for _ in range(count):
            place = dice.randrange(int(len(data) * start), int(len(data) * end))
            data[place] ^= dice.randrange(1, 256)
        return bytes(data)

    return harm


def swapped(path: Path) -> bytes:
    """Two blocks in the middle exchanged, as of a transfer that mixed up its parts."""
    data = path.read_bytes()
    third = len(data) // 3
    return data[:third] + data[2 * third : 3 * third] + data[third : 2 * third] + data[3 * third :]


def destroy(
    kind: str, number: int, which: Callable[[int, Any], bool], keep: int = 0, fill: int = 0x5A
) -> Harm:
    """The packets of one track that `which` picks lose their content, but for the first bytes."""

    def harm(path: Path) -> bytes:
        data = bytearray(path.read_bytes())
        with av.open(str(path)) as media:
            stream = getattr(media.streams, kind)[number]
            packets = (p for p in media.demux(stream) if p.size and p.pos is not None)
            for n, packet in enumerate(packets):
                if which(n, packet):
                    data[packet.pos + keep : packet.pos + packet.size] = bytes([fill]) * (packet.size - keep)
        return bytes(data)

    return harm


def unreferenced(path: Path) -> bytes:
    """All slices that no other picture refers to lose their payload; lengths and slice headers stay."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as media:
        for packet in media.demux(video=0):
            raw, place = bytes(packet) if packet.size else b"", 0
            while place + 4 < len(raw):
                length = int.from_bytes(raw[place : place + 4], "big")
                head = raw[place + 4]
                if head & 31 == 1 and not head >> 5 & 3 and length > 24:
                    at = (packet.pos or 0) + place
                    data[at + 20 : at + 4 + length] = bytes(length - 16)
                place += 4 + length
    return bytes(data)


def without_box(kind: bytes) -> Harm:
    """A box on the top floor is missing."""

    def harm(path: Path) -> bytes:
        return b"".join(part for part in boxes.top(path.read_bytes()) if part[4:8] != kind)

    return harm


def dropped(count: int) -> Harm:
    """A part in the middle is missing and the rest moved up, as when a multipart upload lost a part."""

    def harm(path: Path) -> bytes:
        data = path.read_bytes()
        middle = len(data) // 2
        return data[:middle] + data[middle + count :]

    return harm


CUTS: Mapping[str, float] = {"cut-30": 0.3, "cut-60": 0.6, "cut-90": 0.9, "cut-99": 0.99}

LIVE = clip("live.mkv", X264, AAC, options={"live": "1"}, pipe=True, format="matroska")
LIVE_WEBM = clip("live.webm", VP8, OPUS, options={"live": "1"}, pipe=True, format="webm")
FRAGMENTS = clip("fragmented.mp4", X264, AAC, options={"movflags": "+frag_keyframe+empty_moov"})
CMAF = clip("cmaf.mp4", B_FRAMES, AAC, options={"movflags": "+cmaf+frag_keyframe+delay_moov"})
FASTSTART = clip("faststart.mp4", B_FRAMES, AAC, options={"movflags": "+faststart"})
MUTE = clip("mute-faststart.mp4", X264, options={"movflags": "+faststart"})
LATE_MOOV = clip("moov-last.mp4", X264, AAC)
MOV = clip("pcm.mov", X264, PCM16, options={"movflags": "+faststart"})
MKV, WEBM = clip("plain.mkv", B_FRAMES, AAC), clip("plain.webm", VP9, OPUS)
AVI, TS = clip("plain.avi", MPEG4, MP3), clip("plain.ts", B_FRAMES, AC3)
M2TS = clip("plain.m2ts", X264, AC3, format="mpegts", options={"mpegts_m2ts_mode": "1"})
MPG, MXF = clip("plain.mpg", MPEG2, MP2, format="vob"), clip("plain.mxf", MPEG2, PCM16)
FLV, WMV = (
    clip("plain.flv", X264, AAC),
    clip("plain.wmv", See("wmv2"), Hear("wmav2", options={"b": "96k"}), format="asf"),
)
PHONE, SONG = clip("plain.3gp", X264, AAC), clip("plain.m4a", AAC, format="mp4")
HEVC = clip("hevc.mp4", replace(X265, tag="hvc1"), AAC, options={"movflags": "+faststart"})
AV1 = clip("av1.mkv", movies.AV1, OPUS)
PRORES = clip("prores.mov", movies.PRORES, options={"movflags": "+faststart"})
MPEG2_MKV = clip("mpeg2.mkv", MPEG2, MP2)
MJPEG = clip("mjpeg.avi", movies.MJPEG, PCM16)
FFV1 = clip("ffv1.mkv", movies.FFV1, Hear("flac"))
ORDERED = clip("b.mp4", replace(B_FRAMES, seconds=4, options={"preset": "veryfast", "bf": "3", "g": "50"}))
TWO_SOUNDS = clip("two-sounds.mp4", X264, AAC, AAC, options={"movflags": "+faststart"})
TWO_SOUNDS_MKV = clip("two-sounds.mkv", X264, AC3, AAC)
TWO_PICTURES = clip(
    "two-pictures.mp4", X264, replace(X264, size=(80, 46)), options={"movflags": "+faststart"}
)

MOVING = (
    FASTSTART,
    MUTE,
    LATE_MOOV,
    MOV,
    FRAGMENTS,
    CMAF,
    MKV,
    WEBM,
    LIVE,
    LIVE_WEBM,
    AVI,
    TS,
    M2TS,
    MPG,
    MXF,
    FLV,
    WMV,
    PHONE,
    HEVC,
    AV1,
    PRORES,
)
DECLARING = frozenset(
    {
        "mp4",
        "mov",
        "3gp",
        "m4a",
        "m4b",
        "wav",
        "aiff",
        "caf",
        "w64",
        "rf64",
        "heic",
        "avif",
        "png",
        "gif",
        "webp",
        "bmp",
    }
)
"""Containers in which each cut leaves a length that is not met, or an end that is not there."""


def by_name(name: str) -> Recipe:
    """One of the valid recipes of the corpus."""
    return next(
        recipe
        for recipe in (*sounds.all_sounds(), *stills.all_stills(), *habits.all_habits())
        if recipe.name == name
    )


def cuts() -> Iterator[Damaged]:
    """Each container cut at several places."""
    heard = [
        SONG,
        *(
            clip(f"plain.{name}", Hear(codec), format=form)
            for name, codec, form in (
                ("wav", "pcm_s16le", None),
                ("aiff", "pcm_s16be", None),
                ("caf", "pcm_s16be", None),
                ("w64", "pcm_s16le", None),
                ("flac", "flac", None),
                ("ogg", "vorbis", None),
                ("opus", "libopus", None),
                ("oga", "flac", "ogg"),
                ("mka", "libopus", None),
                ("aac", "aac", None),
            )
        ),
        clip("plain.mp3", sounds.MP3),
        clip("no-xing.mp3", sounds.MP3, options={"write_xing": "0"}),
        clip("plain.rf64", PCM16, format="wav", options={"rf64": "always"}),
    ]
    for recipe in (*MOVING, *heard):
        for name, fraction in CUTS.items():
            yield Damaged(
                recipe,
                name,
                cut(fraction),
                known=recipe.group in DECLARING and recipe not in (FRAGMENTS, CMAF),
            )
    for recipe in (FASTSTART, LATE_MOOV, MKV, LIVE, AVI, TS, FLV, *heard):
        for count in (1, 7):
            yield Damaged(recipe, f"without-last-{count}", cut_bytes(count))


def pictures() -> Iterator[Damaged]:
    """Pictures cut, overwritten and half copied."""
    names = (
        "baseline.jpg",
        "progressive.jpg",
        "gray.jpg",
        "cmyk.jpg",
        "orientation-6.jpg",
        "restart-markers.jpg",
        "mode-rgb.png",
        "mode-p.png",
        "interlaced.png",
        "split-idat.png",
        "still.gif",
        "interlaced.gif",
        "animated-loop.gif",
        "mode-rgb.bmp",
        "mode-rgb.tif",
        "tiff_lzw.tif",
        "tiff_adobe_deflate.tif",
        "packbits.tif",
        "lossy.webp",
        "lossless.webp",
        "lossy-alpha.webp",
        "wide.heic",
        "wide.avif",
        "large.heic",
    )
    for name in names:
        recipe = next(r for r in stills.all_stills() if r.name == name)
        for harm, fraction in CUTS.items():
            yield Damaged(recipe, harm, cut(fraction), known=recipe.group in DECLARING)
        yield Damaged(recipe, "hole", hole(0.5, 0.8))
        yield Damaged(recipe, "flips", flips(12))


def holes() -> Iterator[Damaged]:
    """Zeros, flipped bytes, exchanged and lost parts."""
    heard = [
        clip("plain.flac", Hear("flac")),
        clip("plain.ogg", Hear("vorbis")),
        clip("plain.opus", Hear("libopus")),
        clip("plain.mp3", sounds.MP3),
        clip("plain.aac", Hear("aac")),
        SONG,
        clip("alac.m4a", Hear("alac"), format="mp4"),
        clip("plain.mka", Hear("libopus")),
    ]
    for recipe in (*MOVING, MPEG2_MKV, MJPEG, FFV1, *heard):
        yield Damaged(recipe, "hole", hole(0.5, 0.7))
        yield Damaged(recipe, "flips", flips(60))
    for recipe in (FASTSTART, MKV, TS, MPG, AVI, WEBM, FRAGMENTS, LIVE, FLV, MXF):
        yield Damaged(recipe, "lost-part", dropped(3000))
        yield Damaged(recipe, "swapped", swapped)
        yield Damaged(recipe, "small-hole", hole(0.6, 0.64))
        yield Damaged(recipe, "hole-at-the-end", hole(0.8, 1.0))


def every(_: int, __: Any) -> bool:
    return True


def middle(n: int, _: Any) -> bool:
    return 20 <= n < 30


def one(n: int, _: Any) -> bool:
    return n == 15


def last(n: int, _: Any) -> bool:
    return n >= 35


def odd(n: int, _: Any) -> bool:
    return n % 2 == 1


def destroyed_sound() -> Iterator[Damaged]:
    """Sound whose content is gone while the container is whole."""
    for recipe in (TWO_SOUNDS, TWO_SOUNDS_MKV):
        yield Damaged(recipe, "second-sound-destroyed", destroy("audio", 1, every))
        yield Damaged(recipe, "second-sound-middle", destroy("audio", 1, middle))
    for recipe in (FASTSTART, HEVC, MKV, SONG, FRAGMENTS, AVI):
        yield Damaged(recipe, "sound-middle", destroy("audio", 0, middle))
        yield Damaged(recipe, "sound-destroyed", destroy("audio", 0, every))


def destroyed_pictures() -> Iterator[Damaged]:
    """Pictures whose content is gone while the container is whole."""
    yield Damaged(ORDERED, "unreferenced", unreferenced)
    yield Damaged(clip("b.mov", B_FRAMES, PCM16), "unreferenced", unreferenced)
    yield Damaged(TWO_PICTURES, "second-pictures-destroyed", destroy("video", 1, every, keep=6))
    for recipe in (FASTSTART, MOV, HEVC, MKV, AVI, FRAGMENTS):
        yield Damaged(recipe, "pictures-middle", destroy("video", 0, middle, keep=8))
        yield Damaged(recipe, "pictures-end", destroy("video", 0, last, keep=8, fill=0))
        yield Damaged(recipe, "one-picture", destroy("video", 0, one, keep=8, fill=0xFF))
    for recipe in (PRORES, MJPEG):
        yield Damaged(recipe, "every-other-picture", destroy("video", 0, odd, keep=8))
        yield Damaged(recipe, "every-other-picture-zeros", destroy("video", 0, odd, keep=8, fill=0))


def lost() -> Iterator[Damaged]:
    """Whole boxes, heads or everything lost."""
    yield Damaged(LATE_MOOV, "no-moov", without_box(b"moov"), known=True)
    yield Damaged(FASTSTART, "no-mdat", without_box(b"mdat"), known=True)
    yield Damaged(FRAGMENTS, "no-moov", without_box(b"moov"), known=True)
    yield Damaged(FASTSTART, "only-head", lambda path: path.read_bytes()[:32], known=True)
    for recipe in (FASTSTART, MKV, TS, clip("plain.flac", Hear("flac")), clip("plain.mp3", sounds.MP3)):
        yield Damaged(recipe, "zeros-only", lambda path: bytes(path.stat().st_size), known=True)
        if recipe is not TS:  # a stream is recorded from wherever it is
            yield Damaged(recipe, "head-lost", lambda path: path.read_bytes()[700:])


def wavs() -> Iterator[Damaged]:
    """WAV headers that promise more or tell less than there is."""
    plain = next(recipe for recipe in sounds.wavs() if recipe.name == "wav-list-before.wav")
    full = len(sounds.wav())
    yield Damaged(plain, "wrapped", lambda _: _wrapped(), known=True)
    yield Damaged(plain, "part-only", lambda _: sounds.wav(riff=36 + 48000, data=48000), known=True)
    yield Damaged(plain, "first-save", lambda _: sounds.wav(riff=36 + 96000, data=96000), known=True)
    yield Damaged(plain, "twice-as-long", lambda _: sounds.wav(riff=2 * full, data=2 * full - 44), known=True)
    yield Damaged(
        plain, "one-second-more", lambda _: sounds.wav(riff=full + 96000, data=full - 44 + 96000), known=True
    )
    yield Damaged(
        plain, "header-only", lambda _: sounds.wav(seconds=0, riff=36 + 96000, data=96000), known=True
    )
    yield Damaged(plain, "rf64-cut", lambda _: sounds.rf64()[:120_000], known=True)
    yield Damaged(plain, "bw64-cut", lambda _: sounds.rf64(b"BW64")[:60_000], known=True)
    yield Damaged(plain, "fmt-cut", lambda _: sounds.wav()[:30], known=True)


def _wrapped() -> bytes:
    """The sizes of a file of 4 GiB and half a second, of which a second is left here: they wrapped round."""
    return sounds.wav(riff=36 + 48_000, data=48_000)


def all_damaged() -> Iterator[Damaged]:
    """Every damaged file."""
    seen: set[str] = set()
    for family in (cuts, pictures, holes, destroyed_sound, destroyed_pictures, lost, wavs):
        for damaged in family():
            if damaged.name not in seen:
                seen.add(damaged.name)
                yield damaged


_ = struct
