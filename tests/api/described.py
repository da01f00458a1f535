"""Holds every answer that a test gets against the description of the API: its status must be told of there."""

from __future__ import annotations

import re
from typing import Any

import httpx

Routes = list[tuple[re.Pattern[str], dict[str, Any]]]

LET_FAIL = "/api/v2/indexes"
"""What tests let fail in ways that it never would by itself."""


class DescribedTransport(httpx.ASGITransport):
    """Asks an application, and looks up what its routes are said to answer."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        path, status = request.url.path, response.status_code
        methods = next((found for pattern, found in routes(self.app) if pattern.fullmatch(path)), {})
        told = methods.get(request.method.lower())
        if told is not None and status < 500 and path != LET_FAIL:
            assert str(status) in told["responses"], f"{request.method} {path}: {status}; see api/refusals.py"
        return response


_routes: Routes = []


def routes(app: Any) -> Routes:
    """Patterns of paths, those without parameters first, and what their methods are said to be; made once."""
    if not _routes:
        paths = sorted(app.openapi()["paths"].items(), key=lambda each: each[0].count("{"))
        _routes.extend((pattern_of(path), methods) for path, methods in paths)
    return _routes


def pattern_of(path: str) -> re.Pattern[str]:
    """Of the paths of one route."""
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
