"""The live view of `vvwatch dev`: one block, redrawn a few times a second."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vvwatch.cli.dev_plain import LABEL_WIDTH, format_exports, format_labelled, format_troubles
from vvwatch.cli.dev_story import Batch, DevState, OpenWindow
from vvwatch.cli.output import escape_controls, format_duration, pluralize

_DRAWN_PER_SECOND: Final = 4
_BAR_WIDTH: Final = 24
_STYLES: Final = {"failed": "red", "export": "green"}
"""The colours of the labels; the others are yellow."""
_END_STYLES: Final = {"completed": "green", "failed": "red"}
_ROWS_AT_THE_END: Final = 60
_OTHER_ROWS: Final = 6
"""Two of the heading, one of the footer, and three that are empty."""
MOST_TROUBLES: Final = 6
MOST_ARTEFACTS: Final = 3
_MOST_BATCHES: Final = 3


@dataclass(frozen=True, slots=True)
class ViewContext:
    """The part of the view that never changes."""

    folder: Path
    pattern: str
    exports: Path
    state_dir: Path
    quiet_seconds: float
    max_wait_seconds: float


def open_console(coloured: bool) -> Console:
    """Return the terminal to draw on."""
    return Console(highlight=False, no_color=not coloured)


@contextmanager
def show_live(draw: Callable[[int], RenderableType], console: Console) -> Iterator[None]:
    """Show what `draw` returns for the number of rows until the block ends; leave its last state on the terminal.

    Uses the alternate screen: a block between other lines leaves traces when the terminal is resized.
    """
    with Live(
        get_renderable=lambda: draw(console.height),
        console=console,
        refresh_per_second=_DRAWN_PER_SECOND,
        redirect_stdout=False,
        redirect_stderr=False,
        screen=True,
        vertical_overflow="crop",
    ) as live:
        live.refresh()
        yield
    console.print(draw(_ROWS_AT_THE_END))


def render_view(story: DevState, scene: ViewContext, now: float, rows: int) -> RenderableType:
    """Return the whole view at the epoch second `now`, in at most `rows` lines if there are at least 24."""
    way = _render_steps(story, scene, now)
    room = rows - _OTHER_ROWS - way.row_count - bool(story.alarm) - bool(story.waiting)
    return Group(
        _render_heading(story, scene), "", way, *_render_latest(story, room), "", _render_footer(story)
    )


def _render_heading(story: DevState, scene: ViewContext) -> Text:
    text = _clipped_text(
        ("vvwatch dev  ", "bold"),
        escape_controls(str(scene.folder)),
        ("  →  ", "dim"),
        escape_controls(str(scene.exports)),
    )
    if scene.pattern != "*":
        text.append(f"   {escape_controls(scene.pattern)}", "cyan")
    look = f"{story.address}   vvwatch status --state-dir {shlex.quote(str(scene.state_dir))}"
    return text.append(f"\n{escape_controls(look) if story.address else 'starting…'}", "dim")


def _render_steps(story: DevState, scene: ViewContext, now: float) -> Table:
    """Return one row a step, in the order of the pipeline."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", width=8)
    table.add_column(width=_BAR_WIDTH)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row("  seen", "", _render_seen(story))
    table.add_row("  window", *_render_window(story.window, scene, now))
    for label, step in (("import", _render_import), ("run", _render_run), ("export", _render_export)):
        batches = _batches_to_show(story.batches, label)
        rows = [step(batch) for batch in batches] or [("", Text("-", "dim"))]
        for position, row in enumerate(rows):
            table.add_row("" if position else f"  {label}", *row)
    return table


def _batches_to_show(batches: tuple[Batch, ...], label: str) -> tuple[Batch, ...]:
    """Return the batches to show at one step: those under way, else the last."""
    here = [batch for batch in batches if label == "import" or getattr(batch, label)]
    going = [batch for batch in here if batch.under_way]
    return tuple(going[-_MOST_BATCHES:] or here[-1:])


def _render_seen(story: DevState) -> Text:
    text = Text(pluralize(story.accepted, "new file"))
    if story.settling:
        text.append(f" · {pluralize(story.settling, 'file')} still being written", "yellow")
    if story.skipped:
        text.append(f" · {story.skipped} skipped", "dim")
    if story.listed and not story.accepted and not story.settling:
        text.append(f" · {pluralize(story.listed, 'file')} known from before", "dim")
    return text


def _render_window(window: OpenWindow | None, scene: ViewContext, now: float) -> tuple[RenderableType, Text]:
    if window is None or window.due_at is None:
        return "", Text("waiting for new files" if window is None else "opens", "dim")
    left = max(window.due_at - now, 0.0)
    latest = max(window.opened_at + scene.max_wait_seconds - now, 0.0)
    text = Text.assemble(
        pluralize(window.count, "file"), " · closes ", (f"in {format_duration(left)}", "bold")
    )
    text.append(f", at the latest in {format_duration(latest)}", "dim")
    return _render_bar(scene.quiet_seconds - left, scene.quiet_seconds), text


def _render_import(batch: Batch) -> tuple[RenderableType, Text]:
    done = batch.imported + batch.failed + batch.skipped
    return _render_bar(done, max(batch.files, done)), _render_counts(
        (batch.imported, "imported", ""),
        (batch.failed, "failed", "red"),
        (batch.skipped, "skipped", "yellow"),
    )


def _render_run(batch: Batch) -> tuple[RenderableType, Text]:
    words = {"": "processing", "completed_with_failures": "done, with failures", "completed": "done"}
    text = Text(f"{batch.items_done} of {max(batch.items, batch.items_done)} · ")
    said = words.get(batch.run_status, batch.run_status)
    bar = _render_bar(batch.items_done + sum(batch.partly.values()), batch.items)
    return bar, text.append(said, _END_STYLES.get(batch.run_status, ""))


def _render_export(batch: Batch) -> tuple[RenderableType, Text]:
    status = batch.export_status
    said = {"started": "being written", "completed": "delivered"}.get(status, status)
    return _render_bar(int(status == "completed"), 1), Text(said, _END_STYLES.get(status, ""))


def _render_counts(*counts: tuple[int, str, str]) -> Text:
    parts = [Text(f"{count} {word}", style) for count, word, style in counts if count]
    return Text(" · ").join(parts) if parts else Text("beginning", "dim")


def _render_bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=max(total, 1e-9), completed=max(done, 0.0), width=_BAR_WIDTH)


def _clipped_text(*parts: str | tuple[str, str]) -> Text:
    """Return text that is cut, not wrapped, on a narrow terminal: each line of the view is one row."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _render_latest(story: DevState, room: int) -> Iterator[RenderableType]:
    """Return the latest troubles and exports in `room` rows; exports have priority."""
    exports = list(format_exports(story, min(MOST_ARTEFACTS, max(room, 1))))
    troubles = list(format_troubles(story, min(MOST_TROUBLES, max(room - len(exports) - 1, 1))))
    alarms = [format_labelled("  !", words) for words in (story.alarm, story.waiting) if words]
    lines = [*alarms, *troubles, *exports]
    yield from [""] if lines else []
    for line in lines:
        label, words = line[:LABEL_WIDTH], line[LABEL_WIDTH:]
        yield _clipped_text((label, _STYLES.get(label.strip(), "yellow")), words)


def _render_footer(story: DevState) -> Text:
    words = "Ctrl-C stops; the next start remembers what was done"
    if story.stopped:
        words = "stopped; the next start resumes from here"
    elif story.draining:
        words = "Ctrl-C stops at once; unfinished work is being finished"
    return _clipped_text((f"  {words}", "yellow" if story.draining else "dim"))
