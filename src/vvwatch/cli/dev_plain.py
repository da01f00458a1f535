"""A daemon's events as lines for a pipe or a log: one line an event, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from vvwatch.cli.dev_story import Fields, Story, objects_of, of_item, reason_of, with_hint
from vvwatch.cli.output import duration, plain, several, size

_LABEL_WIDTH: Final = 10
_MOST_TOLD: Final = 10
_LABELS: Final = {"change": "seen", "delivery": "webhook", "daemon": "stopping", "job": "trouble"}
_CLOSED: Final = {
    "quiet": "nothing more arrived",
    "max_wait": "it had been open for its longest time",
    "full": "it was full",
    "manual": "it was closed by hand",
    "resumed": "it was due while nothing ran",
}
_ENDED: Final = {
    "completed": "done",
    "completed_with_failures": "done, with failures",
    "failed": "failed",
    "cancelled": "cancelled",
}


def line(event: str, fields: Fields, at: float) -> str | None:
    """The line for an event that happened at the epoch second `at`; None for one that people need not read."""
    if event == "change.accepted":
        words: str | None = _accepted(fields, at)
    else:
        say = _LINES.get(event)
        words = say(fields) if say else None
    noun = event.partition(".")[0]
    return labelled(_LABELS.get(noun, noun), words) if words else None


def labelled(label: str, words: str) -> str:
    """`label` and what it is about, in two columns."""
    return f"{label:<{_LABEL_WIDTH}}{plain(words)}"


def summary(story: Story) -> Iterator[str]:
    """What came of it all, when it is over: the latest failures with their reasons, the exports; last the counts."""
    most = max(len(story.troubles), story.failed + story.skipped)
    if (hidden := most - _MOST_TOLD) > 0:
        yield labelled("  failed", f"… and {hidden} more: `vvwatch jobs` lists them while it runs")
    latest = story.troubles[-_MOST_TOLD:]
    yield from (labelled(f"  {each.what}", f"{each.subject}: {each.reason}") for each in latest)
    for made in story.artefacts[-_MOST_TOLD:]:
        yield labelled("  export", f"{path_of(made.uri)} ({size(made.size_bytes)})")
    if story.window or any(batch.under_way for batch in story.batches):
        yield labelled("  left", "unfinished work resumes on the next start")
    yield _totals(story)


def _totals(story: Story) -> str:
    if story.accepted or story.batches:
        counts = f"{story.failed} failed, {story.skipped} skipped"
        return f"{several(story.imported, 'file')} imported, {counts}"
    if story.listed:
        return "nothing new: all that is here was done before (--fresh forgets that and does it again)"
    return "there is nothing here yet"


def path_of(uri: str) -> str:
    """The path of a local file's address; any other address as it is."""
    parts = urlsplit(uri)
    return str(PurePosixPath(unquote(parts.path))) if parts.scheme == "file" else uri


def _accepted(fields: Fields, at: float) -> str:
    count, key, due_at = objects_of(fields), fields.get("object_key"), fields.get("due_at")
    names = "" if key is None else f": {key}{', …' if count > 1 else ''}"
    closes = (
        "" if due_at is None else f"; the window closes in {duration(float(due_at) - at)} unless more arrive"
    )
    return f"{several(count, 'new file')}{names}{closes}"


def _skipped(fields: Fields) -> str:
    return f"{fields.get('object_key')} is left out: {reason_of(fields)}"


def _closed(fields: Fields) -> str:
    why = _CLOSED.get(str(fields.get("reason")), "")
    return f"closed with {several(objects_of(fields), 'file')}: {why}"


def _file_finished(fields: Fields) -> str:
    status = str(fields.get("status"))
    why = "" if status == "imported" else f": {reason_of(fields)}"
    return f"{fields.get('object_key')} {status}{why}"


def _import_finished(fields: Fields) -> str:
    counts = (f"{fields.get(name, 0)} {name}" for name in ("imported", "failed", "skipped"))
    return f"{_ended(fields)}: {', '.join(counts)}"


def _item_finished(fields: Fields) -> str:
    status = str(fields.get("status", "completed"))
    why = f": {reason_of(of_item(fields))}" if status in ("failed", "partial") else ""
    return f"{fields.get('object_key')} {'processed' if status == 'completed' else status}{why}"


def _ended(fields: Fields) -> str:
    status = str(fields.get("status"))
    return _ENDED.get(status, status)


def _exported(fields: Fields) -> str:
    return f"{path_of(str(fields.get('uri')))} ({size(fields.get('size_bytes'))})"


def _again(fields: Fields) -> str:
    return f"tried again: {reason_of(fields)}"


def _bad_source(fields: Fields) -> str:
    return f"degraded: {with_hint(fields)}"


_LINES: Final[dict[str, Callable[[Fields], str]]] = {
    "scan.failed": _bad_source,
    "source.degraded": _bad_source,
    "source.failed": _bad_source,
    "source.recovered": lambda _: "recovered",
    "change.skipped": _skipped,
    "window.closed": _closed,
    "import.file_finished": _file_finished,
    "import.file_retried": _again,
    "import.finished": _import_finished,
    "run.started": lambda fields: f"begins: {several(int(fields.get('items', 0)), 'item')}",
    "run.item_finished": _item_finished,
    "run.item_retried": _again,
    "run.item_waits": lambda fields: f"waits: {with_hint(fields)}",
    "run.finished": _ended,
    "export.finished": _exported,
    "export.retried": _again,
    "export.failed": lambda fields: f"{fields.get('export')} failed: {reason_of(fields)}",
    "delivery.sent": lambda fields: f"{fields.get('event_type')} sent",
    "delivery.failed": lambda fields: f"{fields.get('event_type')} failed: {reason_of(fields)}",
    "job.failed": lambda fields: f"{fields.get('kind')} {fields.get('ref')}: {reason_of(fields)}",
    "daemon.draining": lambda _: "what is under way is finished first; Ctrl-C again stops at once",
}
