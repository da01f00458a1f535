"""Holds every answer that a test gets against the description of the API: its status must be told of there.

What was changed must have its entry in the audit trail, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import httpx2

from vvwatch.api.http.auditing import ACTIONS, RECORDED
from vvwatch.api.http.idempotency import REPLAYED

Routes = list[tuple[re.Pattern[str], dict[str, Any]]]

LET_FAIL = "/api/v2/indexes"
"""What tests let fail in ways that it never would by itself."""


_scope: ContextVar[Mapping[str, Any]] = ContextVar("scope")


class DescribedTransport(httpx2.ASGITransport):
    """Asks an application, and looks up what its routes are said to answer."""

    def __init__(self, app: Any, **options: Any) -> None:
        async def seen(scope: Any, receive: Any, send: Any) -> None:
            _scope.set(scope)
            await app(scope, receive, send)

        super().__init__(seen, **options)
        self.described = app

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        self._is_recorded(request, response)
        path, status = request.url.path, response.status_code
        methods = next((found for pattern, found in routes(self.described) if pattern.fullmatch(path)), {})
        told = methods.get(request.method.lower())
        if told is not None and status < 500 and path != LET_FAIL:
            assert str(status) in told["responses"], (
                f"{request.method} {path}: {status}; see api/openapi/responses.py"
            )
        return response

    @staticmethod
    def _is_recorded(request: httpx2.Request, response: httpx2.Response) -> None:
        scope = _scope.get()
        name = getattr(scope.get("route"), "scope_name", "")
        changed_nothing = REPLAYED in response.headers or "dry_run" in request.url.params
        if name in ACTIONS and response.status_code < 300 and not changed_nothing:
            assert RECORDED in scope, f"{name} has no entry in the audit trail"


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
