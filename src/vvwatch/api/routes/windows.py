"""Windows: what gathers now, what has gathered before, and how a person steers what gathers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Final, Literal, TypeVar

import sqlalchemy as sa
from fastapi import Depends, Query, Request

from vvwatch.api.http.auditing import Audit, Audited
from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.errors import NotFound
from vvwatch.store.db.database import Tx
from vvwatch.store.watching import window_queries
from vvwatch.store.watching import windows as steering
from vvwatch.workflow.watching.windows import announce_closed

_WINDOW: Final = "/indexes/{index_id}/automations/import/window"

T = TypeVar("T")

router = resource_router("windows")


class Window(Resource):
    """A window; it has become an import job when it is closed.

    `reason` is `quiet`, `max_wait`, `full`, `manual` or `resumed`. `due_at` is when it closes (or closed) if nothing
    more arrives; one that is `held` does not close by itself.
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
    """An open window: it closes when nothing came until `quiet_at`, at `latest_at`, or with `max_objects`."""

    quiet_at: str | None
    latest_at: str | None
    max_objects: int


class CurrentWindow(Resource):
    """The window that gathers new objects now; null when nothing has arrived since the last one closed."""

    window: OpenWindow | None


async def name_missing_automation(request: Request, index_id: str) -> AsyncIterator[None]:
    """Names what an index lacks as a person would: automations are reached through their index."""
    try:
        yield
    except NotFound as error:
        if error.resource != "automation":
            raise
        kind = "import" if "/automations/import" in request.scope["path"] else "export"
        what = f"index {index_id!r} has no {kind} automation"
        raise ApiError(404, "resource_automation_not_found", what, error.hint) from error


_BY_INDEX: Final = [Depends(name_missing_automation)]


def _to_fields(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "window_id": row.id,
        "automation_id": row.automation_id,
        "index_id": row.index_id,
        "import_job_id": row.import_job_id,
        "state": row.state,
        "held": row.held and row.state == "open",
        "object_count": row.object_count,
        "size_bytes": row.size_bytes,
        "opened_at": to_iso(row.opened_at),
        "last_change_at": to_iso(row.last_change_at),
        "due_at": to_iso(row.due_at),
        "reason": row.reason,
        "closed_at": to_iso(row.closed_at),
    }


def to_open_window(row: sa.Row[Any]) -> OpenWindow:
    """The open window as it is answered."""
    return OpenWindow(
        **_to_fields(row),
        quiet_at=to_iso(row.last_change_at + row.quiet_seconds),
        latest_at=to_iso(row.opened_at + row.max_wait_seconds),
        max_objects=row.max_objects,
    )


@router.get("/windows", **extension("Windows, newest first"))
async def list_windows(
    context: Context,
    state: Annotated[Literal["open", "closed"] | None, Query()] = None,
    index_id: Annotated[str | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[OpenWindow | Window]:
    """Windows of all automations, newest first."""
    found = await context.database.read(
        window_queries.list_newest, state=state, index_id=index_id, limit=limit
    )
    return [to_open_window(row) if row.state == "open" else Window(**_to_fields(row)) for row in found]


@router.get(_WINDOW, dependencies=_BY_INDEX, **extension("The window that is open now"))
async def get_open_window(context: Context, index_id: str) -> CurrentWindow:
    """What has gathered for the next import job of an index, and when it is due."""
    row = await context.database.read(window_queries.find_open_of_index, index_id)
    return CurrentWindow(window=None if row is None else to_open_window(row))


@router.post(f"{_WINDOW}/fire", dependencies=_BY_INDEX, **extension("Close the open window now"))
async def fire_window(context: Context, audited: Audited, index_id: str) -> Window:
    """Close the window that is open, held or not: what has gathered becomes an import job at once."""
    row, closed = await _steer(audited, steering.fire_open_window, index_id)
    report_closed(context, closed)
    return Window(**_to_fields(row))


@router.post(f"{_WINDOW}/hold", dependencies=_BY_INDEX, **extension("Keep the window open"))
async def hold_window(context: Context, audited: Audited, index_id: str) -> OpenWindow:
    """Keep the window open, whatever its deadline, until it is released or fired; new objects go on joining it."""
    row, changed = await _steer(audited, steering.hold_window, index_id)
    if changed:
        context.telemetry.emit("window.held", automation=row.automation_id, window=row.id)
    return to_open_window(row)


@router.post(f"{_WINDOW}/release", dependencies=_BY_INDEX, **extension("Let a held window close again"))
async def release_window(context: Context, audited: Audited, index_id: str) -> OpenWindow:
    """Let the deadline of a held window count again; when it has passed, the window closes at once."""
    row, changed = await _steer(audited, steering.release_window, index_id)
    if changed:
        context.telemetry.emit("window.released", automation=row.automation_id, window=row.id)
    return to_open_window(row)


async def _steer(audited: Audit, steer: Callable[[Tx, str], T], index_id: str) -> tuple[sa.Row[Any], T]:
    return await audited.write(
        lambda tx: window_queries.steer_window(tx, steer, index_id),
        lambda done: done[0].id if done[1] else None,
    )


def report_closed(context: ApiContext, closed: steering.ClosedWindow) -> None:
    """Tell of a window that a person closed."""
    announce_closed(context.telemetry, closed)
