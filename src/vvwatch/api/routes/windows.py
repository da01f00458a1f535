"""Windows: new objects that gather for the next import job, and their control."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final, Literal, TypeVar

from fastapi import Depends, Query, Request

from vvwatch.api.http.auditing import Audit, Audited
from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.core.keys import Scope
from vvwatch.errors import NotFound
from vvwatch.store.db.database import Tx
from vvwatch.store.models.watching import WindowWithPolicy
from vvwatch.store.watching import window_queries
from vvwatch.store.watching import windows as steering
from vvwatch.workflow.watching.windows import announce_closed

_WINDOW: Final = "/indexes/{index_id}/automations/import/window"

T = TypeVar("T")

router = resource_router("windows")


class Window(Resource):
    """A window; when closed, it has become an import job.

    `reason` is `quiet`, `max_wait`, `full`, `manual` or `resumed`. `due_at` is when it closes (or closed) if nothing
    more arrives; a `held` window stays open.
    """

    window_id: str
    automation_id: str
    index_id: str
    import_job_id: str
    state: str
    held: bool
    object_count: int
    size_bytes: int
    opened_at: str | None
    last_change_at: str | None
    due_at: str | None
    reason: str | None
    closed_at: str | None


class OpenWindow(Window):
    """An open window: it closes at `quiet_at` if nothing arrives, at `latest_at`, or with `max_objects`."""

    quiet_at: str | None
    latest_at: str | None
    max_objects: int


class CurrentWindow(Resource):
    """The window that gathers new objects; null if nothing has arrived since the last one closed."""

    window: OpenWindow | None


async def name_missing_automation(request: Request, index_id: str) -> AsyncIterator[None]:
    """Turn a missing automation into an error that names its index, by which clients address it."""
    try:
        yield
    except NotFound as error:
        if error.resource != "automation":
            raise
        kind = "import" if "/automations/import" in request.scope["path"] else "export"
        what = f"index {index_id!r} has no {kind} automation"
        raise ApiError(404, "resource_automation_not_found", what, error.hint) from error


_BY_INDEX: Final = [Depends(name_missing_automation)]


def _to_window(row: WindowWithPolicy) -> Window:
    return Window.of(row, window_id=row.id, held=row.held and row.state == "open")


def to_open_window(row: WindowWithPolicy) -> OpenWindow:
    """Return the open window as a response."""
    return OpenWindow.of(
        row,
        window_id=row.id,
        held=row.held and row.state == "open",
        quiet_at=to_iso(row.last_change_at + row.quiet_seconds),
        latest_at=to_iso(row.opened_at + row.max_wait_seconds),
    )


@router.get("/windows", **extension("Windows, newest first", Scope.READ))
async def list_windows(
    context: Context,
    state: Annotated[Literal["open", "closed"] | None, Query()] = None,
    index_id: Annotated[str | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[OpenWindow | Window]:
    """List the windows of all automations, newest first."""
    found = await context.database.read(
        window_queries.list_newest, state=state, index_id=index_id, limit=limit
    )
    return [to_open_window(row) if row.state == "open" else _to_window(row) for row in found]


@router.get(_WINDOW, dependencies=_BY_INDEX, **extension("The open window", Scope.READ))
async def get_open_window(context: Context, index_id: str) -> CurrentWindow:
    """Return the open window of an index: what has gathered, and when it closes."""
    row = await context.database.read(window_queries.find_open_of_index, index_id)
    return CurrentWindow(window=None if row is None else to_open_window(row))


@router.post(f"{_WINDOW}/fire", dependencies=_BY_INDEX, **extension("Close the open window now", Scope.WRITE))
async def fire_window(context: Context, audited: Audited, index_id: str) -> Window:
    """Close the open window, held or not: its objects become an import job at once."""
    row, closed = await _steer(audited, steering.fire_open_window, index_id)
    report_closed(context, closed)
    return _to_window(row)


@router.post(f"{_WINDOW}/hold", dependencies=_BY_INDEX, **extension("Keep the window open", Scope.WRITE))
async def hold_window(context: Context, audited: Audited, index_id: str) -> OpenWindow:
    """Hold the window open past its deadline until it is released or fired; new objects still join it."""
    row, changed = await _steer(audited, steering.hold_window, index_id)
    if changed:
        context.telemetry.emit("window.held", automation=row.automation_id, window=row.id)
    return to_open_window(row)


@router.post(f"{_WINDOW}/release", dependencies=_BY_INDEX, **extension("Release a held window", Scope.WRITE))
async def release_window(context: Context, audited: Audited, index_id: str) -> OpenWindow:
    """Release a held window; if its deadline has passed, it closes at once."""
    row, changed = await _steer(audited, steering.release_window, index_id)
    if changed:
        context.telemetry.emit("window.released", automation=row.automation_id, window=row.id)
    return to_open_window(row)


async def _steer(audited: Audit, steer: Callable[[Tx, str], T], index_id: str) -> tuple[WindowWithPolicy, T]:
    return await audited.write(
        lambda tx: window_queries.steer_window(tx, steer, index_id),
        lambda done: done[0].id if done[1] else None,
    )


def report_closed(context: ApiContext, closed: steering.ClosedWindow) -> None:
    """Log that a person closed a window."""
    announce_closed(context.telemetry, closed)
