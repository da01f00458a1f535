"""How answers look."""

from __future__ import annotations

import io

import pytest

from vvwatch.cli.output import (
    choose_colour,
    escape_controls,
    format_ago,
    format_duration,
    format_size,
    format_until,
    is_terminal,
    parse_moment,
    to_json,
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0s"),
        (-3, "0.0s"),
        (9.94, "9.9s"),
        (42, "42s"),
        (60, "1m"),
        (90, "1m 30s"),
        (3600, "1h"),
        (3661, "1h 1m"),
        (90_000, "1d 1h"),
    ],
)
def test_durations_read_in_their_two_largest_units(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (999_999, "1.0 MB"), (5e12, "5000.0 GB")],
)
def test_sizes_read_in_decimal_units(count: float | None, shown: str) -> None:
    assert format_size(count) == shown


def test_moments_read_as_distances_from_now() -> None:
    assert parse_moment("1970-01-01T00:01:40.500Z") == 100.5
    assert format_ago("1970-01-01T00:01:40.000Z", now=142) == "42s ago"
    assert format_ago(None) == "-"
    assert format_until("1970-01-01T00:01:40.000Z", now=58) == "in 42s"
    assert format_until("1970-01-01T00:01:40.000Z", now=101) == "now"
    assert format_until(None) == "-"


def test_names_from_outside_cannot_drive_the_terminal() -> None:
    assert escape_controls("a\x1b[2Jb\n\u202ec") == "a\\x1b[2Jb\\n\\u202ec"
    assert escape_controls("bad\udcff.mp4") == "bad\\udcff.mp4"
    assert escape_controls("Größe 🎬.mp4") == "Größe 🎬.mp4"


def test_json_holds_names_that_are_no_text() -> None:
    assert to_json({"key": "é bad\udcff"}) == '{"key": "é bad\\udcff"}'


@pytest.mark.parametrize(
    ("environ", "refused", "wanted"),
    [
        ({}, False, None),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, False, None),
        ({"TERM": "dumb"}, False, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour_is_the_users_choice(environ: dict[str, str], refused: bool, wanted: bool | None) -> None:
    assert choose_colour(environ, refused=refused) is wanted


@pytest.mark.parametrize(
    ("environ", "drawn"), [({}, True), ({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, False)]
)
def test_no_colour_takes_colours_away_and_not_the_view(environ: dict[str, str], drawn: bool) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert is_terminal(Terminal(), environ) is drawn
    assert is_terminal(io.StringIO(), environ) is False
