"""What the API says of itself, to machines and to people. It holds no secret, so nobody needs a key for it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from vvwatch.api.http.auth import extension, resource_router
from vvwatch.api.openapi import reference

router = resource_router("description")
pages = APIRouter(include_in_schema=False)

_MEDIA_TYPE = "application/json"


@pages.get("/openapi.json")
@router.get("/openapi.json", response_model=dict[str, Any], **extension("This description"))
def get_description(request: Request) -> Response:
    """All routes, what they take and what they answer. `/docs` shows the same to people.

    Not a coroutine: describing everything takes a while, so it is left to a thread.
    """
    return Response(request.app.document_bytes, media_type=_MEDIA_TYPE)


@pages.get("/docs")
def show_description(request: Request) -> HTMLResponse:
    """The description as a page."""
    headers = {"Content-Security-Policy": reference.POLICY, "Referrer-Policy": "no-referrer"}
    return HTMLResponse(request.app.document_page, headers=headers | {"X-Content-Type-Options": "nosniff"})
