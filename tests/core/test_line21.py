"""Pairs of EIA-608 become cues: each way to show captions, and what disturbs them."""

from __future__ import annotations

import math
import random

import pytest

from tests.processors import line21 as made
from vvwatch.core import line21
from vvwatch.core.cues import TooManyCues
from vvwatch.core.line21 import Pair, decode_pairs, read_triplets

FRAME = 1 / 25


def decode(
    at_frames: dict[int, made.Codes], field: int = 0, channel: str = "CC1"
) -> list[tuple[float, float, str]]:
    sent = sorted(made.spread(at_frames).items())
    pairs = [Pair(frame * FRAME, field, *codes) for frame, codes in sent]
    cues = decode_pairs(pairs).get(channel, [])
    return [(cue.start_time / FRAME, cue.end_time / FRAME, cue.text) for cue in cues]


def at(*times: tuple[float, float, str]) -> list[tuple[object, object, str]]:
    return [(pytest.approx(start), pytest.approx(end), text) for start, end, text in times]


def test_a_caption_pops_on_from_the_pair_that_shows_it_to_the_one_that_clears_it() -> None:
    found = decode(
        {
            0: made.pop_on("First line,\nand second."),
            30: made.twice(made.SHOW),
            40: made.pop_on("Next."),
            60: made.twice(made.SHOW),
            90: made.twice(made.CLEAR),
        }
    )
    assert found == at((30, 60, "First line,\nand second."), (60, 90, "Next."))


def test_each_line_that_rolls_up_is_one_cue() -> None:
    line = made.twice(made.ROLL_UP_2, made.NEW_LINE, made.ROW_15)
    found = decode({0: [*line, *made.letters("One here")], 30: [*line, *made.letters("two")], 60: line})
    assert found == at((6, 32, "One here"), (36, 62, "two"))


def test_what_is_painted_is_one_cue_until_it_is_painted_again_or_cleared() -> None:
    begin = made.twice(made.PAINT, made.ROW_15)
    found = decode({0: [*begin, *made.letters("One")], 30: [*begin, *made.letters("Two")]})
    assert found == at((4, 30, "One"), (34, math.inf, "Two"))


def test_a_caption_that_nothing_clears_has_no_known_end() -> None:
    assert decode({0: made.pop_on("Stay"), 20: made.twice(made.SHOW)}) == at((20, math.inf, "Stay"))


def test_codes_count_once_when_sent_twice_and_twice_when_sent_again_later() -> None:
    text = [*made.pop_on("abcd"), *made.twice(made.BACKSPACE), made.BACKSPACE]
    assert decode({0: text, 30: [made.SHOW]})[0][2] == "ab"


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        ([(0x11, 0x37), (0x11, 0x20), *made.letters("la")], "♪ la"),
        ([*made.letters("Ca"), *made.letters("nz"), (0x12, 0x2A), *made.letters("~a")], "Can—ña"),
        ([*made.letters("Se"), (0x20, 0x5C), (0x13, 0x34)], "Se ß"),
        ([*made.letters("ab"), *made.twice((0x17, 0x22)), *made.letters("cd")], "ab cd"),
        ([*made.letters("abcd"), *made.twice((0x14, 0x70)), *made.letters("x"), (0x14, 0x24)], "x"),
    ],
)
def test_letters_beyond_ascii_and_places_within_a_row(codes: made.Codes, text: str) -> None:
    assert decode({0: [*made.pop_on(""), *codes], 40: [made.SHOW]})[0][2] == text


def test_the_second_channel_and_the_second_field_are_kept_apart() -> None:
    first, second = made.pop_on("one"), [(a | 8 if a == 0x14 else a, b) for a, b in made.pop_on("two")]
    both = {0: [*first, made.SHOW], 30: [*second, (0x1C, 0x2F)]}
    assert [decode(both, 0, name)[0][2] for name in ("CC1", "CC2")] == ["one", "two"]
    assert decode(both, 1, "CC3")[0][2] == "one"


def test_facts_about_the_programme_and_text_pages_are_no_captions() -> None:
    begin = made.twice(made.ROLL_UP_2, made.ROW_15)
    facts = [(0x01, 0x03), *made.letters("Film name"), (0x0F, 0x1D)]
    page = [*made.twice((0x14, 0x2A)), *made.letters("Weather page")]
    found = decode({0: facts, 30: [*begin, *made.letters("Hello")], 60: page})
    assert [text for _, _, text in found] == ["Hello"]


def test_triplets_give_their_pairs_without_padding_and_without_708() -> None:
    content = made.to_triplets((0x14, 0x2C)) + b"\xfa\1\2" + made.to_triplets(made.PADDING) + b"\xf8\x41\x41"
    content += made.to_triplets((0x41, 0x42)) + made.to_triplets((0x43, 0), 1) + b"\xfc"
    assert read_triplets(content, 2.0, 0.5) == [
        Pair(2.0, 0, 0x14, 0x2C),
        Pair(3.0, 0, 0x41, 0x42),
        Pair(2.0, 1, 0x43, 0),
    ]


def test_no_bytes_break_it(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(16)
    for _ in range(200):
        content = bytes(chance.choice((0xFC, 0xFD, chance.randrange(256))) for _ in range(3))
        codes = b"".join(content[:1] + chance.randbytes(2) for _ in range(300))
        for cues in decode_pairs(read_triplets(codes, 0.0, FRAME)).values():
            assert all(cue.start_time <= cue.end_time and cue.text for cue in cues)
    monkeypatch.setattr(line21, "MOST_CUES", 3)
    many = {frame: [*made.pop_on("x"), made.SHOW] for frame in range(0, 100, 20)}
    with pytest.raises(TooManyCues):
        decode(many)
