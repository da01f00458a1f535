"""Summarize an object's state in an index in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vvwatch.api.http.wire import to_iso
from vvwatch.api.routes.automations import status_of
from vvwatch.core.filters import Reason, Verdict, explain
from vvwatch.core.imports import FileStatus
from vvwatch.core.objects import StorageObject
from vvwatch.core.versions import is_same_version
from vvwatch.store.watching.explain_queries import IndexRecord, VersionRecord


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds for the object in every index. `exists` None: the store does not say."""

    now: float
    obj: StorageObject | None
    exists: bool | None
    import_mode: str
    own_export_id: str | None


def summarize(facts: Facts, verdict: Verdict | None, index: IndexRecord) -> str:
    """Return the sentence, without a full stop."""
    if facts.own_export_id is not None:
        return f"not imported: {explain(Reason.OWN_OUTPUT)} ({facts.own_export_id})"
    recorded = find_version(facts, index)
    if recorded is not None:
        return _describe_stage(recorded)
    if facts.exists is False and index.observation is None:
        return "no object has this key, and none was seen before"
    return _why_not_imported(verdict, index)


def find_version(facts: Facts, index: IndexRecord) -> VersionRecord | None:
    """Return the version that is at the key now, or the last known one if that is unknown."""
    if facts.obj is None:
        return index.versions[-1] if index.versions else None
    return next((life for life in index.versions if is_same_version(life.version, facts.obj.version)), None)


def _describe_stage(life: VersionRecord) -> str:
    if life.window is None and life.file is None and life.media is None:
        return (
            "not imported: it existed before the automation began, is one of vvwatch's exports, "
            "or is a later version under import mode new_only"
        )
    if life.window is not None and life.file is not None and life.file.version != life.version:
        return f"a newer version replaced it before window {life.window.id} closed"
    if life.media is not None:
        media = life.media.row
        lacks = _describe_failures(life.media.items[0]) if life.media.items else ""
        return f"imported as {media.id} by {media.import_job_id}; it is {media.status}{lacks}"
    if life.file is not None and file_status(life) != FileStatus.WAITING:
        return _describe_file(life.file) + _describe_retries(life.trouble)
    assert life.window is not None  # noqa: S101  # without a window, the file does not wait
    if life.file is None and life.window.state == "closed":
        return f"import job {life.window.import_job_id} created no media item of it; the reason is no longer kept"
    return f"it waits in window {life.window.id}, due at {to_iso(life.window.due_at)}"


def _describe_failures(item: sa.Row[Any]) -> str:
    """Return what its newest run could not process."""
    failed = item.failed_segment_count
    return f", but {failed:,} of {item.segment_count:,} segments failed" if failed else ""


def file_status(life: VersionRecord) -> str | None:
    """Return the status of its file; in an open window it waits for the import job."""
    if life.file is None or life.window is None or life.window.state == "closed":
        return None if life.file is None else life.file.status
    return FileStatus.WAITING


def _describe_file(file: sa.Row[Any]) -> str:
    why = file.message or file.reason or "the reason is unknown"
    if file.status == FileStatus.PENDING:
        return f"import job {file.job_id} will import it" + (f" again: {why}" if file.message else "")
    return f"{file.status} by import job {file.job_id}: {why}"


def _describe_retries(trouble: sa.Row[Any] | None) -> str:
    if trouble is None:
        return ""
    again = f"retried {trouble.tries} times, " if trouble.tries else ""
    return f"; {again}next at {to_iso(trouble.retry_at)}"


def _why_not_imported(verdict: Verdict | None, index: IndexRecord) -> str:
    if index.automation is None or verdict is None:
        return "no automation of this index watches the connector"
    if not verdict.accepted:
        detail = f" ({verdict.detail})" if verdict.detail else ""
        return f"not imported: {explain(verdict.reason)}{detail}"
    if index.observation is not None:
        return f"not imported: {index.observation.detail or index.observation.reason}"
    if status_of(index.automation) != "active":
        return f"it matches, but the automation is {status_of(index.automation)}"
    return f"it matches and is new; the next scan is due at {to_iso(index.automation.next_at)}"
