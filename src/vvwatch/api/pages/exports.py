"""Exports, and one export with its files and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Query, Response

from vvwatch.api.http.pagination import decode_cursor
from vvwatch.api.pages.access import Page, page_router
from vvwatch.api.pages.actions import Action, ActionForm, register_actions
from vvwatch.api.pages.lists import LISTED, After, Shown, to_listing, to_tabs
from vvwatch.api.routes.exports import Export, download_export, to_response
from vvwatch.core.exports import ExportStatus
from vvwatch.store.delivery import exports as export_store

router = page_router()

RETRY: Final = "retry-export"

register_actions(
    {RETRY: Action("POST", "/exports/{export_id}/retry", "Retry", "The export is built and delivered again.")}
)


@dataclass(frozen=True, slots=True)
class Download:
    """A part of an export that can be downloaded; times and sizes as in the API."""

    url: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ExportPage:
    """An export; `next_at` is its next attempt."""

    export: Export
    next_at: float | None
    downloads: Sequence[Download]
    retry: ActionForm | None


@router.get("/exports")
async def show_exports(page: Page, show: Shown = "", cursor: After = None) -> Response:
    """List exports, newest first."""
    rows = await page.context.database.read(
        export_store.list_newest, LISTED + 1, show=show, before_id=decode_cursor(cursor)
    )
    view = to_listing(rows, lambda row: row.id, cursor, to_tabs(show), {"show": show})
    return await page.render("exports.html", view, "Exports")


@router.get("/exports/{export_id}")
async def show_export(page: Page, export_id: str) -> Response:
    """Show an export."""
    row = await page.context.database.read(export_store.get, export_id)
    shown, address = to_response(row), f"/exports/{export_id}/download"
    view = ExportPage(
        export=shown,
        next_at=row.next_at if row.completed_at is None else None,
        downloads=[
            Download(f"{address}?part={each.number}", each.size_bytes, each.sha256)
            for each in shown.parts or ()
        ],
        retry=page.action(RETRY, export_id=export_id) if row.status == ExportStatus.FAILED else None,
    )
    return await page.render("export.html", view, f"Export {export_id}")


@router.get("/exports/{export_id}/download")
async def send_export(page: Page, export_id: str, part: Annotated[int, Query(ge=1)] = 1) -> Response:
    """Send a part of an export as the API does."""
    return await download_export(page.context, export_id, part)
