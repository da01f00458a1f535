"""Captions beside their media: names and contents."""

from __future__ import annotations

import time

import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from vvwatch.core import sidecars
from vvwatch.core.cues import MOST_CUES, TooManyCues
from vvwatch.core.sidecars import (
    NoCaptions,
    SidecarName,
    is_sidecar,
    list_media_stems,
    match_name,
    read_sidecar,
)
from vvwatch.core.transcripts import Word

NAME = SidecarName(False, 1, "clip.srt")
ASS = r"""[Script Info]
[Events]
Format: Layer, Start, End, Style, Text
Comment: 0,0:00:00.00,0:00:01.00,D,no
Dialogue: 0,0:00:01.00,0:00:02.00,D,{\i1}one, and\Nmore
Dialogue: 0,0:00:03.00,0:00:04.00,D,{\p1}m 0 0 l 1 1
"""
TWO = "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:02,500 --> 00:00:03,500\ntwo\nlines\n"
SAID = [(1, 2, "one"), (2.5, 3.5, "two\nlines")]


def read(text: str | bytes, seconds: float | None = 60.0) -> list[tuple[float, float, str]]:
    data = text.encode() if isinstance(text, str) else text
    return [(cue.start_time, cue.end_time, cue.text) for cue in read_sidecar(NAME, data, seconds).cues]


@pytest.mark.parametrize(
    ("key", "language"),
    [
        ("a/clip.srt", None),
        ("a/clip.SRT", None),
        ("a/clip.mp4.vtt", None),
        ("a/clip.en.vtt", "en"),
        ("a/clip.mp4.pt-BR.ass", "pt-BR"),
        ("a/clip.pt_BR.srt", "pt-BR"),
        ("a/clip.en.sdh.srt", "en"),
        ("a/clip.cc.srt", None),
    ],
)
def test_a_sidecar_has_the_name_of_its_media(key: str, language: str | None) -> None:
    found = match_name("a/clip.mp4", key)
    assert found is not None
    assert found.language == language
    assert any("a/clip.mp4".rpartition(".")[0] == stem for stem in list_media_stems(key))


@pytest.mark.parametrize(
    "key",
    [
        "clip.srt",
        "a/clip2.srt",
        "a/clip.txt",
        "a/cli.srt",
        "a/clip.en.forced.srt",
        "a/clip.take 2.srt",
        "b/clip.srt",
        "a/.srt",
    ],
)
def test_other_files_are_none(key: str) -> None:
    assert match_name("a/clip.mp4", key) is None


def test_the_language_of_the_media_comes_first_then_the_better_format() -> None:
    keys = ["clip.de.vtt", "clip.srt", "clip.vtt", "clip.en.vtt"]
    found = sorted(filter(None, (match_name("clip.mp4", key) for key in keys)))
    assert [name.key for name in found] == ["clip.vtt", "clip.srt", "clip.de.vtt", "clip.en.vtt"]


@given(
    st.text("ab.\u00e9/ ", max_size=12),
    st.sampled_from(["", ".en", ".mp4", ".mp4.en", ".cc"]),
    st.sampled_from(["srt", "VTT"]),
)
def test_media_are_found_by_the_name_of_what_goes_with_them(stem: str, middle: str, suffix: str) -> None:
    media_key, key = f"{stem}x.mp4", f"{stem}x{middle}.{suffix}"
    assert match_name(media_key, key) is not None
    assert is_sidecar(key)
    assert f"{stem}x" in list_media_stems(key)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TWO, SAID),
        (TWO.replace("\n", "\r\n"), SAID),
        (TWO.replace("\n", "\r"), SAID),
        ("\ufeff" + TWO, SAID),
        (TWO.encode("utf-16"), SAID),
        (TWO.encode("utf-16-le"), SAID),
        (TWO.encode("utf-16-be"), SAID),
        (TWO.replace("1\n00", "00").replace("2\n00", "00"), SAID),
        (TWO.replace("\n\n", "\n"), SAID),
        (TWO.replace(",", "."), SAID),
        (TWO.replace(" --> ", "-->"), SAID),
        (TWO.replace("00:00:", "00:"), SAID),
        (TWO.replace(",500", ",5"), SAID),
        ("caf\xe9 --> x\n\n" + TWO.replace("one", "caf\xe9"), [(1, 2, "café"), SAID[1]]),
        (TWO.replace("one", "café").encode("latin-1"), [(1, 2, "café"), SAID[1]]),
        (TWO.replace("00:00:01,000", "-00:00:01,000"), [(0, 2, "one"), SAID[1]]),
        (
            "00:00:01,000 --> 00:00:02,000\n7\n\n00:00:03,000 --> 00:00:04,000\n8\n",
            [(1, 2, "7"), (3, 4, "8")],
        ),
        (TWO.replace("one", r"{\an8}<i>one</i>"), SAID),
        (
            "WEBVTT\n\nNOTE no\nspeech\n\nSTYLE\n::cue{}\n\nid\n00:01.000 --> 00:02.000 line:0\n<v A>1 &lt; 2\n\n3\n",
            [(1, 2, "1 < 2")],
        ),
        (
            ASS,
            [(1, 2, "one, and\nmore")],
        ),
    ],
)
def test_files_are_read_as_people_write_them(text: str | bytes, said: list[tuple[float, float, str]]) -> None:
    assert read(text) == said


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"hello", b"WEBVTT\n", bytes(range(256)), b"1\n00:00:70 --> x\n"]
)
def test_what_holds_no_captions_says_so(data: bytes) -> None:
    with pytest.raises(NoCaptions, match=r"clip\.srt holds no captions"):
        read(data)


def test_words_have_the_times_within_their_cue() -> None:
    text = "WEBVTT\n\n00:01.000 --> 00:03.000\n<c>one</c> <00:02.000>two\n"
    [cue] = read_sidecar(NAME, text.encode(), None).cues
    assert (cue.text, cue.words) == ("one two", (Word(1, 2, "one"), Word(2, 3, "two")))


@given(st.binary(max_size=400) | st.text(st.sampled_from("0123:,.-> \nWEBVTT<{\\")).map(str.encode))
def test_no_file_does_harm(data: bytes) -> None:
    try:
        found = read_sidecar(NAME, data, 60.0)
    except (NoCaptions, TooManyCues):
        return
    assert all(0 <= cue.start_time < cue.end_time <= 60 for cue in found.cues)


LINES = st.text("abc é", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.lists(LINES, min_size=1, max_size=8))
def test_other_readers_read_the_same(lines: list[str]) -> None:
    def stamp(at: int, mark: str) -> str:
        return f"00:00:{at:02}{mark}000"

    timed = [(at * 2, at * 2 + 1, line) for at, line in enumerate(lines)]
    srt = "\n".join(
        f"{n}\n{stamp(a, ',')} --> {stamp(b, ',')}\n{t}\n" for n, (a, b, t) in enumerate(timed, 1)
    )
    vtt = "WEBVTT\n\n" + "\n".join(f"{stamp(a, '.')} --> {stamp(b, '.')}\n{t}\n" for a, b, t in timed)
    theirs = [
        (each.start / 1000, each.end / 1000, each.plaintext) for each in pysubs2.SSAFile.from_string(srt)
    ]
    others = [
        (each.start_in_seconds, each.end_in_seconds, each.text)
        for each in webvtt.WebVTT.from_string(vtt).captions
    ]
    plain = [(a, b, " ".join(t.split())) for a, b, t in timed]
    assert read(srt) == read(vtt) == plain
    assert [(a, b, " ".join(t.split())) for a, b, t in theirs] == plain
    assert [(a, b, " ".join(t.split())) for a, b, t in others] == plain


@pytest.mark.parametrize(
    "line",
    [
        " " * 8_000 + ">",
        "00:00:04,000 -->" + " " * 8_000 + ">",
        "00 : 00 : 04" + " " * 8_000 + ">",
        "<br" + " " * 30_000,
        "&#" + "9" * 5_000 + ";",
    ],
)
def test_no_line_holds_the_reader_up(line: str) -> None:
    started = time.process_time()
    found = read(f"1\n00:00:01,000 --> 00:00:02,000\none\n{line}\n")
    assert time.process_time() - started < 1
    assert [(start, end, text[:3]) for start, end, text in found] == [(1, 2, "one")]


def test_words_that_no_cue_can_say_are_not_read() -> None:
    cue = "00:01.000 --> 00:03.000\n" + "<00:01.500>a" * 100_000
    (found,) = read_sidecar(NAME, f"WEBVTT\n\n{cue}".encode(), 60.0).cues
    assert 0 < len(found.words) < 2_000


def test_cues_that_all_begin_together_keep_few_words() -> None:
    cues = "".join(f"00:01.000 --> 00:03.000\n<00:01.500>{number}\n\n" for number in range(9_000))
    (found,) = read_sidecar(NAME, f"WEBVTT\n\n{cues}".encode(), 60.0).cues
    assert 1_000 < len(found.words) < 3_000


@pytest.mark.parametrize(
    ("head", "cue"),
    [
        ("WEBVTT\n\n", "00:01.000 --> 00:02.000\na\n\n"),
        ("", "1\n00:00:01,000 --> 00:00:02,000\na\n\n"),
        ("[Script Info]\n", "Dialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,a\n"),
    ],
)
def test_too_many_cues_are_refused_before_any_is_read(
    head: str, cue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidecars, "Cue", None)
    monkeypatch.setattr(sidecars, "to_plain_text", None)
    with pytest.raises(TooManyCues):
        sidecars.read_sidecar(SidecarName(False, 0, "a"), (head + cue * (MOST_CUES + 1)).encode(), None)
