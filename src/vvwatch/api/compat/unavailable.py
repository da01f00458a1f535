"""What other servers of this API can do and this one cannot: each such route says so, and what to do instead."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from vvwatch.api.http.auth import resource_router
from vvwatch.api.http.errors import ApiError, ErrorEnvelope

router = resource_router("not available")

_ONE: Final = ("GET", "POST")
_EVERY: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def model_required(what: str, hint: str) -> ApiError:
    """The refusal of `what` only a model can do. It is no 5xx: clients repeat those, in vain."""
    return ApiError(422, "model_not_configured", f"{what} needs a model, and no processor here does it", hint)


_STATUS: Final = {"model_not_configured": 422, "not_available": 404}
"""Code to status."""


class _Absent(NamedTuple):
    """A route that only refuses: how it is asked, what it would be for, and what there is instead."""

    methods: tuple[str, ...]
    path: str
    what: str
    hint: str
    code: str = "not_available"


def _requires_model(path: str, what: str, hint: str, methods: tuple[str, ...] = ("POST",)) -> _Absent:
    return _Absent(methods, path, what, hint, "model_not_configured")


_FILTER: Final = "POST /api/v2/search/filter/{index_id} finds by conditions on metadata"
_WRITE_IT: Final = "POST /api/v2/prompts takes a prompt that you write yourself"
_SEGMENTS: Final = "GET /api/v2/videos/{video_id}/segments has times; a player can show the pictures there"

_ABSENT: Final = (
    _requires_model("/workflow/define", "making a prompt from an instruction", _WRITE_IT),
    _requires_model("/prompts/generate", "making a prompt from an instruction", _WRITE_IT),
    _requires_model("/indexes/{index_id}/search", "a search by a query", _FILTER),
    _requires_model("/indexes/{index_id}/image-search", "a search by an image", _FILTER),
    _requires_model("/indexes/{index_id}/multimodal-search", "a search by text and image", _FILTER),
    _requires_model("/search/multi-run", "a search by a query", _FILTER),
    _requires_model("/playground/search", "a search by a query", _FILTER),
    _requires_model("/search/sql/{index_id}/generate", "making SQL from a question", _FILTER),
    _Absent(_ONE, "/search/sql/{rest:path}", "a search by SQL", _FILTER),
    _requires_model("/chat/{rest:path}", "a chat", _FILTER, _EVERY),
    _Absent(("GET",), "/videos/{video_id}/gif", "a moving preview", _SEGMENTS),
    _Absent(("GET",), "/videos/segments/{segment_id}/thumbnail", "a preview of a segment", _SEGMENTS),
    _Absent(
        ("GET", "POST", "PUT"), "/markers", "marking with a colour and a note", "markers are always empty"
    ),
    _Absent(_EVERY, "/markers/{rest:path}", "marking with a colour and a note", "markers are always empty"),
    _Absent(_ONE, "/billing/{rest:path}", "billing", "nothing is billed; GET /api/v2/usage has figures"),
    _Absent(
        _ONE, "/mcp/{rest:path}", "an MCP server", "run the MCP server beside this one, with its address"
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
        status: {"model": ErrorEnvelope, "description": f"Not here: {route.hint}"}
    }
    for method in route.methods:
        router.add_api_route(
            route.path,
            _refusal_handler(route),
            methods=[method],
            status_code=status,
            name=f"{method.lower()}_no_{'_'.join(re.findall('[a-z]+', route.path.replace(':path', '')))}",
            summary=f"Not here: {route.what}",
            description=f"Answers {status} only: {route.what} is not part of this server; {route.hint}.",
            responses=described,
        )


for _route in _ABSENT:
    _add_route(_route)
