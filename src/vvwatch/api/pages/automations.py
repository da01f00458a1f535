"""Automations: the list of all, and one with its window, scans, exports and settings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query, Response

from vvwatch.api.http.wire import to_iso
from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.actions import ActionForm
from vvwatch.api.pages.lanes import Lane, build_lane
from vvwatch.api.pages.strips import describe_window, judge_window
from vvwatch.api.routes import attention as attention_routes
from vvwatch.api.routes.automation_list import IndexSummary, to_response
from vvwatch.api.routes.automations import (
    ExportAutomation,
    ImportAutomation,
    get_export_automation,
    get_import_automation,
)
from vvwatch.api.routes.scans import Reconcile, list_reconciles
from vvwatch.api.routes.status import to_automation
from vvwatch.api.routes.status_bodies import Attention, Watching
from vvwatch.core.keys import Scope
from vvwatch.errors import NotFound
from vvwatch.store.admin import status_queries as queries
from vvwatch.store.admin.lane_queries import Lanes, PastWindow, list_past_windows, read_lanes
from vvwatch.store.admin.status_queries import State
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.models.catalog import Index
from vvwatch.store.watching.automation_queries import join_automations

router = page_router()

_ON_ONE_PAGE: Final = 100
_REPORTS: Final = 10


@dataclass(frozen=True, slots=True)
class AutomationList:
    """One page of all indexes and their automations."""

    rows: Sequence[IndexSummary]
    found: int
    number: int
    pages: int
    words: str
    may_create: bool


@dataclass(frozen=True, slots=True)
class WindowRow:
    """A past window in words; `kind` is that of its tick."""

    kind: str
    title: str
    opened_at: str | None
    job_id: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Controls:
    """The actions that the session's key may do now; None where there is nothing to do."""

    pause: ActionForm | None
    scan: ActionForm | None
    accept_missing: ActionForm | None
    fire: ActionForm | None
    hold: ActionForm | None
    pause_exports: ActionForm | None


@dataclass(frozen=True, slots=True)
class AutomationView:
    """One automation."""

    lane: Lane
    settings: ImportAutomation
    watching: Watching | None
    exports: ExportAutomation | None
    reports: Sequence[Reconcile]
    windows: Sequence[WindowRow]
    attention: Sequence[Attention]
    controls: Controls
    may_edit: bool


@router.get("/automations")
async def show_automations(
    page: Page,
    q: Annotated[str, Query(max_length=200)] = "",
    number: Annotated[int, Query(ge=1, le=1_000_000, alias="page")] = 1,
) -> Response:
    """List all indexes with their automations."""
    found = await page.context.database.read(_list, q.lower().split(), number)
    view = AutomationList(*found, q, page.may(Scope.WRITE))
    return await page.render("automations.html", view, "Automations")


def _list(tx: Tx, words: Sequence[str], number: int) -> tuple[Sequence[IndexSummary], int, int, int]:
    """Return a page of the indexes that match, how many do, the number of the page and of all pages."""
    found = [row for row in catalog.list_indexes(tx) if _matches(row, words)]
    pages = max(1, -(-len(found) // _ON_ONE_PAGE))
    number = min(number, pages)
    shown = join_automations(tx, found[(number - 1) * _ON_ONE_PAGE : number * _ON_ONE_PAGE])
    return [to_response(each) for each in shown], len(found), number, pages


def _matches(row: Index, words: Sequence[str]) -> bool:
    text = f"{row.name} {row.id}".lower()
    return all(word in text for word in words)


@router.get("/automations/{automation_id}")
async def show_automation(page: Page, automation_id: str) -> Response:
    """Show one automation."""
    view = await load_automation(page, automation_id)
    return await page.render("automation.html", view, view.lane.name)


async def load_automation(page: PageRequest, automation_id: str) -> AutomationView:
    """Return what the page of an automation shows. Raises NotFound."""
    context = page.context
    daemon = await context.status()
    since = attention_routes.recent_since(context.clock.now())
    found, lanes, past = await context.database.read(_read, automation_id, since)
    row = found.automations[0]
    settings = await get_import_automation(context, row.index_id)
    exports = None
    with suppress(NotFound):
        exports = await get_export_automation(context, row.index_id)
    status = to_automation(row, found, daemon)
    return AutomationView(
        lane=build_lane(page, row, status, found.windows.get(row.id), lanes),
        settings=settings,
        watching=status.watching,
        exports=exports,
        reports=await list_reconciles(context, row.index_id, _REPORTS),
        windows=[_to_row(each) for each in past],
        attention=_list_attention(found, daemon, row.id),
        controls=_find_controls(page, settings, exports, found),
        may_edit=page.may(Scope.WRITE) and not settings.declared,
    )


def _read(tx: Tx, automation_id: str, since: float) -> tuple[State, Lanes, Sequence[PastWindow]]:
    found = queries.read_state(tx, since, [automation_id], most_failures=0)
    if not found.automations:
        raise NotFound("automation", automation_id)
    return found, read_lanes(tx, found.automations), list_past_windows(tx, automation_id)


def _to_row(window: PastWindow) -> WindowRow:
    return WindowRow(
        judge_window(window),
        describe_window(window),
        to_iso(window.opened_at),
        window.import_job_id if window.job_status else "",
        window.run_id,
    )


def _list_attention(found: State, daemon: dict[str, Any], automation_id: str) -> list[Attention]:
    return [
        each
        for each in attention_routes.list_attention(found, daemon)
        if each.attention_id == automation_id and each.kind in {"automation", "source"}
    ]


def _find_controls(
    page: PageRequest, settings: ImportAutomation, exports: ExportAutomation | None, found: State
) -> Controls:
    index = settings.index_id
    window = found.windows.get(settings.automation_id)
    active, doubted = settings.status == "active", found.automations[0].doubt is not None
    steer = None if window is None else "release-window" if window.held else "hold-window"
    exporting = exports is not None and exports.enabled
    steer_exports = "resume-export" if exports is not None and exports.paused else "pause-export"
    return Controls(
        pause=page.action("pause-import" if not settings.paused else "resume-import", index_id=index),
        scan=page.action("scan", index_id=index) if active else None,
        accept_missing=page.action("accept-missing", {"accept_missing": "true"}, index_id=index)
        if active and doubted
        else None,
        fire=None if window is None else page.action("fire-window", index_id=index),
        hold=None if steer is None else page.action(steer, index_id=index),
        pause_exports=page.action(steer_exports, index_id=index) if exporting else None,
    )
