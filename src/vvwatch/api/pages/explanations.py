"""Why an object was or was not imported, processed, exported and announced: every step from listing to delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Response

from vvwatch.api.pages.access import Page, page_router
from vvwatch.api.routes.explain import Explanation, explain_object

router = page_router()


@dataclass(frozen=True, slots=True)
class ExplanationPage:
    """The object that was asked about, and its history; None before anything was asked."""

    uri: str
    connector_id: str
    key: str
    explanation: Explanation | None


@router.get("/explain")
async def show_explanation(
    page: Page,
    uri: Annotated[str, Query(max_length=8192)] = "",
    connector_id: Annotated[str, Query(max_length=200)] = "",
    key: Annotated[str, Query(max_length=4096)] = "",
) -> Response:
    """Show the history of an object, given by its address or by a connector and a key."""
    asked = uri or (connector_id and key)
    found = (
        await explain_object(page.context, uri or None, connector_id or None, key or None) if asked else None
    )
    view = ExplanationPage(uri, connector_id, key, found)
    return await page.render("explain.html", view, "Explain an object")
