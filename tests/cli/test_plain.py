"""Lines for pipes and logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.stories import DEMO, told
from vvwatch.cli.dev_config import DevSession
from vvwatch.cli.dev_output import PlainOutput
from vvwatch.cli.dev_plain import _LINES, format_event, format_summary, local_path
from vvwatch.cli.dev_story import DevState, apply_event
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
stopping  finishing running work; Ctrl-C again stops at once
"""

SUMMED_UP = """\
  skipped notes.txt: its extension is not one of a supported video, audio or image format
  failed  b.mp4: it is no media file, or is damaged beyond use
  partial c.mp4: it is damaged
  export  /out put/exp_1.json (1.2 kB)
3 files imported, 1 failed, 1 skipped
"""


def test_the_whole_way_reads_line_by_line() -> None:
    lines = [words for at, event, fields in DEMO if (words := format_event(event, fields, at)) is not None]
    assert "\n".join(lines) + "\n" == SAID


def test_the_end_is_summed_up() -> None:
    assert "\n".join(format_summary(told(DEMO))) + "\n" == SUMMED_UP


def test_what_is_left_for_the_next_start_is_said() -> None:
    for until in (102, 106, 106.8):
        assert list(format_summary(told(DEMO, until=until)))[-2].startswith("  left    ")


def test_nothing_to_do_is_said() -> None:
    assert list(format_summary(DevState())) == ["there is nothing here yet"]
    [line] = format_summary(DevState(listed=3))
    assert line.startswith("nothing new: all that is here was done before (--fresh ")


def test_a_thousand_failures_leave_the_counts_on_the_screen() -> None:
    story = DevState(accepted=1000)
    for number in range(1000):
        fields = {"import_job": "j", "object_key": f"{number}.mp4", "status": "failed", "reason": "x"}
        story = apply_event(story, "import.file_finished", fields, 1.0)
    story = apply_event(story, "import.finished", {"import_job": "j", "status": "failed"}, 2.0)
    lines = list(format_summary(story))
    assert len(lines) == 12
    assert lines[0] == "  failed  … and 990 more: `vvwatch jobs` lists them while it runs"
    assert lines[-2].startswith("  failed  999.mp4")
    assert lines[-1] == "0 files imported, 1000 failed, 0 skipped"


@pytest.mark.parametrize("event", [*CATALOGUE, "unheard.of"])
def test_every_event_can_be_told_without_its_fields(event: str) -> None:
    words = format_event(event, {}, 1.0)
    assert words is None or "\n" not in words


def test_every_event_with_a_line_is_in_the_catalogue() -> None:
    assert _LINES.keys() <= CATALOGUE.keys()


def test_a_name_cannot_break_the_line() -> None:
    fields = {"object_key": "a\nb\x1b[31m.mp4", "status": "imported"}
    assert format_event("import.file_finished", fields, 1.0) == "import    a\\nb\\x1b[31m.mp4 imported"


@pytest.mark.parametrize(
    ("uri", "path"), [("file:///a%20b/c.json", "/a b/c.json"), ("s3://bucket/c.json", "s3://bucket/c.json")]
)
def test_local_addresses_are_shown_as_paths(uri: str, path: str) -> None:
    assert local_path(uri) == path


def test_why_a_processor_waits_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    told = PlainOutput(DevSession(Path("/in"), Path("/out"), Path("/state")), now=lambda: 1.0)
    for media in ("v1", "v2"):
        told.observe("run.item_waits", {"media": media, "error": "the connection failed", "hint": "start it"})
    assert capsys.readouterr().out == "run       waits: the connection failed; start it\n"
