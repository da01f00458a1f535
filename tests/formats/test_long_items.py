"""Items longer than what is written at once: nothing is lost, doubled or shifted where one part follows another."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.items import HARSH_TEXTS, exported, segment, written
from tests.formats.test_captions import READERS, Read
from vvwatch.core.timecode import frame_at
from vvwatch.core.transcripts import Cue
from vvwatch.formats.registry import FORMATS
from vvwatch.formats.texts import clean_lines, first_line

COUNTS = [1, 249, 250, 251, 501, 999]
TEXTS = ["said", "two\nlines", "\x00", *(text for text in HARSH_TEXTS if "-->" not in text)]


@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize("count", COUNTS)
def test_each_cue_with_text_is_there_once(name: str, read: Callable[[bytes], Read], count: int) -> None:
    cues = [Cue(at, at + 0.5, TEXTS[at % len(TEXTS)]) for at in range(count)]
    content = written(name, exported(cues=cues))
    shown = [(at * 1000, "\n".join(clean_lines(cue.text))) for at, cue in enumerate(cues)]
    found = [(start, text.replace("\u2060", "")) for start, _, text in read(content)]
    assert found == [(start, text) for start, text in shown if text]
    if name == "srt":
        numbers = re.findall(r"^(\d+)\n\d\d:", content.decode(), re.MULTILINE)
        assert list(map(int, numbers)) == list(range(1, len(found) + 1))


def test_a_transcript_that_begins_with_nothing_for_long_is_no_empty_one() -> None:
    cues = [Cue(at, at + 1, " ") for at in range(600)]
    assert b"said" in written("vtt", exported(cues=[*cues, Cue(700, 701, "said")]))


def times_of(count: int, *, has_gaps: bool) -> list[tuple[float, float]]:
    ends = [round(0.3 + at * 0.77, 3) for at in range(count)]
    starts = [0.0, *ends[:-1]]
    if has_gaps:  # and overlaps, and moments
        starts = [start + (0.4, 0.0, -0.9, 0.77)[at % 4] for at, start in enumerate(starts)]
    return list(zip(starts, ends, strict=True))


def expected_clips(item: Any, times: list[tuple[float, float]]) -> list[tuple[int, int, int, str]]:
    """First frame of the source, length and first frame of the record of each segment, and its title: one by one."""
    rate, first = item.timing.counted_at, item.timing.first_picture_seconds
    starts = [max(0, frame_at(start - first, rate)) for start, _ in times]
    lengths = [
        max(1, max(0, frame_at(end - first, rate)) - start)
        for start, (_, end) in zip(starts, times, strict=True)
    ]
    titles = [
        first_line(each["metadata_text"]) or f"Segment {number}"
        for number, each in enumerate(item.document["segments"], 1)
    ]
    return list(zip(starts, lengths, accumulate(lengths, initial=0), titles, strict=False))


@pytest.mark.parametrize("has_gaps", [False, True])
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("first_picture_seconds", [0.0, 0.08])
def test_each_segment_is_one_clip(count: int, has_gaps: bool, first_picture_seconds: float) -> None:
    times = times_of(count, has_gaps=has_gaps)
    texts = [TEXTS[at % len(TEXTS)] for at in range(count)]
    cuts = [segment(start, end, text) for (start, end), text in zip(times, texts, strict=True)]
    item = exported(cuts, frame_rate_exact="30000/1001", first_picture_seconds=first_picture_seconds)
    clips = expected_clips(item, times)
    [track] = json.loads(written("otio", item))["tracks"]["children"]
    found = [(clip["source_range"], clip["markers"][0]["name"]) for clip in track["children"]]
    assert [(span["start_time"]["value"], span["duration"]["value"], name) for span, name in found] == [
        (start, length, title) for start, length, _, title in clips
    ]
    places = re.findall(
        r"<start>(\d+)</start><end>(\d+)</end><in>(\d+)</in><out>(\d+)</out>", written("fcp7", item).decode()
    )
    assert [tuple(map(int, place)) for place in places] == 2 * [
        (record, record + length, start, start + length) for start, length, record, _ in clips
    ]
    events = re.findall(
        r"^(\d{3})  \S+ +V +C +(\S+) (\S+) (\S+) (\S+)$", written("edl", item).decode(), re.MULTILINE
    )
    assert [int(number) for number, *_ in events] == list(range(1, count + 1))
    assert [tuple(event[1:]) for event in events] == [
        tuple(to_timecode(frame) for frame in (start, start + length, record, record + length))
        for start, length, record, _ in clips
    ]
    offsets = re.findall(r' offset="(\d+)/30000s" start="(\d+)/30000s"', written("fcpxml", item).decode())
    assert [(int(record), int(start)) for record, start in offsets] == [
        (record * 1001, start * 1001) for start, _, record, _ in clips
    ]


def to_timecode(frame: int) -> str:
    """A timecode at 30 frames a second without dropped numbers, in the plainest way."""
    seconds = frame // 30
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame % 30:02d}"


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=30), min_size=1, max_size=8))
def test_the_text_beside_it_changes_no_cue(texts: list[str]) -> None:
    """Texts that are handled together come out as each alone."""
    alone = [cue_texts([text]) for text in texts]
    assert cue_texts(texts) == [text for each in alone for text in each]


def cue_texts(texts: list[str]) -> list[str]:
    cues = [Cue(at, at + 1, text) for at, text in enumerate([*texts, "end"])]
    file = io.BytesIO()
    FORMATS["srt"].write(file, [exported(cues=cues)])
    blocks = file.getvalue().decode().split("\n\n")
    return [block.partition("\n")[2].partition("\n")[2] for block in blocks if block][:-1]
