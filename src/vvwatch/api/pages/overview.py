"""The overview: what needs attention, and one lane for each automation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query, Response

from vvwatch.api.pages.access import Page, PageRequest, page_router
from vvwatch.api.pages.lanes import Lane, build_lane
from vvwatch.api.routes.attention import UNHEALTHY, list_attention, recent_since
from vvwatch.api.routes.status import to_automation
from vvwatch.api.routes.status_bodies import Attention
from vvwatch.store.admin import status_queries as queries
from vvwatch.store.admin.attention import MOST_ON_PAGES
from vvwatch.store.admin.lane_queries import Lanes, read_lanes
from vvwatch.store.admin.overview_queries import Candidate, list_candidates
from vvwatch.store.admin.status_queries import State
from vvwatch.store.db.database import Tx

router = page_router()

ON_ONE_PAGE: Final = 25
_MOST_ATTENTION: Final = 5

_MOST_TROUBLED: Final = 50

_LINKS: Final = {
    "automation": "/automations/",
    "source": "/automations/",
    "import_job": "/jobs/",
    "prompt_run": "/runs/",
    "export": "/exports/",
    "delivery": "/deliveries/",
    "webhook": "/deliveries?webhook_id=",
    "connector": "/connectors/",
}
"""Where the page of each kind is."""
_NOUNS: Final = {
    "import_jobs": ("import job", "import jobs"),
    "prompt_runs": ("prompt run", "prompt runs"),
    "exports": ("export", "exports"),
    "deliveries": ("delivery", "deliveries"),
}

_SHOWS: Final[Mapping[str, Callable[[Candidate], bool]]] = {
    "failing": lambda row: row.enabled and not row.paused and row.failing,
    "unproven": lambda row: row.enabled and row.unproven,
    "paused": lambda row: row.enabled and row.paused,
    "gathering": lambda row: row.gathering,
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
    """The automations on page `number` of `pages` of those that the filter leaves."""

    rows: Sequence[Candidate]
    number: int
    pages: int


@dataclass(frozen=True, slots=True)
class _Read:
    """What the database says: the numbers are of all automations, the state of those that matter here."""

    total: int
    active: int
    windows: int
    troubled: int
    chosen: Chosen
    state: State
    lanes: Lanes


@dataclass(frozen=True, slots=True)
class Overview:
    """The page. `links` leads from what needs attention to its page; `failed` counts by kind, up to `most_counted`."""

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
    more_problems: int
    links: Mapping[str, str]
    failed: Sequence[tuple[int, tuple[str, str]]]
    most_counted: int
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
    """Show the automations whose name, folder or connector contains `q`, at most 25 at once."""
    daemon = await page.context.status()
    since = recent_since(page.context.clock.now())
    asked = Filter(q, show if show in _SHOWS else "")
    found = await page.context.database.read(_read, since, asked, number, list_ailing(daemon))
    return await page.render("overview.html", _build(page, found, daemon, asked), "Overview")


def list_ailing(daemon: Mapping[str, Any]) -> list[str]:
    """Return the automations that do not hear of changes."""
    sources: Mapping[str, Any] = daemon.get("sources") or {}
    return [name for name, health in sources.items() if health["state"] in UNHEALTHY]


def _read(tx: Tx, since: float, asked: Filter, number: int, ailing: Sequence[str]) -> _Read:
    """Return what the page shows; of other automations, only those that need attention."""
    known = list_candidates(tx)
    chosen = _choose(known, asked, number)
    failing = [row.id for row in known if row.failing]
    wanted = {row.id for row in chosen.rows} | {*failing[:_MOST_TROUBLED], *ailing[:_MOST_TROUBLED]}
    state = queries.read_state(tx, since, sorted(wanted), _MOST_ATTENTION)
    shown = {row.id for row in chosen.rows}
    return _Read(
        total=len(known),
        active=sum(row.enabled and not row.paused for row in known),
        windows=sum(row.gathering for row in known),
        troubled=max(0, len(failing) - _MOST_TROUBLED),
        chosen=chosen,
        state=state,
        lanes=read_lanes(tx, [row for row in state.automations if row.id in shown]),
    )


def _build(page: PageRequest, read: _Read, daemon: dict[str, Any], asked: Filter) -> Overview:
    found, rows = read.state, {row.id: row for row in read.state.automations}
    attention = list_attention(found, daemon)
    listed = attention[:_MOST_ATTENTION]
    problems = sum(not each.dismissable for each in attention) + read.troubled
    database = daemon.get("database") or {}
    return Overview(
        version=daemon.get("version", ""),
        started_at=daemon.get("started_at"),
        database="writable" if database.get("writable", True) else "not writable",
        total=read.total,
        active=read.active,
        windows=read.windows,
        jobs=found.jobs.count,
        runs=found.runs.count,
        exports=found.exports.count,
        attention=listed,
        more_problems=max(0, problems - _MOST_ATTENTION),
        links={
            each.attention_id: _LINKS[each.kind] + each.attention_id for each in listed if each.kind in _LINKS
        },
        failed=[(count, _NOUNS[name]) for name, count in found.failures.counts.items() if count],
        most_counted=MOST_ON_PAGES,
        lanes=[
            build_lane(page, row, to_automation(row, found, daemon), found.windows.get(row.id), read.lanes)
            for row in (rows[each.id] for each in read.chosen.rows if each.id in rows)
        ],
        chosen=read.chosen,
        asked=asked,
    )


def _choose(known: Sequence[Candidate], asked: Filter, number: int) -> Chosen:
    words = asked.words.lower().split()
    rows = filter(_SHOWS[asked.show], known) if asked.show else known
    found = [row for row in rows if all(word in _text_of(row) for word in words)]
    pages = max(1, -(-len(found) // ON_ONE_PAGE))
    number = min(number, pages)
    return Chosen(found[(number - 1) * ON_ONE_PAGE : number * ON_ONE_PAGE], number, pages)


def _text_of(row: Candidate) -> str:
    return f"{row.index_name} {row.id} {row.index_id} {row.source_prefix} {row.connector_id}".lower()
