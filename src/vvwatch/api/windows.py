"""Windows: what has gathered for the next import job, and why earlier ones closed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import Query

from vvwatch.api.auth import extension, resource_router
from vvwatch.api.context import Context
from vvwatch.api.wire import Resource, moment
from vvwatch.store.queries import windows

router = resource_router("windows")


class Window(Resource):
    """A window. `reason` says why it closed: quiet, max_wait, full, manual or resumed."""

    window_id: str
    automation_id: str
    index_id: str
    import_job_id: str
    state: str
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


def _columns(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "window_id": row.id,
        "automation_id": row.automation_id,
        "index_id": row.index_id,
        "import_job_id": row.import_job_id,
        "state": row.state,
        "object_count": row.object_count,
        "size_bytes": row.size_bytes,
        "opened_at": moment(row.opened_at),
        "last_change_at": moment(row.last_change_at),
        "due_at": moment(row.due_at),
        "reason": row.reason,
        "closed_at": moment(row.closed_at),
    }


def shown_open(row: sa.Row[Any]) -> OpenWindow:
    """The open window as it is answered."""
    return OpenWindow(
        **_columns(row),
        quiet_at=moment(row.last_change_at + row.quiet_seconds),
        latest_at=moment(row.opened_at + row.max_wait_seconds),
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
    found = await context.database.read(windows.newest, state=state, index_id=index_id, limit=limit)
    return [shown_open(row) if row.state == "open" else Window(**_columns(row)) for row in found]
