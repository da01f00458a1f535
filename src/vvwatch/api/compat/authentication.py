"""Check a key, and accept the activity notes of clients."""

from __future__ import annotations

from typing import Final

from fastapi import Response

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.wire import Resource
from vvwatch.core.keys import Scope

router = resource_router("authentication")


class Activity(Resource):
    """Tells clients that the server is awake."""

    accepted: bool
    wake_status: str
    reason: str


_AWAKE: Final = Activity(accepted=True, wake_status="ready", reason="this server does not sleep")


@router.get(
    "/auth/validate", status_code=204, response_class=Response, **require(Scope.SEARCH, counted=False)
)
async def validate() -> None:
    """Return 204 for a valid key."""


@router.post("/auth/processing-activity", **require(Scope.SEARCH, counted=False))
async def note_activity() -> Activity:
    """Accept a client's announcement of work. The body is ignored: this server needs no waking."""
    return _AWAKE
