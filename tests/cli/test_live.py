"""The live view: what stands on the terminal at each moment of the way."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.stories import DEMO, told
from vvwatch.cli.dev_live import ViewContext, render_view, show_live
from vvwatch.cli.dev_story import DevState, apply_event

SCENE = ViewContext(Path("/in"), "*.mp4", Path("/in-exports"), Path("/state/dev-1"), 3.0, 18.0)


def drawn(story: DevState, now: float, width: int = 120, rows: int = 50) -> str:
    """The view as text, without colours."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(render_view(story, SCENE, now, rows))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


@pytest.mark.parametrize(
    ("until", "now", "words"),
    [
        (99, 99, ["/in  →  /in-exports", "*.mp4", "starting…", "waiting for new files"]),
        (
            100.1,
            100.2,
            [
                "http://127.0.0.1:4711",
                "vvwatch status --state-dir /state/dev-1",
                "4 files still being written",
                "1 skipped",
            ],
        ),
        (102, 103, ["4 new files", "4 files · closes in 2.0s, at the latest in 16s"]),
        (105.2, 105.2, ["1 imported · 1 failed", "failed  b.mp4: it is no media file"]),
        (106.5, 106.5, ["3 imported · 1 failed", "1 of 3 · processing"]),
        (106.8, 106.8, ["3 of 3 · done, with failures", "being written"]),
        (
            107.0,
            107.0,
            ["delivered", "export  /out put/exp_1.json (1.2 kB)", "unfinished work is being finished"],
        ),
        (108.0, 108.0, ["stopped; the next start resumes from here"]),
    ],
)
def test_the_view_follows_the_way(until: float, now: float, words: list[str]) -> None:
    view = drawn(told(DEMO, until=until), now)
    assert [each for each in words if each not in view] == []


def test_an_overdue_window_never_counts_below_zero() -> None:
    assert "closes in 0.0s, at the latest in 0.0s" in drawn(told(DEMO, until=102), now=500)


def test_what_came_before_is_told_when_nothing_is_new() -> None:
    assert "5 files known from before" in drawn(DevState(listed=5), 1.0)


def test_an_alarm_is_seen() -> None:
    story = apply_event(DevState(), "source.degraded", {"reason": "no watches left", "hint": "sysctl …"}, 1.0)
    assert "!       no watches left; sysctl …" in drawn(story, 1.0)


def test_more_troubles_than_fit_are_counted() -> None:
    story = DevState()
    for number in range(9):
        fields = {"import_job": "j", "object_key": f"{number}.mp4", "status": "failed", "reason": "x"}
        story = apply_event(story, "import.file_finished", fields, 1.0)
    view = drawn(story, 1.0)
    assert "8.mp4" in view
    assert "2.mp4" not in view
    assert "and 3 more" in view


@pytest.mark.parametrize("rows", [24, 30, 50])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_small_terminal_shows_the_exports_and_how_to_stop_whatever_failed(rows: int, width: int) -> None:
    story = told(DEMO, until=107)
    for number in range(30):
        fields = {
            "import_job": f"j{number % 4}",
            "object_key": f"{number}-{'long-name-' * 12}.mp4",
            "status": "failed",
            "reason": "media_damaged",
        }
        story = apply_event(story, "import.file_finished", fields, 1.0)
    story = apply_event(story, "source.degraded", {"reason": "no watches left " * 20}, 1.0)
    lines = drawn(story, 107.0, width=width, rows=rows).splitlines()
    assert len(lines) <= rows
    assert all(len(line) <= width for line in lines)
    assert any("export  /out put/exp_1.json" in line for line in lines)
    assert any("failed  29-long-name" in line for line in lines)
    assert "Ctrl-C stops" in lines[-1]


def test_the_view_has_a_screen_of_its_own_and_leaves_its_last_state() -> None:
    """Drawn among other lines it would leave ghosts where the terminal is resized."""
    out = io.StringIO()
    with show_live(
        lambda rows: f"view of {rows} rows",
        Console(file=out, highlight=False, force_terminal=True, width=80, height=24),
    ):
        pass
    text = out.getvalue()
    entered, left = text.index("\x1b[?1049h"), text.index("\x1b[?1049l")
    assert "view of 24 rows" in text[entered:left]
    assert "view of 60 rows" in text[left:]


def test_markup_and_controls_in_names_are_text() -> None:
    fields = {"import_job": "j", "object_key": "[red]a\x1b[2J.mp4", "status": "failed", "reason": "x"}
    assert "[red]a\\x1b[2J.mp4" in drawn(apply_event(DevState(), "import.file_finished", fields, 1.0), 1.0)


def test_several_batches_under_way_stand_below_each_other() -> None:
    story = DevState()
    for number in range(5):
        story = apply_event(story, "import.started", {"import_job": f"job_{number}", "files": 2}, 1.0)
    assert drawn(story, 1.0).count("beginning") == 3


def test_a_narrow_terminal_still_shows_the_counts() -> None:
    assert "closes in" in drawn(told(DEMO, until=102), 103, width=60)


def test_the_view_is_drawn_at_most_four_times_a_second() -> None:
    draws: list[float] = []

    def draw(rows: int) -> str:
        draws.append(time.monotonic())
        return "view"

    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with show_live(draw, console):
        deadline = time.monotonic() + 20
        while len(draws) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    running = draws[1:-1]
    assert len(running) >= 2
    assert running[-1] - running[0] >= 0.2 * (len(running) - 1)


def test_what_a_processor_waits_for_stands_in_the_view() -> None:
    away = {"error": "the connection failed", "hint": "see that it is up"}
    assert "!       the connection failed; see that it is up" in drawn(
        apply_event(DevState(), "run.item_waits", away, 1.0), 1.0
    )
