"""Texts and times of cues, as files and models give them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core import cues
from vvwatch.core.cues import Markup, TooManyCues, repair_cues, to_language, to_plain_text
from vvwatch.core.transcripts import (
    Cue,
    CueFinder,
    Transcript,
    TranscriptSource,
    Word,
    cues_within,
    describe_said,
)
from vvwatch.store.runs.transcripts import Said

TIMES = st.floats(-10, 40) | st.just(math.inf)
CUES = st.lists(
    st.builds(Cue, TIMES.filter(math.isfinite), TIMES, st.sampled_from(["", "a", "b", "c\nd"])), max_size=30
)


@pytest.mark.parametrize(
    ("markup", "text", "plain"),
    [
        (Markup.NONE, "a <b>\r\n\r\n  c\td", "a <b>\nc d"),
        (Markup.NONE, "bell\x07, \x1b[31m, nul\x00\ufeff", "bell , [31m, nul"),
        (
            Markup.SUBRIP,
            r"{\an8}<i>Hi</i> <font color='red'>you</font><br/>2 < 3 &amp; 4",
            "Hi you\n2 < 3 & 4",
        ),
        (Markup.SUBRIP, "{not an override}", "{not an override}"),
        (
            Markup.WEBVTT,
            "<v Ann>I</v> <c.x>said<00:00:01.000> so</c> &lt;b&gt; a&nbsp;b",
            "I said so <b> a b",
        ),
        (Markup.WEBVTT, "&#0;&#27;&#xd800;x", "\ufffd\ufffdx"),
        (Markup.ASS, r"{\pos(1,2)\b1}One\NTwo\hthree\n{comment}four", "One\nTwo three\nfour"),
    ],
)
def test_text_has_no_markup_and_no_control_characters(markup: Markup, text: str, plain: str) -> None:
    assert to_plain_text(text, markup) == plain


@pytest.mark.parametrize("markup", Markup)
@pytest.mark.parametrize("piece", ["<", "{", "&", "<<a>", "{\\", "&lt;" * 3])
def test_hostile_text_is_short_and_takes_no_time(markup: Markup, piece: str) -> None:
    assert len(to_plain_text(piece * 200_000, markup)) <= 2000


@given(st.text(), st.sampled_from(Markup))
def test_plain_text_can_be_stored_and_stays(text: str, markup: Markup) -> None:
    plain = to_plain_text(text, markup)
    plain.encode()
    assert to_plain_text(plain) == plain
    assert all(character == "\n" or character >= " " for character in plain)


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("eng", "eng"),
        ("pt-BR", "pt-BR"),
        ("und", None),
        ("", None),
        (None, None),
        ("<b>", None),
        ("x" * 99, None),
    ],
)
def test_a_language_is_a_code(code: str | None, language: str | None) -> None:
    assert to_language(code) == language


@pytest.mark.parametrize(
    ("given_times", "times"),
    [
        ([(1, 3), (2, 4)], [(1, 2), (2, 4)]),
        ([(3, 1)], [(1, 3)]),
        ([(5, 6), (1, 2)], [(1, 2), (5, 6)]),
        ([(-2, 1), (9, 20)], [(0, 1), (9, 10)]),
        ([(-2, -1), (11, 12), (4, 4)], []),
        ([(1, math.inf), (3, math.inf), (9, math.inf)], [(1, 3), (3, 8), (9, 10)]),
        ([(8, math.inf)], [(8, 10)]),
    ],
)
def test_times_are_put_right(
    given_times: list[tuple[float, float]], times: list[tuple[float, float]]
) -> None:
    found = repair_cues((Cue(start, end, f"at {start}") for start, end in given_times), 10.0)
    assert [(cue.start_time, cue.end_time) for cue in found] == times


def test_cues_that_begin_together_are_one() -> None:
    found = repair_cues([Cue(1, 2, "Ann"), Cue(1, 3, "Bob"), Cue(1, 2, "Ann")], 10.0)
    assert found == (Cue(1, 3, "Ann\nBob"),)


def test_words_stay_within_their_cue() -> None:
    cue = Cue(1, 2, "a b", (Word(0.5, 1.2, "a"), Word(1.9, 2.5, "b\x00"), Word(3, 4, "late")))
    [found] = repair_cues([cue], 10.0)
    assert found.words == (Word(1, 1.2, "a"), Word(1.9, 2, "b"))


@given(CUES, st.none() | st.floats(0, 30))
def test_repaired_cues_tile_and_repairing_again_changes_nothing(
    given_cues: list[Cue], seconds: float | None
) -> None:
    found = repair_cues(given_cues, seconds)
    ends = [0.0, *(cue.end_time for cue in found)]
    assert all(end <= cue.start_time < cue.end_time for end, cue in zip(ends, found, strict=False))
    assert all(cue.text and math.isfinite(cue.end_time) for cue in found)
    assert seconds is None or not found or found[-1].end_time <= round(seconds, 3)
    assert repair_cues(found, seconds) == found


def test_too_many_cues_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cues, "MOST_CUES", 2)
    with pytest.raises(TooManyCues):
        repair_cues((Cue(at, at + 1, "x") for at in range(3)), None)


@given(CUES, st.lists(st.floats(0, 40), min_size=1, max_size=5))
def test_each_cue_is_said_in_one_segment(given_cues: list[Cue], cuts: list[float]) -> None:
    found = repair_cues(given_cues, None)
    bounds = [0.0, *sorted(cuts), math.inf]
    parts = [cues_within(found, start, end) for start, end in pairwise(bounds)]
    assert [cue for part in parts for cue in part] == list(found)


@given(CUES, st.lists(st.tuples(st.floats(0, 40), st.floats(0, 40)), max_size=5))
def test_a_finder_finds_what_is_within(given_cues: list[Cue], spans: list[tuple[float, float]]) -> None:
    finder = CueFinder(given_cues)
    for start, end in [*spans, (0, math.inf), (3, 3)]:
        assert finder.find(start, end) == cues_within(given_cues, start, end)


def test_an_export_looks_at_each_cue_once_however_many_segments_it_has() -> None:
    looks: list[object] = []

    class Watched(Cue):
        __slots__ = ()

        def __getattribute__(self, name: str) -> object:
            looks.append(name)
            return super().__getattribute__(name)

    cues = tuple(Watched(number, number + 1, str(number)) for number in range(300))
    said = Said(Transcript(TranscriptSource.SIDECAR, "a.srt", None, cues))
    texts = [(said.between(number, number + 1) or {}).get("text") for number in range(300)]
    assert texts == [str(number) for number in range(300)]
    assert len(looks) < 300 * 10


def test_a_segment_says_its_text_and_words() -> None:
    said = Transcript(
        TranscriptSource.SPEECH,
        "tiny",
        "en",
        (Cue(0, 1, "one", (Word(0, 1, "one"),)), Cue(1, 3, "two"), Cue(5, 6, "three")),
    )
    assert describe_said(said, 0, 3) == {
        "text": "one\ntwo",
        "language": "en",
        "source": "speech",
        "words": [{"text": "one", "start_time": 0, "end_time": 1}],
    }
    assert describe_said(said, 3, 4)["text"] == ""


@given(st.text(st.sampled_from("ab <&{}\\;\u00a0\u00e9\x07\ufeff"), max_size=30), st.sampled_from(Markup))
def test_plain_lines_are_read_as_all_others(text: str, markup: Markup) -> None:
    """One line of printable letters takes a short way; an empty line before it forbids that."""
    assert to_plain_text(text, markup) == to_plain_text(f"\n{text}", markup)
