"""Valid sound files: codecs, containers, pipes, tags and covers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tests.media.habits import changed
from tests.media.movies import clip
from tests.media.recipe import Recipe, Truth
from tests.media.writing import Hear, See, tone

COVER = See("mjpeg", seconds=0.04, pixels="yuvj420p", size=(320, 320), cover=True)
MP3 = Hear("libmp3lame", rate=44100)


def codecs() -> Iterator[Recipe]:
    """Containers and codecs."""
    pcm = {name: Hear(f"pcm_{name}") for name in ("s16le", "u8", "s24le", "s32le", "f32le", "f64le")}
    pcm |= {name: Hear(f"pcm_{name}", rate=8000, layout="mono") for name in ("alaw", "mulaw")}
    be = {name: Hear(f"pcm_{name}") for name in ("s16be", "s24be", "s32be", "f32be", "f64be", "s8")}
    table: Mapping[str, Mapping[str, Hear]] = {
        "wav": {
            **pcm,
            "adpcm-ms": Hear("adpcm_ms"),
            "adpcm-ima": Hear("adpcm_ima_wav"),
            "51": Hear("pcm_s16le", layout="5.1"),
            "mono-22k": Hear("pcm_s16le", rate=22050, layout="mono"),
            "mp3": MP3,
            "g726": Hear("g726", rate=8000, layout="mono"),
            "192k": Hear("pcm_s24le", seconds=0.5, rate=192000),
            "ac3": Hear("ac3"),
            "yamaha": Hear("adpcm_yamaha"),
        },
        "aiff": {**{k: v for k, v in be.items() if k != "s8"}, "s8": be["s8"]},
        "aif": {
            "s16be": be["s16be"],
            "mono": Hear("pcm_s16be", layout="mono", rate=22050),
            "sowt": Hear("pcm_s16le"),
            "alaw": Hear("pcm_alaw"),
            "ima": Hear("adpcm_ima_qt", rate=44100),
        },
        "caf": {
            "s16be": be["s16be"],
            "s16le": pcm["s16le"],
            "f32": pcm["f32le"],
            "alac": Hear("alac"),
            "ulaw": pcm["mulaw"],
            "s24": be["s24be"],
            "flac": Hear("flac"),
            "ima": Hear("adpcm_ima_qt", rate=44100),
        },
        "w64": {"s16": pcm["s16le"], "f32": pcm["f32le"], "s24": pcm["s24le"]},
        "rf64": {"s16": pcm["s16le"], "s24": pcm["s24le"]},
        "bwf": {"s16": pcm["s16le"], "s24": pcm["s24le"]},
        "flac": {
            "16": Hear("flac"),
            "24": Hear("flac", format="s32"),
            "mono": Hear("flac", layout="mono", rate=16000),
            "level-0": Hear("flac", options={"compression_level": "0"}),
            "level-12": Hear("flac", options={"compression_level": "12"}),
            "96k": Hear("flac", rate=96000, seconds=1),
            "51": Hear("flac", layout="5.1"),
        },
        "ogg": {
            "vorbis": Hear("vorbis"),
            "opus": Hear("libopus"),
            "flac": Hear("flac"),
            "opus-mono": Hear("libopus", layout="mono"),
            "opus-voip": Hear("libopus", layout="mono", rate=16000, options={"application": "voip"}),
        },
        "opus": {
            "music": Hear("libopus"),
            "60ms": Hear("libopus", options={"frame_duration": "60"}),
            "2ms": Hear("libopus", seconds=1, options={"frame_duration": "2.5"}),
            "dtx": Hear("libopus", silent=True, options={"dtx": "1"}),
        },
        "oga": {"vorbis": Hear("vorbis"), "flac": Hear("flac")},
        "mp3": {
            "cbr": replace(MP3, options={"b": "128k"}),
            "vbr": replace(MP3, options={"q": "4"}),
            "abr": replace(MP3, options={"abr": "1", "b": "128k"}),
            "mono-22k": Hear("libmp3lame", rate=22050, layout="mono"),
            "8k": Hear("libmp3lame", rate=8000, layout="mono"),
            "48k": Hear("libmp3lame"),
            "320k": replace(MP3, options={"b": "320k"}),
        },
        "aac": {
            "stereo": Hear("aac"),
            "mono-16k": Hear("aac", rate=16000, layout="mono"),
            "51": Hear("aac", layout="5.1"),
        },
        "m4a": {
            "aac": Hear("aac"),
            "alac": Hear("alac"),
            "alac-24": Hear("alac", format="s32p"),
            "ac3": Hear("ac3"),
            "opus": Hear("libopus"),
            "flac": Hear("flac"),
            "mono": Hear("aac", layout="mono", rate=44100),
            "mp3": MP3,
        },
        "m4b": {"aac": Hear("aac", layout="mono", rate=44100)},
        "mka": {
            "aac": Hear("aac"),
            "opus": Hear("libopus"),
            "flac": Hear("flac"),
            "vorbis": Hear("vorbis"),
            "mp3": MP3,
            "ac3": Hear("ac3"),
            "pcm": Hear("pcm_s16le"),
            "alac": Hear("alac"),
        },
    }
    formats = {"m4a": "mp4", "m4b": "mp4", "rf64": "wav", "bwf": "wav", "aif": "aiff", "oga": "ogg"}
    options = {"rf64": {"rf64": "always"}, "bwf": {"write_bext": "1"}}
    for container, rows in table.items():
        for name, hear in rows.items():
            yield clip(
                f"sound-{name}.{container}",
                hear,
                format=formats.get(container),
                options=options.get(container),
            )


def writing() -> Iterator[Recipe]:
    """Tags, covers, indexes, pipes."""
    for container, hear in (("m4a", Hear("aac")), ("mp3", MP3)):
        yield clip(f"cover.{container}", hear, COVER, format="mp4" if container == "m4a" else None)
    yield clip("cover.flac", Hear("flac"), COVER)
    png = replace(COVER, codec="png", pixels="rgb24")
    yield clip("cover-png.mp3", MP3, png)
    yield clip("cover-png.m4a", Hear("aac"), png, format="mp4")
    tags = {"title": "Chapter one", "artist": "Corpus", "comment": "x" * 3000}
    for container, hear in (
        ("mp3", MP3),
        ("m4a", Hear("aac")),
        ("flac", Hear("flac")),
        ("opus", Hear("libopus")),
        ("wav", Hear("pcm_s16le")),
        ("mka", Hear("aac")),
        ("caf", Hear("pcm_s16be")),
    ):
        yield clip(f"tagged.{container}", hear, metadata=tags, format="mp4" if container == "m4a" else None)
    yield clip("id3v23.mp3", MP3, metadata=tags, options={"id3v2_version": "3"})
    yield clip("id3v1.mp3", MP3, metadata=tags, options={"write_id3v1": "1"})
    no_xing = clip("no-xing.mp3", MP3, options={"write_xing": "0"})
    padded = {"padding_seconds": 3 * 1152 / 44100}
    yield changed(no_xing, "no-xing.mp3", bytes, **padded)
    vbr = clip("a.mp3", replace(MP3, options={"q": "4"}), options={"write_xing": "0"})
    yield changed(vbr, "vbr-no-xing.mp3", bytes, **padded)
    yield changed(
        clip("a.mp3", MP3, options={"write_xing": "0", "id3v2_version": "0"}), "bare.mp3", bytes, **padded
    )
    yield changed(clip("a.mp3", MP3, pipe=True, format="mp3"), "piped.mp3", bytes, **padded)
    plain = clip("a.mp3", MP3)
    yield changed(plain, "ape-tag.mp3", lambda d: d + ape_tag())
    yield changed(plain, "ape-and-id3v1.mp3", lambda d: d + ape_tag() + b"TAG" + b"x" * 125)
    yield changed(
        plain,
        "lyrics3.mp3",
        lambda d: d + b"LYRICSBEGININD00003110" + b"000031LYRICS200" + b"TAG" + b"x" * 125,
    )
    yield changed(plain, "id3v2-padded.mp3", lambda d: _id3_padding(40_000) + d)
    yield changed(plain, "id3v2-twice.mp3", lambda d: _id3_padding(2000) + _id3_padding(3000) + d)
    yield changed(plain, "zeros-behind.mp3", lambda d: d + bytes(3000))
    yield changed(
        clip("a.mp3", MP3, options={"write_xing": "0"}),
        "joined.mp3",
        lambda d: d + d,
        seconds=4.0,
        padding_seconds=0.2,
    )
    for container, hear in (
        ("flac", Hear("flac")),
        ("ogg", Hear("vorbis")),
        ("opus", Hear("libopus")),
        ("aac", Hear("aac")),
    ):
        yield clip(f"piped.{container}", hear, format={"aac": "adts"}.get(container, container), pipe=True)
    flac = clip("a.flac", Hear("flac"))
    yield changed(flac, "id3v2-before.flac", lambda d: _id3_padding(500) + d)
    yield changed(flac, "id3v1-behind.flac", lambda d: d + b"TAG" + b"x" * 125)
    yield changed(flac, "no-total.flac", _without_total)
    yield changed(clip("a.aac", Hear("aac")), "id3v2-before.aac", lambda d: _id3_padding(500) + d)
    yield changed(clip("a.aac", Hear("aac")), "id3v1-behind.aac", lambda d: d + b"TAG" + b"x" * 125)
    for container, hear in (("ogg", Hear("vorbis")), ("opus", Hear("libopus")), ("oga", Hear("flac"))):
        one = clip(f"a.{container}", hear, format={"oga": "ogg"}.get(container))
        yield changed(one, f"chained.{container}", _chain, seconds=4.0, slack_seconds=0.1)
    yield changed(clip("a.ogg", Hear("vorbis")), "zeros-behind.ogg", lambda d: d + bytes(2048))
    yield clip("many-pages.ogg", Hear("libopus"), options={"page_duration": "20000"})
    yield clip("ogg-video.ogg", Hear("libopus"), Hear("flac"))
    yield clip("fragmented.m4a", Hear("aac"), format="mp4", options={"movflags": "+frag_keyframe+empty_moov"})
    yield clip("faststart.m4a", Hear("aac"), format="ipod", options={"movflags": "+faststart"})
    yield clip("live.mka", Hear("libopus"), format="matroska", options={"live": "1"}, pipe=True)
    yield clip("piped.caf", Hear("pcm_s16be"), pipe=True, format="caf")
    yield clip("aiff-id3.aiff", Hear("pcm_s16be"), options={"write_id3v2": "1"}, metadata=tags)
    yield clip("short.wav", Hear("pcm_s16le", seconds=0.02))
    yield clip("silence.mp3", replace(MP3, silent=True))
    yield clip("silence.flac", Hear("flac", silent=True))
    yield clip("silence.m4a", Hear("aac", silent=True), format="mp4")


def ape_tag() -> bytes:
    """An APEv2 tag with a header, of one item."""
    item = struct.pack("<II", 5, 0) + b"Title\0Hello"
    length, count = len(item) + 32, 1
    ends = [
        b"APETAGEX" + struct.pack("<IIII8x", 2000, length, count, flags) for flags in (0xA0000000, 0x80000000)
    ]
    return ends[0] + item + ends[1]


def _id3_padding(length: int) -> bytes:
    return b"ID3\4\0\0" + bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(length)


def _without_total(data: bytes) -> bytes:
    """The count of samples unknown, as of a FLAC that was streamed."""
    out = bytearray(data)
    out[21] &= 0xF0
    out[22:26] = bytes(4)
    return bytes(out)


def _chain(data: bytes) -> bytes:
    """The stream twice, the second time with a serial number of its own."""
    out, place = bytearray(data), 0
    while place < len(out):
        count = out[place + 26]
        length = 27 + count + sum(out[place + 27 : place + 27 + count])
        out[place + 14 : place + 18] = b"\x12\x34\x56\x78"
        out[place + 22 : place + 26] = bytes(4)
        out[place + 22 : place + 26] = struct.pack("<I", _ogg_crc(bytes(out[place : place + length])))
        place += length
    return data + bytes(out)


def _ogg_crc(page: bytes) -> int:
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


FORMAT = struct.pack("<HHIIHH", 1, 1, 48000, 96000, 2, 16)


def riff_chunk(name: bytes, content: bytes, length: int | None = None) -> bytes:
    """A chunk; `length` is what its header claims."""
    claimed = len(content) if length is None else length
    return name + struct.pack("<I", claimed) + content + b"\0" * (len(content) % 2 if length is None else 0)


def wav(
    seconds: float = 2.0,
    *,
    riff: int | None = None,
    data: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
    form: bytes = FORMAT,
) -> bytes:
    """A WAV of a tone, 48 kHz mono, whose two sizes may be claimed otherwise."""
    samples = b"".join(tone(48000, 1, n % 50) for n in range(round(seconds * 50)))
    body = b"WAVE" + riff_chunk(b"fmt ", form) + before + riff_chunk(b"data", samples, data) + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def _recipe(name: str, make: Callable[[], bytes], seconds: float = 2.0) -> Recipe:
    def write(path: Path) -> Truth:
        path.write_bytes(make())
        return Truth(seconds, 0.02)

    return Recipe(name, name.rpartition(".")[2], write)


def wavs() -> Iterator[Recipe]:
    """WAV headers as programs write them that cannot go back, and chunks before and behind the samples."""
    sizes = {
        "zero": (0, 0),
        "all-ones": (0xFFFFFFFF, 0xFFFFFFFF),
        "espeak": (0x7FFFF024, 0x7FFFF000),
        "arecord": (0x80000024, 0x80000000),
        "sox": (0x7FFFFFFF, 0x7FFFFFDB),
        "ones-and-zero": (0xFFFFFFFF, 0),
        "zero-riff": (0, None),
        "ones-riff": (0xFFFFFFFF, None),
        "gstreamer": (0, 0),
        "ffmpeg-data-only": (None, 0xFFFFFFFF),
        "java": (0xFFFFFFFF, 0xFFFFFFDB),
        "flac-decoder": (0x7FFFFFFE, 0x7FFFFFDA),
        "max-signed": (0x7FFFFFFF, 0x7FFFFFFF),
        "near-ones": (0xFFFFFFFE, 0xFFFFFFDA),
        "two-gib": (0x7FFFF800, 0x7FFFF7DC),
        "lame": (0xFFFFFFFF, 0xFFFFFFD3),
        "zero-data": (None, 0),
        "browser": (0xFFFFFFF7, 0xFFFFFFD3),
        "sox-odd": (0x7FFFF024, 0x7FFFF000),
    }
    for name, (riff, data) in sizes.items():
        yield _recipe(f"wav-piped-{name}.wav", lambda r=riff, d=data: wav(riff=r, data=d))  # type: ignore[misc]
    yield clip("wav-piped-ffmpeg.wav", Hear("pcm_s16le"), pipe=True, format="wav")
    yield clip("wav-piped-ffmpeg-24.wav", Hear("pcm_s24le"), pipe=True, format="wav", metadata={"title": "x"})
    yield clip("w64-piped.w64", Hear("pcm_s16le"), pipe=True, format="w64")
    info = riff_chunk(b"LIST", b"INFO" + riff_chunk(b"ISFT", b"Audacity"))
    bext = riff_chunk(b"bext", b"A description".ljust(602, b"\0"))
    yield _recipe("wav-list-before.wav", lambda: wav(before=info))
    yield _recipe("wav-list-behind.wav", lambda: wav(after=info))
    yield _recipe("wav-bext.wav", lambda: wav(before=bext + riff_chunk(b"iXML", b"<BWFXML/>")))
    yield _recipe("wav-junk-before.wav", lambda: wav(before=riff_chunk(b"JUNK", bytes(28))))
    yield _recipe(
        "wav-cue-behind.wav",
        lambda: wav(after=riff_chunk(b"cue ", struct.pack("<I", 0)) + riff_chunk(b"smpl", bytes(36))),
    )
    yield _recipe("wav-id3-behind.wav", lambda: wav(after=riff_chunk(b"id3 ", _id3_padding(200))))
    yield _recipe("wav-text-behind.wav", lambda: wav() + b"\r\n")
    yield _recipe("wav-zeros-behind.wav", lambda: wav() + bytes(4096))
    yield _recipe("wav-size-of-file.wav", lambda: wav(riff=len(wav())))
    yield _recipe(
        "wav-extensible.wav",
        lambda: wav(
            form=struct.pack("<HHIIHHHHI", 0xFFFE, 1, 48000, 96000, 2, 16, 22, 16, 4)
            + bytes.fromhex("0100000000001000800000aa00389b71")
        ),
    )
    yield _recipe("wav-riff-too-small.wav", lambda: wav(riff=36))
    yield _recipe("rf64-by-hand.wav", rf64)
    yield _recipe("rf64-by-hand.rf64", rf64)
    yield _recipe("bw64.wav", lambda: rf64(b"BW64"))


def rf64(magic: bytes = b"RF64") -> bytes:
    """A WAV whose sizes stand in a `ds64` chunk."""
    samples = b"".join(tone(48000, 1, n % 50) for n in range(100))
    tail = riff_chunk(b"fmt ", FORMAT) + riff_chunk(b"data", samples, 0xFFFFFFFF)
    whole = 4 + 36 + len(tail)
    sizes = riff_chunk(b"ds64", struct.pack("<QQQI", whole, len(samples), len(samples) // 2, 0))
    return magic + b"\xff\xff\xff\xffWAVE" + sizes + tail


def all_sounds() -> Iterator[Recipe]:
    """Every recipe of this module."""
    for family in (codecs, writing, wavs):
        yield from family()
