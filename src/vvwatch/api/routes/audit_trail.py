"""The audit trail: changes and refused requests."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.pagination import Cursor, Page, decode_cursor, to_page
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.core.keys import Scope
from vvwatch.store.admin import audit
from vvwatch.store.admin.audit import AuditFilter
from vvwatch.store.models.admin import AuditEntry as StoredEntry

router = resource_router("audit")


class AuditEntry(Resource):
    """A change, or equal refusals within an hour: `times` of them, from `at` to `last_at`.

    `actor` is the id of an API key, or `config` (the configuration file), `cli` (a command on the database) or `daemon`
    (the daemon itself); for a refusal it is empty unless the key is known. `action` is `index.created`, `key.revoked`,
    … or `request.refused`; `outcome` is `done` or `refused`. `route` is below `/api/v2`. `details` has the changed
    fields or the reason of a refusal, never secrets.
    """

    audit_id: str
    at: str | None
    last_at: str | None
    actor: str
    actor_name: str
    action: str
    outcome: str
    resource_id: str
    route: str
    request_id: str
    address: str
    times: int
    details: dict[str, Any]


@router.get("/audit", **extension("Who changed what, and who was refused", Scope.ADMIN))
async def list_audit(
    context: Context,
    actor: Annotated[str, Query(max_length=200, description="a key's id, or `config`, `cli`, `daemon`")] = "",
    action: Annotated[
        str, Query(max_length=100, description="`index.deleted`, or `index` for all actions on indexes")
    ] = "",
    resource_id: Annotated[str, Query(max_length=200, description="the id of the changed resource")] = "",
    since: Annotated[AwareDatetime | None, Query(description="from this time on")] = None,
    until: Annotated[AwareDatetime | None, Query(description="before this time")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
) -> Page[AuditEntry]:
    """List the audit trail, newest first. Entries are kept for `[retention] audit`."""
    wanted = AuditFilter(
        actor=actor,
        action=action,
        resource_id=resource_id,
        since=None if since is None else since.timestamp(),
        until=None if until is None else until.timestamp(),
    )
    rows = await context.database.read(audit.list_newest, wanted, decode_cursor(cursor), limit)
    return to_page(rows, limit, _to_response, lambda row: str(row.id))


def _to_response(row: StoredEntry) -> AuditEntry:
    at, last_at = to_iso(row.at), to_iso(row.last_at or row.at)
    return AuditEntry.of(row, audit_id=row.id, at=at, last_at=last_at, details=row.details or {})
