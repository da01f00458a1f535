"""List every index with its automations."""

from __future__ import annotations

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import Resource
from vvwatch.api.routes.automations import status_of
from vvwatch.core.keys import Scope
from vvwatch.store.models.watching import AutomationState
from vvwatch.store.watching.automation_queries import IndexAutomations, list_index_automations

router = resource_router("automations")


class AutomationSummary(Resource):
    """An automation of an index: `active`, `paused` or `disabled`."""

    automation_id: str
    index_id: str
    status: str


class IndexSummary(Resource):
    """An index and its automations; null if it has none."""

    index_id: str
    index_name: str
    import_automation: AutomationSummary | None
    export_automation: AutomationSummary | None


@router.get("/automations", **extension("Every index and its automations", Scope.READ))
async def list_automations(context: Context) -> list[IndexSummary]:
    """List all indexes, oldest first, with the ids, names and states of their automations."""
    return [to_response(each) for each in await context.database.read(list_index_automations)]


def to_response(found: IndexAutomations) -> IndexSummary:
    """Return an index and its automations as a response."""
    return IndexSummary(
        index_id=found.index.id,
        index_name=found.index.name,
        import_automation=_to_summary(found.importing),
        export_automation=_to_summary(found.exporting),
    )


def _to_summary(row: AutomationState | None) -> AutomationSummary | None:
    if row is None:
        return None
    return AutomationSummary(automation_id=row.id, index_id=row.index_id, status=status_of(row))
