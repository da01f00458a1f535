"""Windows: new objects gather in an automation's open window; when it closes, it becomes an import job.

A window held by a person does not close, even when full: objects keep joining it until it is released or fired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from vvwatch.core.objects import StorageObject
from vvwatch.core.windows import CloseReason, WindowPolicy, clamp_to_now, close_reason, due_at
from vvwatch.errors import Conflict
from vvwatch.ports import Job, Kind, Priority
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.typed import first_of, model_of
from vvwatch.store.models.watching import ImportAutomation, Window
from vvwatch.store.schema import import_automations, windows
from vvwatch.store.watching import ledger, manifests

_HELD_LOOK_SECONDS = 3_600.0  # every open window has a next look, so none is forgotten


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A window that became an import job."""

    window_id: str
    automation_id: str
    import_job_id: str
    reason: CloseReason
    object_count: int
    opened_at: float


@dataclass(frozen=True, slots=True)
class AcceptResult:
    """The result of offering objects: the window that the last one joined (None: nothing was new), how many joined
    (`changed` of them new versions of known keys), and the windows that they filled.
    """

    window_id: str | None
    opened: bool
    count: int
    due_at: float | None
    closed: tuple[ClosedWindow, ...] = ()
    changed: int = 0


NOTHING_ACCEPTED = AcceptResult(None, opened=False, count=0, due_at=None)


def guard_active(tx: Tx, automation_id: str, generation: int) -> ImportAutomation | None:
    """Guard and return the automation if it is active at this `generation`; otherwise None."""
    row = tx.guard(import_automations, automation_id)
    if row is None or not row.enabled or row.paused or row.generation != generation:
        return None
    return model_of(ImportAutomation, row)


@by_locks
def accept_objects(
    tx: Tx, automation_id: str, generation: int, found: Sequence[StorageObject]
) -> AcceptResult:
    """Record new objects in the ledger and the open window; open one if needed. Known objects are ignored.

    Takes nothing for an automation that was paused or edited in the meantime: its next scan decides.
    """
    automation = guard_active(tx, automation_id, generation)
    if automation is None:
        return NOTHING_ACCEPTED
    new = ledger.compare(tx, automation.scope_id, found)
    fresh, known = [*new.created, *new.modified], {obj.key for obj in new.modified}
    ledger.forget_observations(tx, automation_id, [obj.key for obj in fresh])
    result, closed = NOTHING_ACCEPTED, []
    for start in _split_by_room(tx, automation, len(fresh)):
        part = fresh[start]
        window, opened = _ensure_open_window(tx, automation)
        ledger.forget_superseded(
            tx, automation.scope_id, known.intersection(obj.key for obj in part), window.seq
        )
        ledger.record_versions(tx, automation.scope_id, part, window.seq)
        result, full = _add_to_window(tx, automation, window, part, opened=opened or result.opened)
        closed += [full] if full else []
    return replace(result, count=len(fresh), closed=tuple(closed), changed=len(new.modified))


def _split_by_room(tx: Tx, automation: ImportAutomation, count: int) -> Iterator[slice]:
    """Split `count` objects into slices that fit the open window and each window after it."""
    window = find_open_window(tx, automation.id)
    room = automation.max_objects - (window.object_count if window is not None else 0)
    if window is not None and window.held:
        room = count
    start = 0
    while start < count:
        yield slice(start, start + max(room, 1))
        start += max(room, 1)
        room = automation.max_objects


@by_locks
def acknowledge_objects(tx: Tx, automation_id: str, generation: int, found: Sequence[StorageObject]) -> int:
    """Record versions as known and not to be imported; return how many were new."""
    automation = guard_active(tx, automation_id, generation)
    if automation is None:
        return 0
    new = ledger.compare(tx, automation.scope_id, found)
    fresh = [*new.created, *new.modified]
    if fresh:
        ledger.record_versions(tx, automation.scope_id, fresh, ledger.NOT_IMPORTED)
    return len(fresh)


def _ensure_open_window(tx: Tx, automation: ImportAutomation) -> tuple[Window, bool]:
    found = find_open_window(tx, automation.id)
    if found is not None:
        return found, False
    tx.insert(
        windows,
        id=tx.new_id("win"),
        automation_id=automation.id,
        import_job_id=tx.new_id("job"),
        opened_at=tx.now,
        last_change_at=tx.now,
        due_at=tx.now,
    )
    row = find_open_window(tx, automation.id)
    assert row is not None  # noqa: S101  # inserted one statement ago
    return row, True


def find_open_window(tx: Tx, automation_id: str) -> Window | None:
    """Return and lock the automation's open window; None without one."""
    its_open = windows.c.automation_id == automation_id, windows.c.state == "open"
    return first_of(Window, tx.execute(sa.select(windows).where(*its_open).with_for_update()))


def _add_to_window(
    tx: Tx, automation: ImportAutomation, window: Window, fresh: list[StorageObject], *, opened: bool
) -> tuple[AcceptResult, ClosedWindow | None]:
    """Add objects to the window; a full window closes at once."""
    count, size = manifests.add_files(tx, window.import_job_id, fresh, first_ordinal=window.object_count)
    opened_at, _ = clamp_to_now(window.opened_at, window.last_change_at, tx.now)
    total = window.object_count + count
    due = due_at(policy_of(automation), opened_at, tx.now, total)
    tx.update(
        windows,
        window.id,
        opened_at=opened_at,
        last_change_at=tx.now,
        object_count=total,
        size_bytes=window.size_bytes + size,
        due_at=due,
    )
    result = AcceptResult(window.id, opened, len(fresh), due)
    if window.held:
        return result, None
    if total >= automation.max_objects:
        job = Job(Kind.WINDOW, window.id, window.revision, tx.now)
        return result, _close_window(tx, job, automation, CloseReason.FULL)
    if window.next_at is None or due < window.next_at:  # the planned job finds a later deadline
        tx.nudge(Kind.WINDOW, window, due)
    return result, None


def policy_of(automation: ImportAutomation) -> WindowPolicy:
    """Return the automation's window policy."""
    return WindowPolicy(automation.quiet_seconds, automation.max_wait_seconds, automation.max_objects)


@by_locks
def close_due(tx: Tx, job: Job) -> ClosedWindow | None:
    """Close the window if it is due, not held and its automation is active; otherwise look again when due."""
    found = tx.current(job)
    if found is None or found.state != "open":
        return None
    automation = lock_automation(tx, found.automation_id)
    row = tx.current(job)  # as it is now that nothing can join it
    if row is None or row.state != "open":
        return None
    window = model_of(Window, row)
    if not automation.enabled or automation.paused:
        tx.claim(job)
        return None
    if window.held:
        _postpone_held(tx, job)
        return None
    opened_at, last_change_at = clamp_to_now(window.opened_at, window.last_change_at, tx.now)
    reason = close_reason(
        policy_of(automation),
        opened_at=opened_at,
        last_change_at=last_change_at,
        object_count=window.object_count,
        now=tx.now,
    )
    if reason is None:
        _postpone_close(tx, job, automation, opened_at, last_change_at)
        return None
    return _close_window(tx, job, automation, _check_resumed(reason, window, automation))


def _check_resumed(reason: CloseReason, window: Window, automation: ImportAutomation) -> CloseReason:
    """Return RESUMED if the deadline passed while the automation was inactive, else `reason`."""
    resumed = automation.updated_at is not None and window.due_at < automation.updated_at
    return CloseReason.RESUMED if resumed else reason


def _postpone_close(
    tx: Tx, job: Job, automation: ImportAutomation, opened_at: float, last_change_at: float
) -> None:
    row = tx.claim(job, opened_at=opened_at, last_change_at=last_change_at)
    if row is not None:
        due = due_at(policy_of(automation), opened_at, last_change_at, row.object_count)
        tx.update(windows, row.id, due_at=due)
        tx.enqueue(Kind.WINDOW, row.id, row.revision, due)


def _postpone_held(tx: Tx, job: Job) -> None:
    row = tx.claim(job)
    if row is not None:
        tx.enqueue(Kind.WINDOW, row.id, row.revision, tx.now + _HELD_LOOK_SECONDS)


def fire_window(tx: Tx, window_id: str) -> ClosedWindow | None:
    """Close an open window now, held or not; None if it is closed already."""
    window = tx.first(sa.select(windows).where(windows.c.id == window_id, windows.c.state == "open"))
    if window is None:
        return None
    job = Job(Kind.WINDOW, window_id, window.revision, tx.now)
    return _close_window(tx, job, lock_automation(tx, window.automation_id), CloseReason.MANUAL)


def fire_open_window(tx: Tx, automation_id: str) -> ClosedWindow:
    """Fire the automation's open window.

    Raises Conflict if no window is open or the automation is not active.
    """
    automation, window = _lock_open_window(tx, automation_id)
    if not automation.enabled or automation.paused:
        state = "paused" if automation.enabled else "disabled"
        what = f"automation {automation.id!r} is {state}: its window stays open"
        raise Conflict(what, "resume or enable it")
    closed = fire_window(tx, window.id)
    assert closed is not None  # noqa: S101  # its row is locked
    return closed


def hold_window(tx: Tx, automation_id: str) -> bool:
    """Hold the automation's open window until it is released or fired; False if it is held already.

    Raises Conflict if no window is open.
    """
    _, window = _lock_open_window(tx, automation_id)
    if not window.held:
        tx.update(windows, window.id, held=True)
        tx.nudge(Kind.WINDOW, window, tx.now + _HELD_LOOK_SECONDS)  # a job that is about to close it is stale
    return not window.held


def release_window(tx: Tx, automation_id: str) -> bool:
    """Release a held window; if its deadline has passed, it closes at once. False if it is not held.

    Raises Conflict if no window is open.
    """
    _, window = _lock_open_window(tx, automation_id)
    if window.held:
        tx.update(windows, window.id, held=False)
        tx.nudge(Kind.WINDOW, window, tx.now, Priority.MANUAL)
    return window.held


def close_before_move(tx: Tx, automation_id: str) -> ClosedWindow | None:
    """Close the open window before the automation changes its connector, even if held or inactive: its objects are
    not at the next connector. None without an open window.
    """
    lock_automation(tx, automation_id)
    window = find_open_window(tx, automation_id)
    return None if window is None else fire_window(tx, window.id)


def reschedule_window(tx: Tx, automation_id: str) -> None:
    """Apply an edited policy to the open window. A deadline that has passed stays: it gives the reason to close."""
    automation = lock_automation(tx, automation_id)
    window = find_open_window(tx, automation_id)
    if window is not None and window.due_at > tx.now:
        moments = clamp_to_now(window.opened_at, window.last_change_at, tx.now)
        due = due_at(policy_of(automation), *moments, window.object_count)
        tx.update(windows, window.id, due_at=max(due, tx.now))


def _lock_open_window(tx: Tx, automation_id: str) -> tuple[ImportAutomation, Window]:
    """Lock and return the automation and its open window. Raises Conflict without one."""
    automation = lock_automation(tx, automation_id)
    window = find_open_window(tx, automation_id)
    if window is None:
        what = f"no window of automation {automation_id!r} is open"
        raise Conflict(what, "one opens with the next new object")
    return automation, window


def lock_automation(tx: Tx, automation_id: str) -> ImportAutomation:
    """Guard and return the automation: nothing joins its open window before this transaction ends."""
    automation = tx.guard(import_automations, automation_id)
    assert automation is not None  # noqa: S101  # a foreign key keeps it
    return model_of(ImportAutomation, automation)


def _close_window(tx: Tx, job: Job, automation: ImportAutomation, reason: CloseReason) -> ClosedWindow | None:
    row = tx.claim(job, state="closed", reason=reason, closed_at=tx.now)
    if row is None:
        return None
    window = model_of(Window, row)
    manifests.create_import_job(tx, automation, window)
    tx.update(
        import_automations,
        automation.id,
        last_triggered_at=tx.now,
        last_import_job_id=window.import_job_id,
    )
    return ClosedWindow(
        window.id, automation.id, window.import_job_id, reason, window.object_count, window.opened_at
    )
