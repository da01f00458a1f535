"""The overview: what needs attention, and one lane for each automation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query, Response

from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.lanes import Lane, build_lane
from vvwatch.api.routes.attention import list_attention, recent_since
from vvwatch.api.routes.status import to_automation
from vvwatch.api.routes.status_bodies import Attention
from vvwatch.store.admin import status_queries as queries
from vvwatch.store.admin.lane_queries import Lanes, read_lanes
from vvwatch.store.admin.status_queries import State
from vvwatch.store.db.database import Tx
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
class Filter:
    """What the page was asked for; `query` is what links to its other pages repeat."""

    words: str
    show: str

    @property
    def query(self) -> str:
        """The filter as the beginning of a query."""
        given = {"q": self.words, "show": self.show}
        text = urlencode({name: value for name, value in given.items() if value})
        return f"{text}&" if text else ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The automations on page `number` of `pages`, of `found` that the filter leaves."""

    rows: Sequence[NamedAutomation]
    found: int
    number: int
    pages: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The page."""

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
    chosen: Chosen
    asked: Filter


@router.get("/")
async def show_overview(
    page: Page,
    q: Annotated[str, Query(max_length=200)] = "",
    show: Annotated[str, Query(max_length=20)] = "",
    number: Annotated[int, Query(ge=1, le=1_000_000, alias="page")] = 1,
) -> Response:
    """Show the automations whose name, folder or connector contains `q`, at most fifty at once."""
    daemon = await page.context.status()
    since = recent_since(page.context.clock.now())
    found, chosen, lanes = await page.context.database.read(_read, since, q, show, number)
    view = _build(page, found, daemon, chosen, lanes, Filter(q, show if show in _SHOWS else ""))
    return await page.render("overview.html", view, "Overview")


def _read(tx: Tx, since: float, query: str, show: str, number: int) -> tuple[State, Chosen, Lanes]:
    """Return the state of everything, and the lanes of the automations that the page shows."""
    found = queries.read_state(tx, since)
    rows = _choose(found, query, show)
    pages = max(1, -(-len(rows) // ON_ONE_PAGE))
    number = min(number, pages)
    shown = rows[(number - 1) * ON_ONE_PAGE : number * ON_ONE_PAGE]
    return found, Chosen(shown, len(rows), number, pages), read_lanes(tx, shown)


def _build(
    page: PageRequest, found: State, daemon: dict[str, Any], chosen: Chosen, lanes: Lanes, asked: Filter
) -> Overview:
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
        lanes=[
            build_lane(page, row, to_automation(row, found, daemon), found.windows.get(row.id), lanes)
            for row in chosen.rows
        ],
        chosen=chosen,
        asked=asked,
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
