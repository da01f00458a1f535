"""Describe an object's state in an index in one sentence, including what only time, people or other versions explain.

It waits for a person, settles, was missed by a full scan, is gone, or its store cannot be listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vvwatch.api.http.wire import to_iso
from vvwatch.api.routes.automations import status_of
from vvwatch.api.routes.object_state import Here
from vvwatch.core.filters import Reason, Verdict, explain_reason
from vvwatch.core.imports import FileStatus
from vvwatch.core.objects import StorageObject
from vvwatch.core.versions import is_same_version
from vvwatch.store.models.imports import ImportFile, Trouble
from vvwatch.store.models.runs import ItemWithRun
from vvwatch.store.watching.explain_queries import IndexRecord, VersionRecord

_UNFILLED: Final = "it is mostly unwritten holes (it is imported an hour after its last change)"
_PROOFS: Final = {
    "sweeps": "two full scans in a row did not find it",
    "person": "a person confirmed that missing objects are deleted",
    "event": "an event reported its removal, and a check confirmed it",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds for the object in every index. `exists` None: the store does not say."""

    now: float
    obj: StorageObject | None
    exists: bool | None
    import_mode: str
    own_export_id: str | None


def describe_object(facts: Facts, here: Here, verdict: Verdict | None, index: IndexRecord) -> str:
    """Return the sentence, without a full stop."""
    index = _drop_stale_observation(facts, index)
    if facts.own_export_id is not None:
        return summarize(facts, verdict, index)
    life = find_version(facts, index)
    if life is None:
        return _describe_unrecorded(facts, here, verdict, index) or summarize(facts, verdict, index)
    reasons = _why_waiting(index, life) or _why_left_out(index, life) or summarize(facts, verdict, index)
    return reasons + _why_held_back(index, life) + _why_missed(facts, life)


def _drop_stale_observation(facts: Facts, index: IndexRecord) -> IndexRecord:
    """Drop an observation of another version than the one at the key."""
    seen = index.observation
    if seen is None or facts.obj is None or not seen.version:
        return index
    return index if is_same_version(seen.version, facts.obj.version) else replace(index, observation=None)


def _why_waiting(index: IndexRecord, life: VersionRecord) -> str | None:
    """Return why an open window does not close for reasons other than new arrivals."""
    window = life.window
    overtaken = life.file is not None and life.file.version != life.version
    if window is None or window.state != "open" or overtaken:
        return None
    if window.held:
        return f"it waits in window {window.id}, which is held until a person releases or fires it"
    if index.automation is not None and status_of(index.automation) != "active":
        return f"it waits in window {window.id}, and the automation is {status_of(index.automation)}"
    return None


def _why_left_out(index: IndexRecord, life: VersionRecord) -> str | None:
    """Return why a known version was not imported, if another version or the automation explains it."""
    others = [*index.versions, *index.gone]
    if life.job_id is not None:
        return None
    if any(other.job_id is not None for other in others):
        return f"not imported: {explain_reason(Reason.NEW_ONLY_KNOWN_KEY)}"
    if index.automation is not None and not index.automation.process_existing:
        return f"not imported: {explain_reason(Reason.EXISTING)}"
    return None


def _why_held_back(index: IndexRecord, life: VersionRecord) -> str:
    """Return that its results are not delivered because a person paused or disabled exports."""
    exporting = index.exporting
    if exporting is None or life.media is None or life.exports or status_of(exporting) == "active":
        return ""
    goes_on = f": `vvwatch resume {index.index_id} --exports` resumes them" if exporting.enabled else ""
    return f"; exports are {status_of(exporting)}, so its results are not delivered{goes_on}"


def _why_missed(facts: Facts, life: VersionRecord) -> str:
    if facts.exists is not False:
        return ""
    if life.absent_since is None:
        return "; the object does not exist now"
    since = to_iso(life.absent_since)
    return (
        f"; the full scan of {since} did not find it; if the next one does not either, it counts as deleted"
    )


def _describe_unrecorded(facts: Facts, here: Here, verdict: Verdict | None, index: IndexRecord) -> str | None:
    """Describe a version that is not in the ledger: gone, invisible or new; None if a rule explains it."""
    if facts.exists is not True and index.gone:
        return _describe_gone(facts, verdict, index)
    if facts.exists is not True and index.unimported is not None:
        return f"it was deleted before its import: skipped by import job {index.unimported.job_id}"
    if index.automation is None or verdict is None or not verdict.accepted or index.observation is not None:
        return None
    if facts.exists is None:
        return f"it would match, but whether it exists is unknown: {here.standing.error}"
    if here.irregular is not None:
        return f"not imported: {explain_reason(Reason(here.irregular.reason))} ({here.irregular.detail})"
    reasons: Sequence[Callable[[Facts, Here, IndexRecord], str | None]] = (
        _why_stopped,
        _why_key_known,
        _why_settling,
    )
    found = (reason(facts, here, index) for reason in reasons if facts.exists)
    return next(filter(None, found), None)


def _describe_gone(facts: Facts, verdict: Verdict | None, index: IndexRecord) -> str:
    last = index.gone[-1]
    before = summarize(replace(facts, obj=None), verdict, replace(index, versions=(last,)))
    return f"gone since {to_iso(last.gone_at)}: {_PROOFS.get(last.proof, last.proof)}; before that: {before}"


def _why_stopped(_: Facts, here: Here, index: IndexRecord) -> str | None:
    """Return why nothing is scanned, whatever the object is."""
    assert index.automation is not None  # noqa: S101  # checked by the caller
    if status_of(index.automation) != "active":
        return None
    if here.status == "disabled":
        return "it matches, but the connector is disabled"
    if index.automation.last_error:
        return f"it matches and is new, but the last scan failed: {index.automation.last_error}"
    return None


def _why_key_known(facts: Facts, _: Here, index: IndexRecord) -> str | None:
    """Only the first version of a key is imported, and there was one; a failed one does not count."""
    assert index.automation is not None  # noqa: S101  # checked by the caller
    mode = index.automation.import_mode_override or facts.import_mode
    lives = [*index.versions, *index.gone]
    known = any(life.file is None or life.file.status != FileStatus.FAILED for life in lives)
    return (
        f"not imported: {explain_reason(Reason.NEW_ONLY_KNOWN_KEY)}" if mode == "new_only" and known else None
    )


def _why_settling(facts: Facts, here: Here, index: IndexRecord) -> str | None:
    assert index.automation is not None  # noqa: S101  # checked by the caller
    if here.atomic or facts.obj is None or status_of(index.automation) != "active":
        return None
    if here.in_use:
        return f"not imported yet: a writer has it open, or {_UNFILLED}; {explain_reason(Reason.SETTLING)}"
    still_seconds = facts.now - facts.obj.changed_at
    settling = still_seconds < index.automation.settle_seconds
    return f"not imported yet: {explain_reason(Reason.SETTLING)}" if settling else None


def summarize(facts: Facts, verdict: Verdict | None, index: IndexRecord) -> str:
    """Return the sentence, without a full stop."""
    if facts.own_export_id is not None:
        return f"not imported: {explain_reason(Reason.OWN_OUTPUT)} ({facts.own_export_id})"
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
    if life.job_id is None:
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
    if life.window is None or (life.file is None and life.window.state == "closed"):
        job = f"import job {life.job_id}" if life.job_id else "an import job"
        return f"{job} created no media item of it; the reason is no longer kept"
    return f"it waits in window {life.window.id}, due at {to_iso(life.window.due_at)}"


def _describe_failures(item: ItemWithRun) -> str:
    """Return what its newest run could not process."""
    failed = item.failed_segment_count
    return f", but {failed:,} of {item.segment_count:,} segments failed" if failed else ""


def file_status(life: VersionRecord) -> str | None:
    """Return the status of its file; in an open window it waits for the import job."""
    if life.file is None or life.window is None or life.window.state == "closed":
        return None if life.file is None else life.file.status
    return FileStatus.WAITING


def _describe_file(file: ImportFile) -> str:
    why = file.message or file.reason or "the reason is unknown"
    if file.status == FileStatus.PENDING:
        return f"import job {file.job_id} will import it" + (f" again: {why}" if file.message else "")
    return f"{file.status} by import job {file.job_id}: {why}"


def _describe_retries(trouble: Trouble | None) -> str:
    if trouble is None:
        return ""
    again = f"retried {trouble.tries} times, " if trouble.tries else ""
    return f"; {again}next at {to_iso(trouble.retry_at)}"


def _why_not_imported(verdict: Verdict | None, index: IndexRecord) -> str:
    if index.automation is None or verdict is None:
        return "no automation of this index watches the connector"
    if not verdict.accepted:
        detail = f" ({verdict.detail})" if verdict.detail else ""
        return f"not imported: {explain_reason(verdict.reason)}{detail}"
    if index.observation is not None:
        return f"not imported: {index.observation.detail or index.observation.reason}"
    if status_of(index.automation) != "active":
        return f"it matches, but the automation is {status_of(index.automation)}"
    return f"it matches and is new; the next scan is due at {to_iso(index.automation.next_at)}"
