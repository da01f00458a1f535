"""Routes that only the hosted API implements: each refuses and names an alternative."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.errors import ApiError, ErrorEnvelope
from vvwatch.core.keys import Scope

router = resource_router("not available")

_ONE: Final = ("GET", "POST")
_EVERY: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def model_required(what: str, hint: str) -> ApiError:
    """Return the error for features that need a model. It is no 5xx: clients would retry in vain."""
    return ApiError(
        422, "model_not_configured", f"{what} needs a model, and no processor here provides it", hint
    )


_STATUS: Final = {"model_not_configured": 422, "not_available": 404}
"""Code to status."""


class _Absent(NamedTuple):
    """A route that always refuses: its methods, what it would do, and the alternative.

    It needs the scope that the real one would need: READ for GET, WRITE for others unless `scope` says otherwise.
    """

    methods: tuple[str, ...]
    path: str
    what: str
    hint: str
    code: str = "not_available"
    scope: Scope | None = None


def _requires_model(
    path: str,
    what: str,
    hint: str,
    methods: tuple[str, ...] = ("POST",),
    scope: Scope = Scope.SEARCH,
) -> _Absent:
    return _Absent(methods, path, what, hint, "model_not_configured", scope)


_FILTER: Final = "POST /api/v2/search/filter/{index_id} filters by metadata"
_WRITE_IT: Final = "write the prompt yourself and send it to POST /api/v2/prompts"
_STORYBOARD: Final = "GET /api/v2/videos/{video_id}/storyboard.vtt has still pictures and their times"

_ABSENT: Final = (
    _requires_model(
        "/workflow/define", "generating a prompt from an instruction", _WRITE_IT, scope=Scope.WRITE
    ),
    _requires_model(
        "/prompts/generate", "generating a prompt from an instruction", _WRITE_IT, scope=Scope.WRITE
    ),
    _requires_model("/indexes/{index_id}/image-search", "a search by image", _FILTER),
    _requires_model("/indexes/{index_id}/multimodal-search", "a search by text and image", _FILTER),
    _requires_model("/search/sql/{index_id}/generate", "generating SQL from a question", _FILTER),
    _requires_model("/chat/{rest:path}", "a chat", _FILTER, _EVERY),
    _Absent(("GET",), "/videos/{video_id}/gif", "an animated preview", _STORYBOARD),
    _Absent(
        ("GET", "POST", "PUT"), "/markers", "marking with a colour and a note", "markers are always empty"
    ),
    _Absent(_EVERY, "/markers/{rest:path}", "marking with a colour and a note", "markers are always empty"),
    _Absent(_ONE, "/billing/{rest:path}", "billing", "nothing is billed; GET /api/v2/usage has the usage"),
    _Absent(
        _ONE, "/mcp/{rest:path}", "an MCP server", "run an MCP server next to this one and point it here"
    ),
)


def _refusal_handler(route: _Absent) -> Callable[[], Awaitable[None]]:
    async def refuse() -> None:
        if route.code == "model_not_configured":
            raise model_required(route.what, route.hint)
        raise ApiError(
            _STATUS[route.code], route.code, f"{route.what} is not part of this server", route.hint
        )

    return refuse


def _add_route(route: _Absent) -> None:
    status = _STATUS[route.code]
    described: dict[int | str, Any] = {
        status: {"model": ErrorEnvelope, "description": f"Not available: {route.hint}"}
    }
    for method in route.methods:
        router.add_api_route(
            route.path,
            _refusal_handler(route),
            methods=[method],
            status_code=status,
            name=f"{method.lower()}_no_{'_'.join(re.findall('[a-z]+', route.path.replace(':path', '')))}",
            summary=f"Not available: {route.what}",
            description=f"Always answers {status}: {route.what} is not part of this server; {route.hint}.",
            responses=described,
            **require(route.scope or (Scope.READ if method == "GET" else Scope.WRITE)),
        )


for _route in _ABSENT:
    _add_route(_route)
