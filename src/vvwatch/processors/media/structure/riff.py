"""The RIFF family: WAV, RF64, BW64, W64, AVI and WebP. Chunks with lengths, often placeholders."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from vvwatch.processors.media.structure.source import (
    SOUND,
    ByteSource,
    Structure,
    judge_end,
    report_cut_within,
    report_truncated,
)

_U32: Final = 0xFFFFFFFF
_NAME: Final = re.compile(rb"[A-Za-z0-9_ ]{4}")
_MOST_CHUNKS: Final = 4096
_MOST_FRAMES: Final = 200_000
_SLACK: Final = 8
"""Some recorders write the size of the whole file instead of the size after the first eight bytes."""

_PLACEHOLDERS: Final = (0x7F000000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFF000, _U32)
_PLAYED_PADDING: Final = 64 << 10
_LARGEST_SAMPLE: Final = 8
_W64_RIFF: Final = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_W64_TAIL: Final = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_UNKNOWN: Final = 1 << 62


class Chunk(NamedTuple):
    """One chunk: its name, where its content begins, and its stated length."""

    name: bytes
    content: int
    length: int


class _Sound(NamedTuple):
    """The samples of a file: where they begin, their stated bytes, and how they are packed."""

    start: int
    stated: int
    block: int
    bytes_per_second: int

    @property
    def end(self) -> int:
        return self.start + self.stated


def is_riff(head: bytes) -> bool:
    """Return whether a file with these first bytes is of the RIFF family, W64 included."""
    return head[:4] in (b"RIFF", b"RF64", b"BW64") or head == _W64_RIFF


def examine_riff(source: ByteSource) -> Structure:
    """Check the lengths of the chunks against the file; include samples after the stated end if possible."""
    head = source.at(0, 16)
    if head == _W64_RIFF:
        return _examine_w64(source)
    if head[8:12] == b"WAVE":
        return _examine_wave(source)
    if head[8:12] == b"AVI ":
        return _examine_avi(source)
    end = 8 + int.from_bytes(head[4:8], "little")
    if end - 8 in (0, _U32):
        return SOUND
    if _is_cut(source, 0, end):
        return report_truncated(_read_riff_name(head), end, source.size)
    return judge_end(f"the {_read_riff_name(head)}", end + end % 2, source)


def is_placeholder(size: int, block: int = 1) -> bool:
    """Return whether writers use this 32-bit size as a placeholder: a round one, or just below."""
    return size == 0 or any(-4096 <= known - size < max(block, 4096) for known in _PLACEHOLDERS if known > 0)


def _read_riff_name(head: bytes) -> str:
    return f"RIFF chunk '{head[8:12].decode('latin-1').strip()}'"


def _iter_chunks(source: ByteSource, start: int) -> Iterator[Chunk]:
    for _ in range(_MOST_CHUNKS):
        head = source.at(start, 8)
        if len(head) < 8 or not _NAME.fullmatch(head[:4]):
            return
        length = int.from_bytes(head[4:], "little")
        yield Chunk(head[:4], start + 8, length)
        start += 8 + length + length % 2


def _examine_wave(source: ByteSource) -> Structure:
    wide: tuple[int, int] | None = None
    block, rate = 1, 0
    for chunk in _iter_chunks(source, 12):
        if chunk.name == b"ds64":
            wide = chunk.content + 8, source.number(chunk.content + 8, 8, "little")
        elif chunk.name == b"fmt ":
            rate = source.number(chunk.content + 8, 4, "little")
            block = source.number(chunk.content + 12, 2, "little") or 1
        elif chunk.name == b"data":
            return _judge_data(source, chunk, (block, rate), wide)
    return _judge_riff_end(source)


def _judge_data(
    source: ByteSource, data: Chunk, packing: tuple[int, int], wide: tuple[int, int] | None
) -> Structure:
    """Judge the samples of a WAV; `wide` is the position and value of a 64-bit length."""
    is_wide = wide is not None and data.length == _U32
    stated = wide[1] if wide is not None and is_wide else data.length
    sound = _Sound(data.content, stated, *packing)
    if sound.end <= source.size and stated and _is_tidy(source, sound.end):
        ended = _judge_riff_end(source)
        if is_wide or not _is_padded(source, sound, stated):
            return ended
        return replace(ended, patches=((data.content - 4, struct.pack("<I", stated - 1)),))
    place = wide[0] if wide is not None and is_wide else data.content - 4
    is_open = stated >= _W64_UNKNOWN or stated == 0 if is_wide else is_placeholder(stated, packing[0])
    if is_open and (sound.end > source.size or stated == 0):
        return _take_all(source, sound, place, is_wide=is_wide)
    if sound.end > source.size:
        return report_truncated("the sound of the WAV", sound.end, source.size)
    return _judge_rest(source, sound, _take_all(source, sound, place, is_wide=is_wide))


def _is_tidy(source: ByteSource, end: int) -> bool:
    """Return whether only further chunks, or one padding byte, follow from `end` on."""
    end += end % 2
    last = end
    for chunk in _iter_chunks(source, end):
        last = chunk.content + chunk.length
        if last > source.size:
            return False
    return source.size - last <= 1


def _is_padded(source: ByteSource, sound: _Sound, length: int) -> bool:
    """Return whether the last of `length` sample bytes pads an odd chunk, which some writers count in.

    Block decoders take it for the start of an incomplete block.
    """
    is_rest = sound.block > _LARGEST_SAMPLE and length % 2 == 0 and length % sound.block == 1
    return is_rest and source.at(sound.start + length - 1, 1) == b"\0"


def _take_all(source: ByteSource, sound: _Sound, place: int, *, is_wide: bool) -> Structure:
    """Read all the rest as samples, whatever length the header states at `place`."""
    length = source.size - sound.start
    length -= _is_padded(source, sound, length)
    if is_wide:
        return Structure(patches=((place, struct.pack("<Q", length)),))
    if length < _U32:
        return Structure(patches=((place, struct.pack("<I", length)),))
    # Only the header of an RF64 has room for such a length.
    form = next((chunk for chunk in _iter_chunks(source, 12) if chunk.name == b"fmt "), None)
    described = source.at(form.content - 8, 8 + form.length + form.length % 2) if form else b""
    wide = struct.pack("<4sIQQQI", b"ds64", 28, sound.start + length, length, 0, 0)
    head = b"RF64" + struct.pack("<I", _U32) + b"WAVE" + wide + described + b"data" + struct.pack("<I", _U32)
    return Structure(head=(sound.start, head))


def _judge_rest(source: ByteSource, sound: _Sound, taken: Structure) -> Structure:
    """Judge what follows the stated end of the samples: a few bytes, or a part that the header leaves out."""
    ended = _judge_riff_end(source)
    if ended.damage:
        return ended
    rest = source.size - sound.end
    content = source.at(sound.end, _PLAYED_PADDING)
    is_padding = rest < _PLAYED_PADDING and not content.strip(b"\0")
    if is_padding or rest < (sound.bytes_per_second or _PLAYED_PADDING):
        return judge_end("the samples", sound.end, source)
    return replace(taken, warnings=(_stale_warning(sound, source),))


def _stale_warning(sound: _Sound, source: ByteSource) -> str:
    stated, whole = sound.stated, source.size - sound.start
    if not sound.bytes_per_second:
        return f"the header states {stated:,} bytes of sound, the file holds {whole:,}: all of them are used"
    seconds = f"{stated / sound.bytes_per_second:.1f} s of sound, the file holds {whole / sound.bytes_per_second:.1f} s"
    return f"the header states {seconds}: all of it is used"


def _judge_riff_end(source: ByteSource) -> Structure:
    """Check the outermost length against the file unless it is a placeholder."""
    head = source.at(0, 12)
    length = int.from_bytes(head[4:8], "little")
    if head[:4] != b"RIFF" or is_placeholder(length):
        return SOUND
    end = 8 + length
    if _is_cut(source, 0, end):
        return report_truncated(_read_riff_name(head), end, source.size)
    return SOUND


def _is_cut(source: ByteSource, start: int, end: int) -> bool:
    """Return whether a RIFF from `start` lacks its end; if little is missing, its chunks tell a cut from a miscount."""
    if end <= source.size:
        return False
    if end > source.size + _SLACK:
        return True
    last = max((chunk.content + chunk.length for chunk in _iter_chunks(source, start + 12)), default=0)
    return last > source.size


def _examine_w64(source: ByteSource) -> Structure:
    """Check it like a WAV, with names of 16 bytes and 64-bit lengths that include their own heads."""
    place, block, rate = 40, 1, 0
    for _ in range(_MOST_CHUNKS):
        head = source.at(place, 24)
        if len(head) < 24 or head[4:16] != _W64_TAIL:
            break
        length = int.from_bytes(head[16:], "little")
        if head[:4] == b"fmt ":
            rate = source.number(place + 32, 4, "little")
            block = source.number(place + 36, 2, "little") or 1
        if head[:4] == b"data":
            return _judge_w64(source, place, length, (block, rate))
        if length < 24:
            break
        place += length + -length % 8
    end = source.number(16, 8, "little")
    return (
        report_truncated("the W64", end, source.size)
        if 40 < end < _W64_UNKNOWN and end > source.size
        else SOUND
    )


def _judge_w64(source: ByteSource, place: int, length: int, packing: tuple[int, int]) -> Structure:
    start = place + 24
    sound = _Sound(start, max(0, length - 24), *packing)
    patch = struct.pack("<Q", source.size - place)
    taken = Structure(patches=((16, struct.pack("<Q", source.size)), (place + 16, patch)))
    is_open = length <= 24 or length >= _W64_UNKNOWN or is_placeholder(length, packing[0])
    if is_open and (sound.end > source.size or length <= 24):
        return taken
    if sound.end > source.size:
        return report_truncated("the sound of the W64", sound.end, source.size)
    end = sound.end + -sound.end % 8
    if end >= source.size or source.at(end + 4, 12) == _W64_TAIL or source.at(end, 4) in (b"levl", b"list"):
        return SOUND
    judged = _judge_rest(source, sound, taken)
    return judged if judged.patches else replace(judged, end=sound.end)


def _examine_avi(source: ByteSource) -> Structure:
    """Check each RIFF of an AVI in turn (OpenDML has several); report pictures after the last one."""
    place = 0
    while source.at(place, 4) == b"RIFF":
        head = source.at(place, 12)
        length = int.from_bytes(head[4:8], "little")
        if place == 0 and is_placeholder(length) and 8 + length != source.size:
            return _walk_avi(source, 12)
        end = place + 8 + length
        if _is_cut(source, place, end):
            return report_truncated(_read_riff_name(head), end, source.size)
        place = end + length % 2
    return _judge_avi_rest(source, place)


def _judge_avi_rest(source: ByteSource, end: int) -> Structure:
    """Judge what follows the last RIFF; FFmpeg reads on if pictures and sound continue."""
    if not _is_frame(source.at(end, 4)):
        return judge_end("the AVI", end, source)
    walked = _walk_avi(source, end)
    if walked.damage:
        return walked
    behind = source.size - end
    warning = (
        f"the header states {end:,} bytes, {behind:,} more of pictures and sound follow: all of them are used"
    )
    return Structure(warnings=(warning,), has_length=False)


def _is_frame(name: bytes) -> bool:
    return name[:2].isdigit() and name[2:] in (b"dc", b"db", b"wb", b"pc", b"tx")


def _walk_avi(source: ByteSource, start: int) -> Structure:
    """Judge an unclosed AVI: its frames from `start` on, as far as is cheap."""
    for chunk in _iter_avi_frames(source, start):
        if chunk.content + chunk.length > source.size:
            return replace(report_cut_within("an AVI chunk"), has_length=False)
    return Structure(has_length=False)


def _iter_avi_frames(source: ByteSource, place: int) -> Iterator[Chunk]:
    names: Sequence[bytes] = (b"LIST", b"JUNK", b"idx1", b"INFO")
    movi = place > 12
    for _ in range(_MOST_FRAMES):
        head = source.at(place, 12)
        if len(head) < 8 or not (_is_frame(head[:4]) or head[:4] in names or head[:2] == b"ix"):
            return
        length = int.from_bytes(head[4:8], "little")
        if head[:4] == b"LIST" and head[8:12] in (b"movi", b"rec "):
            movi, place = True, place + 12
            continue
        if movi or head[:4] != b"LIST":
            yield Chunk(head[:4], place + 8, length)
        place += 8 + length + length % 2
