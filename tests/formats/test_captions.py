"""Captions and chapters, as webvtt-py and pysubs2 read them."""

from __future__ import annotations

import html
from collections.abc import Callable
from io import StringIO

import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.items import HARSH_TEXTS, exported, segment, written
from vvwatch.core.transcripts import Cue
from vvwatch.formats.items import NotApplicable
from vvwatch.formats.texts import clean_lines

Read = list[tuple[int, int, str]]
LINES = [
    Cue(0.0, 1.5, "Good evening."),
    Cue(1.5, 4.0004, "Two\nlines & more"),
    Cue(3599.9996, 86_400.25, "late"),
]


def milliseconds(stamp: str) -> int:
    hours, minutes, seconds = stamp.split(":")
    return round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000)


def read_vtt(content: bytes) -> Read:
    # webvtt-py leaves the entities of cue text as they are.
    return [
        (milliseconds(caption.start), milliseconds(caption.end), html.unescape(caption.raw_text))
        for caption in webvtt.from_buffer(StringIO(content.decode())).captions
    ]


def read_srt(content: bytes) -> Read:
    events = pysubs2.SSAFile.from_string(content.decode(), format_="srt")
    return [(event.start, event.end, event.text.replace("\\N", "\n")) for event in events]


def read_srt_as_vtt(content: bytes) -> Read:
    return [
        (milliseconds(caption.start), milliseconds(caption.end), caption.raw_text)
        for caption in webvtt.from_buffer(StringIO(content.decode()), format="srt").captions
    ]


READERS = [("vtt", read_vtt), ("srt", read_srt)]


@pytest.mark.parametrize(("name", "read"), READERS)
def test_captions_keep_times_and_texts(name: str, read: Callable[[bytes], Read]) -> None:
    assert read(written(name, exported(cues=LINES))) == [
        (0, 1500, "Good evening."),
        (1500, 4000, "Two\nlines & more"),
        (3_600_000, 86_400_250, "late"),
    ]


@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize("text", HARSH_TEXTS)
def test_no_text_is_taken_for_markup_or_times(name: str, read: Callable[[bytes], Read], text: str) -> None:
    cues = [Cue(0, 1, text), Cue(1, 2, "next")]
    shown = "\n".join(clean_lines(text))
    if name == "srt":  # which has no escapes
        shown = shown.replace("-->", "→")
    if name == "srt" and "-->" in text:
        read = read_srt_as_vtt  # pysubs2 takes any line with two times for a new cue
    first, second = read(written(name, exported(cues=cues)))
    assert (first[0], first[1], first[2].replace("\u2060", "")) == (0, 1000, shown)
    assert second == (1000, 2000, "next")


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=40), max_size=6))
def test_any_text_survives_webvtt(texts: list[str]) -> None:
    cues = [Cue(at, at + 1, text) for at, text in enumerate([*texts, "end"])]
    shown = ["\n".join(clean_lines(cue.text)) for cue in cues]
    read = read_vtt(written("vtt", exported(cues=cues)))
    assert [text for _, _, text in read] == [text for text in shown if text]


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=40), max_size=6))
def test_any_text_leaves_the_cues_of_subrip_whole(texts: list[str]) -> None:
    cues = [Cue(at, at + 1, text) for at, text in enumerate([*texts, "end"])]
    spans = [
        (round(cue.start_time * 1000), round(cue.end_time * 1000)) for cue in cues if clean_lines(cue.text)
    ]
    assert [read[:2] for read in read_srt_as_vtt(written("srt", exported(cues=cues)))] == spans


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        (1.0, 1.0, "00:00:01.000 --> 00:00:01.001"),
        (2.0, 1.0, "00:00:02.000 --> 00:00:02.001"),
        (-1.0, 1.0, "00:00:00.000 --> 00:00:01.000"),
        (360_000.0, 3_600_000.5, "100:00:00.000 --> 1000:00:00.500"),
    ],
)
def test_each_cue_lasts_and_hours_go_beyond_99(start: float, end: float, span: str) -> None:
    assert span in written("vtt", exported(cues=[Cue(start, end, "x")])).decode()


def test_a_cue_without_text_is_left_out() -> None:
    cues = [Cue(0, 1, " \n\x00"), Cue(1, 2, "said")]
    assert read_srt(written("srt", exported(cues=cues))) == [(1000, 2000, "said")]


def test_chapters_are_the_segments_with_their_first_lines() -> None:
    item = exported(
        [segment(0, 2.5, "\n\nOpening <i>\nmore"), segment(2.5, 60), segment(60, 90_000, "--> end")]
    )
    assert read_vtt(written("chapters", item)) == [
        (0, 2500, "Opening <i>"),
        (2500, 60_000, "Segment 2"),
        (60_000, 90_000_000, "--> end"),
    ]


@pytest.mark.parametrize(
    ("name", "says"), [("vtt", "no transcript"), ("srt", "no transcript"), ("chapters", "no segments")]
)
def test_what_is_not_there_cannot_be_written(name: str, says: str) -> None:
    with pytest.raises(NotApplicable, match=says):
        written(name, exported())


def test_an_empty_transcript_gives_no_captions_and_a_picture_no_chapters() -> None:
    with pytest.raises(NotApplicable, match="transcript is empty"):
        written("vtt", exported(cues=[Cue(0, 1, "\n")]))
    with pytest.raises(NotApplicable, match="a picture has no chapters"):
        written("chapters", exported([segment(0, 0)], media_type="image"))
