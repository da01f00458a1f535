"""The overview: what needs attention, and one lane for each automation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query, Response

from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.actions import ActionForm
from vvwatch.api.routes.attention import list_attention, recent_since
from vvwatch.api.routes.status import to_automation
from vvwatch.api.routes.status_bodies import Attention, AutomationStatus
from vvwatch.store.admin import status_queries as queries
from vvwatch.store.admin.status_queries import State
from vvwatch.store.models.watching import NamedAutomation

router = page_router()

ON_ONE_PAGE: Final = 50
_MOST_ATTENTION: Final = 5

_SHOWS: Final[Mapping[str, Callable[[NamedAutomation], bool]]] = {
    "failing": lambda row: row.enabled and not row.paused and row.last_error is not None,
    "unproven": lambda row: row.enabled and row.doubt is not None,
    "paused": lambda row: row.enabled and row.paused,
    "gathering": lambda _row: True,
}


@dataclass(frozen=True, slots=True)
class Lane:
    """One automation and what is on its way."""

    automation: AutomationStatus
    fire: ActionForm | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The page: `lanes` are those of page `number` of `pages`, of `found` automations of `total`."""

    version: str
    started_at: float | None
    database: str
    total: int
    active: int
    windows: int
    jobs: int
    runs: int
    exports: int
    attention: Sequence[Attention]
    more_attention: int
    lanes: Sequence[Lane]
    found: int
    number: int
    pages: int
    query: str
    show: str


@router.get("/")
async def show_overview(
    page: Page,
    q: Annotated[str, Query(max_length=200)] = "",
    show: Annotated[str, Query(max_length=20)] = "",
    number: Annotated[int, Query(ge=1, le=1_000_000, alias="page")] = 1,
) -> Response:
    """Show the automations whose name, folder or connector contains `q`, at most fifty at once."""
    daemon = await page.context.status()
    found = await page.context.database.read(queries.read_state, recent_since(page.context.clock.now()))
    view = _build(page, found, daemon, q, show, number)
    return await page.render("overview.html", view, "Overview")


def _build(
    page: PageRequest, found: State, daemon: dict[str, Any], query: str, show: str, number: int
) -> Overview:
    chosen = _choose(found, query, show)
    pages = max(1, -(-len(chosen) // ON_ONE_PAGE))
    number = min(number, pages)
    shown = chosen[(number - 1) * ON_ONE_PAGE : number * ON_ONE_PAGE]
    attention = list_attention(found, daemon)
    database = daemon.get("database") or {}
    return Overview(
        version=daemon.get("version", ""),
        started_at=daemon.get("started_at"),
        database="writable" if database.get("writable", True) else "not writable",
        total=len(found.automations),
        active=sum(row.enabled and not row.paused for row in found.automations),
        windows=len(found.windows),
        jobs=found.jobs.count,
        runs=found.runs.count,
        exports=found.exports.count,
        attention=attention[:_MOST_ATTENTION],
        more_attention=max(0, len(attention) - _MOST_ATTENTION),
        lanes=[_to_lane(page, to_automation(row, found, daemon)) for row in shown],
        found=len(chosen),
        number=number,
        pages=pages,
        query=query,
        show=show if show in _SHOWS else "",
    )


def _choose(found: State, query: str, show: str) -> list[NamedAutomation]:
    rows: Iterable[NamedAutomation] = found.automations
    if show == "gathering":
        rows = (row for row in rows if row.id in found.windows)
    elif show in _SHOWS:
        rows = filter(_SHOWS[show], rows)
    words = query.lower().split()
    return [row for row in rows if all(word in _text_of(row) for word in words)]


def _text_of(row: NamedAutomation) -> str:
    return f"{row.index_name} {row.id} {row.index_id} {row.source_prefix} {row.connector_id}".lower()


def _to_lane(page: PageRequest, automation: AutomationStatus) -> Lane:
    fire = page.action("fire-window", index_id=automation.index_id) if automation.window is not None else None
    return Lane(automation, fire)
