"""Serve the API's description as JSON and as a page. It holds no secret and needs no key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from vvwatch.api.http.auth import PUBLIC, extension, resource_router
from vvwatch.api.openapi import reference

router = resource_router("description")
pages = APIRouter(include_in_schema=False)

_MEDIA_TYPE = "application/json"


@pages.get("/openapi.json")
@router.get("/openapi.json", response_model=dict[str, Any], **extension("The OpenAPI document", PUBLIC))
def get_description(request: Request) -> Response:
    """Return the OpenAPI document. `/docs` shows it as a page.

    Not a coroutine: building it takes a while and runs in a thread.
    """
    return Response(request.app.document_bytes, media_type=_MEDIA_TYPE)


@pages.get("/docs")
def show_description(request: Request) -> HTMLResponse:
    """Return the document as a page."""
    headers = {"Content-Security-Policy": reference.POLICY, "Referrer-Policy": "no-referrer"}
    return HTMLResponse(request.app.document_page, headers=headers | {"X-Content-Type-Options": "nosniff"})
