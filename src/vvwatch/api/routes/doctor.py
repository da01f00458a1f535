"""The doctor: find problems, name the command that fixes each, repair event queues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Query

from vvwatch import ports
from vvwatch.api.http.auditing import Audited
from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import ApiContext, Context
from vvwatch.api.http.wire import Resource, to_iso
from vvwatch.core.keys import Scope
from vvwatch.ports import SourceHealth
from vvwatch.ports.processing import Examinable
from vvwatch.store.catalog import catalog
from vvwatch.store.models.catalog import Connector
from vvwatch.workflow.upkeep.examination import Examiner, Found, Health

router = resource_router("doctor")

ConnectorId = Annotated[str | None, Query(description="only this connector and what uses it")]
_WORST_FIRST: Final = ("problem", "warning", "ok")


class Finding(Resource):
    """The result of one check.

    `about` is `host`, `database`, `node`, `processor`, `connector`, `queue`, `automation`, `webhook`, `receiver` (of
    alerts), `address` (of clients), or a failed `import_job`, `prompt_run`, `export` or `delivery`; `id` is that of the
    resource, for a queue its connector's. `state` is `ok`, `warning` or `problem`. `fix` is the command that fixes it.
    """

    about: str
    id: str
    subject: str
    state: str
    detail: str
    fix: str
    repairable: bool


class Examination(Resource):
    """All findings; `state` is the worst one."""

    state: str
    examined_at: str | None
    findings: Sequence[Finding]


class Repair(Examination):
    """Findings about event queues after the repair; `repaired` are those that it fixed."""

    repaired: Sequence[Finding]


@router.get(
    "/doctor", **extension("Examine everything", Scope.ADMIN, errors=("resource_connector_not_found",))
)
async def examine(context: Context, connector_id: ConnectorId = None) -> Examination:
    """Check the host, the database and everything the daemon talks to, without changing anything."""
    status = await context.status()
    found = await _create_examiner(context).examine(_read_health(status), connector_id)
    hosts = [] if connector_id else [*_pressure_findings(status.get("pressure")), *_address_findings(context)]
    return Examination(**_to_examination(context, [*hosts, *found]))


def _address_findings(context: ApiContext) -> list[Found]:
    """Return where URLs of API users may lead."""
    settings = context.settings
    policies = {"webhooks": settings.webhook_policy, "attachments": settings.attachment_policy}
    details = {
        table: ", ".join(["public addresses", *map(str, policy.allow_networks)])
        for table, policy in policies.items()
    }
    return [
        Found("host", "", ports.Finding(f"addresses of {table}", "ok", detail))
        for table, detail in details.items()
    ]


@router.post(
    "/doctor/repair",
    **extension("Repair event queues", Scope.ADMIN, errors=("resource_connector_not_found", "conflict")),
)
async def repair(context: Context, audited: Audited, connector_id: ConnectorId = None) -> Repair:
    """Repair notifications and queue policies, leaving other settings unchanged."""
    await audited.write(lambda tx: connector_id and catalog.get_connector(tx, connector_id), _id_of)
    done = await _create_examiner(context).repair(connector_id)
    return Repair(**_to_examination(context, done.found), repaired=_to_findings(done.mended))


def _id_of(connector: Connector | str | None) -> str:
    return getattr(connector, "id", "")


def _create_examiner(context: ApiContext) -> Examiner:
    state_dir = context.settings.state_dir
    parts = {**context.processors, **context.dependencies}
    able = {name: each for name, each in parts.items() if isinstance(each, Examinable)}
    alerts = context.alerts
    receivers = {name: partial(alerts.examine, name) for name in alerts.receivers} if alerts else {}
    opening = context.storages, context.queues, state_dir
    return Examiner(context.database, context.clock, *opening, processors=able, receivers=receivers)


def _pressure_findings(pressure: dict[str, Any] | None) -> list[Found]:
    """Return the finding for a connection limit that was reached recently."""
    if pressure is None:
        return []
    return [Found("host", "", ports.Finding("connections", "warning", pressure["what"], pressure["hint"]))]


def _read_health(status: dict[str, Any]) -> Health:
    return Health(*(_to_health(status.get(name) or {}) for name in ("sources", "queues")))


def _to_health(sources: dict[str, dict[str, Any]]) -> dict[str, SourceHealth]:
    return {name: SourceHealth(**health) for name, health in sources.items()}


def _to_examination(context: ApiContext, found: Iterable[Found]) -> dict[str, Any]:
    findings = _to_findings(found)
    states = {finding.state for finding in findings}
    worst = next((state for state in _WORST_FIRST if state in states), "ok")
    return {"state": worst, "examined_at": to_iso(context.clock.now()), "findings": findings}


def _to_findings(found: Iterable[Found]) -> list[Finding]:
    return [Finding.of(each.finding, about=each.about, id=each.id) for each in found]
