"""Windows of all automations: what gathers now, and what became of earlier ones."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Query, Response

from vvwatch.api.http.pagination import decode_number
from vvwatch.api.pages.access import Page, page_router
from vvwatch.api.pages.lists import LISTED, After, to_listing, to_tabs
from vvwatch.store.watching import window_queries

router = page_router()

_STATES: Final = (("", "All"), ("open", "Open"), ("closed", "Closed"))


@router.get("/windows")
async def show_windows(
    page: Page, state: Annotated[Literal["", "open", "closed"], Query()] = "", cursor: After = None
) -> Response:
    """List windows, newest first."""
    before = decode_number(cursor)
    rows = await page.context.database.read(
        window_queries.list_newest, state=state or None, index_id=None, limit=LISTED + 1, before_seq=before
    )
    tabs = to_tabs(state, "state", _STATES)
    view = to_listing(rows, lambda row: row.seq, cursor, tabs, {"state": state})
    return await page.render("windows.html", view, "Windows")
