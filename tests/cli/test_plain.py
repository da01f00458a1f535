"""Lines for pipes and logs."""

from __future__ import annotations

import pytest

from tests.cli.stories import DEMO, told
from vvwatch.cli.plain import _LINES, line, path_of, summary
from vvwatch.cli.story import Story
from vvwatch.telemetry import CATALOGUE

SAID = """\
seen      notes.txt is left out: its extension is not one of a supported video, audio or image format
seen      3 new files: a.mp4, …; the window closes in 3.0s unless more arrive
seen      1 new file: d.mp4; the window closes in 3.0s unless more arrive
window    closed with 4 files: nothing more arrived
import    a.mp4 imported
import    b.mp4 failed: it is no media file, or is damaged beyond use
import    c.mp4 imported
import    d.mp4 imported
import    done: 3 imported, 1 failed, 0 skipped
run       begins: 3 items
run       a.mp4 processed
run       c.mp4 partial: it is damaged
run       d.mp4 processed
run       done, with failures
export    /out put/exp_1.json (1.2 kB)
stopping  what is under way is finished first; Ctrl-C again stops at once
"""

SUMMED_UP = """\
3 files imported, 1 failed, 1 skipped
  skipped notes.txt: its extension is not one of a supported video, audio or image format
  failed  b.mp4: it is no media file, or is damaged beyond use
  partial c.mp4: it is damaged
  export  /out put/exp_1.json (1.2 kB)
"""


def test_the_whole_way_reads_line_by_line() -> None:
    lines = [words for at, event, fields in DEMO if (words := line(event, fields, at)) is not None]
    assert "\n".join(lines) + "\n" == SAID


def test_the_end_is_summed_up() -> None:
    assert "\n".join(summary(told(DEMO))) + "\n" == SUMMED_UP


def test_what_is_left_for_the_next_start_is_said() -> None:
    for until in (102, 106, 106.8):
        assert list(summary(told(DEMO, until=until)))[-1].startswith("  left    ")


def test_nothing_to_do_is_said() -> None:
    assert list(summary(Story())) == ["there is nothing here yet"]
    assert list(summary(Story(listed=3))) == ["nothing new: all that is here was done before"]


@pytest.mark.parametrize("event", [*CATALOGUE, "unheard.of"])
def test_every_event_can_be_told_without_its_fields(event: str) -> None:
    words = line(event, {}, 1.0)
    assert words is None or "\n" not in words


def test_every_event_with_a_line_is_in_the_catalogue() -> None:
    assert _LINES.keys() <= CATALOGUE.keys()


def test_a_name_cannot_break_the_line() -> None:
    fields = {"object_key": "a\nb\x1b[31m.mp4", "status": "imported"}
    assert line("import.file_finished", fields, 1.0) == "import    a\\nb\\x1b[31m.mp4 imported"


@pytest.mark.parametrize(
    ("uri", "path"), [("file:///a%20b/c.json", "/a b/c.json"), ("s3://bucket/c.json", "s3://bucket/c.json")]
)
def test_local_addresses_are_shown_as_paths(uri: str, path: str) -> None:
    assert path_of(uri) == path
