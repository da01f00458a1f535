"""The state of a `vvwatch dev` session as a pure reducer: `state = apply_event(state, event, fields, at)`.

Unknown events and missing fields leave the state unchanged: showing progress must never disturb the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from vvwatch.core.filters import Reason, explain_reason

_MOST_BATCHES: Final = 8
_MOST_REMEMBERED: Final = 50

_SENTENCES: Final = {
    "access_denied": "it may not be read",
    "media_damaged": "it is damaged",
    "media_encrypted": "it is encrypted",
    "media_limit": "it needs more than the limits allow",
    "media_unreadable": "it is no media file, or is damaged beyond use",
    "media_unsupported": "its coding has no decoder here",
    "incomplete": "it is damaged, or segments of it failed: the export says which",
    "gone": "it was deleted before its import",
    "object_changed": "it changed while it was read; its new version is imported automatically",
    "object_not_found": "it is not there any more",
    "object_unavailable": "its store does not return it, but returns others",
    "processor_crashed": "processing it crashed or took too long",
    "storage_unavailable": "the folder does not answer",
}
"""What a reason means, where an event brings no words of its own."""

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OpenWindow:
    """The open window; moments are epoch seconds. `due_at` is None until an event says it."""

    id: str
    opened_at: float
    due_at: float | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One closed window on its way from import to export.

    `partly` maps media in progress to the fraction done, 0 to 1.
    """

    import_job: str
    files: int = 0
    imported: int = 0
    failed: int = 0
    skipped: int = 0
    import_status: str = ""
    run: str = ""
    items: int = 0
    items_done: int = 0
    partly: Mapping[str, float] = field(default_factory=dict)
    run_status: str = ""
    export: str = ""
    export_status: str = ""

    @property
    def under_way(self) -> bool:
        """Whether the batch has unfinished steps."""
        return (
            not self.import_status
            or (bool(self.run) and not self.run_status)
            or self.export_status == "started"
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem: its `subject`, what happened (`failed`, `skipped`, …) and the reason."""

    subject: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Artefact:
    """An export at its destination."""

    export: str
    uri: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DevState:
    """The whole state. Counts are since the start; keeps the latest troubles and artefacts.

    `waiting` says why a processor cannot work at the moment.
    """

    address: str = ""
    listed: int = 0
    settling: int = 0
    accepted: int = 0
    imported: int = 0
    failed: int = 0
    skipped: int = 0
    exported: int = 0
    exports_failed: int = 0
    window: OpenWindow | None = None
    batches: tuple[Batch, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    artefacts: tuple[Artefact, ...] = ()
    alarm: str = ""
    waiting: str = ""
    draining: bool = False
    stopped: bool = False


def has_failures(story: DevState, *, even_in_part: bool = False) -> bool:
    """Return whether a file, its processing or an export failed, or work waits for a processor.

    With `even_in_part` also if processing failed in part.
    """
    bad = ("failed", "partial") if even_in_part else ("failed",)
    unfinished = any(trouble.what in bad for trouble in story.troubles)
    return unfinished or story.failed > 0 or story.exports_failed > 0 or bool(story.waiting)


def apply_event(story: DevState, event: str, fields: Fields, at: float) -> DevState:
    """Return the state after `event` happened at the epoch second `at`."""
    change = _CHANGES.get(event)
    return story if change is None else change(story, fields, at)


def reason_of(fields: Fields) -> str:
    """Return the reason in words: the event's message, else the meaning of its code."""
    code = str(fields.get("reason") or "")
    message = fields.get("message") or fields.get("error") or _SENTENCES.get(code) or _explain_rule(code)
    return str(message) or "the log says more"


def item_fields(fields: Fields) -> Fields:
    """Return the fields of an item; one processed in part gets a reason."""
    return {"reason": "incomplete", **fields} if fields.get("status") == "partial" else fields


def with_hint(fields: Fields) -> str:
    """Return the reason and the remedy."""
    hint = fields.get("hint")
    return reason_of(fields) + (f"; {hint}" if hint else "")


def objects_of(fields: Fields) -> int:
    """Return the number of objects in an event."""
    return int(fields.get("objects", 1))


def _explain_rule(code: str) -> str:
    """Return the meaning of the filter's reason `code`; any other text unchanged."""
    try:
        return explain_reason(Reason(code))
    except ValueError:
        return code


def _on_scan(story: DevState, fields: Fields, _at: float) -> DevState:
    listed, settling = int(fields.get("listed", 0)), int(fields.get("settling", 0))
    return replace(story, listed=listed, settling=settling, alarm="")


def _on_accepted(story: DevState, fields: Fields, at: float) -> DevState:
    name, count = str(fields.get("window")), objects_of(fields)
    window = story.window if story.window and story.window.id == name else OpenWindow(name, at)
    window = replace(window, due_at=fields.get("due_at"), count=window.count + count)
    return replace(story, window=window, accepted=story.accepted + count, settling=0)


def _on_skipped(story: DevState, fields: Fields, _at: float) -> DevState:
    changed = _add_trouble(story, str(fields.get("object_key")), "skipped", fields)
    return story if changed == story else replace(changed, skipped=story.skipped + 1)


def _on_window_closed(story: DevState, fields: Fields, _at: float) -> DevState:
    same = story.window is not None and story.window.id == fields.get("window")
    return replace(story, window=None) if same else story


def _on_file_finished(story: DevState, fields: Fields, _at: float) -> DevState:
    batch, status = _find_batch(story, "import_job", fields), str(fields.get("status"))
    if status not in ("imported", "failed", "skipped"):
        return story
    counted: dict[str, Any] = {status: getattr(batch, status) + 1}
    story = _put_batch(story, replace(batch, **counted))
    total: dict[str, Any] = {status: getattr(story, status) + 1}
    if status != "imported":
        story = _add_trouble(story, str(fields.get("object_key")), status, fields)
    return replace(story, **total)


def _on_item_finished(story: DevState, fields: Fields, _at: float) -> DevState:
    batch = _find_batch(story, "run", fields)
    partly = {media: fraction for media, fraction in batch.partly.items() if media != fields.get("media")}
    story = _put_batch(story, replace(batch, items_done=batch.items_done + 1, partly=partly))
    story = replace(story, waiting="")
    status = str(fields.get("status"))
    if status in ("failed", "partial"):
        return _add_trouble(story, str(fields.get("object_key")), status, item_fields(fields))
    return story


def _on_item_progressed(story: DevState, fields: Fields, _at: float) -> DevState:
    batch = _find_batch(story, "run", fields)
    partly = {**batch.partly, str(fields.get("media")): float(fields.get("fraction", 0))}
    return _put_batch(story, replace(batch, partly=partly))


def _on_export_finished(story: DevState, fields: Fields, _at: float) -> DevState:
    story = _change_batch(story, "export", fields, export_status="completed")
    made = Artefact(str(fields.get("export")), str(fields.get("uri", "")), int(fields.get("size_bytes", 0)))
    kept = (*story.artefacts, made)[-_MOST_REMEMBERED:]
    return replace(story, artefacts=kept, exported=story.exported + 1)


def _on_export_failed(story: DevState, fields: Fields, _at: float) -> DevState:
    story = _change_batch(story, "export", fields, export_status="failed")
    story = _add_trouble(story, str(fields.get("export")), "failed", fields)
    return replace(story, exports_failed=story.exports_failed + 1)


def _find_batch(story: DevState, field: str, fields: Fields) -> Batch:
    """Return the batch of the event; for an import that began before this start, a new one."""
    wanted = str(fields.get(field))
    for batch in reversed(story.batches):
        if getattr(batch, field) == wanted:
            return batch
    if field == "import_job":
        return Batch(wanted)
    run, export = str(fields.get("run", "")), str(fields.get("export", ""))
    return Batch(
        f"before {wanted}",
        import_status="completed",
        run=run,
        export=export,
        run_status="completed" if field == "export" else "",
    )


def _change_batch(story: DevState, field: str, fields: Fields, **values: Any) -> DevState:
    """Return the state with `values` in the batch of the event."""
    return _put_batch(story, replace(_find_batch(story, field, fields), **values))


def _put_batch(story: DevState, batch: Batch) -> DevState:
    known = [each.import_job for each in story.batches]
    if batch.import_job in known:
        position = known.index(batch.import_job)
        return replace(story, batches=(*story.batches[:position], batch, *story.batches[position + 1 :]))
    return replace(story, batches=(*story.batches, batch)[-_MOST_BATCHES:])


def _add_trouble(story: DevState, subject: str, what: str, fields: Fields) -> DevState:
    trouble = Trouble(subject, what, reason_of(fields))
    if trouble in story.troubles:
        return story
    return replace(story, troubles=(*story.troubles, trouble)[-_MOST_REMEMBERED:])


_CHANGES: Final[Mapping[str, Callable[[DevState, Fields, float], DevState]]] = {
    **dict.fromkeys(
        ("daemon.ready", "daemon.started"),
        lambda story, fields, _at: replace(story, address=str(fields.get("address", story.address))),
    ),
    "daemon.draining": lambda story, _fields, _at: replace(story, draining=True),
    "daemon.stopped": lambda story, _fields, _at: replace(story, draining=False, stopped=True),
    "scan.finished": _on_scan,
    **dict.fromkeys(
        ("scan.failed", "source.degraded", "source.failed"),
        lambda story, fields, _at: replace(story, alarm=with_hint(fields)),
    ),
    "source.recovered": lambda story, _fields, _at: replace(story, alarm=""),
    "window.opened": lambda story, fields, at: replace(
        story, window=OpenWindow(str(fields.get("window")), at)
    ),
    "window.closed": _on_window_closed,
    "change.accepted": _on_accepted,
    "change.skipped": _on_skipped,
    "import.started": lambda story, fields, _at: _change_batch(
        story, "import_job", fields, files=int(fields.get("files", 0))
    ),
    "import.file_finished": _on_file_finished,
    "import.finished": lambda story, fields, _at: _change_batch(
        story, "import_job", fields, import_status=str(fields.get("status"))
    ),
    "run.started": lambda story, fields, _at: _change_batch(
        story, "import_job", fields, run=str(fields.get("run")), items=int(fields.get("items", 0))
    ),
    "run.item_progressed": _on_item_progressed,
    "run.item_waits": lambda story, fields, _at: replace(story, waiting=with_hint(fields)),
    "run.item_finished": _on_item_finished,
    "run.finished": lambda story, fields, _at: _change_batch(
        story, "run", fields, run_status=str(fields.get("status"))
    ),
    "export.started": lambda story, fields, _at: _change_batch(
        story, "run", fields, export=str(fields.get("export")), export_status="started"
    ),
    "export.finished": _on_export_finished,
    "export.failed": _on_export_failed,
    "job.failed": lambda story, fields, _at: _add_trouble(
        story, f"{fields.get('kind')} {fields.get('ref')}", "retried", fields
    ),
}
