"""Is this key good? And what clients say before they have media worked on."""

from __future__ import annotations

from typing import Final

from fastapi import Response

from vvwatch.api.http.auth import resource_router
from vvwatch.api.http.wire import Resource

router = resource_router("authentication")


class Activity(Resource):
    """That clients need not wait for anything to wake up."""

    accepted: bool
    wake_status: str
    reason: str


_AWAKE: Final = Activity(accepted=True, wake_status="ready", reason="this server does not sleep")


@router.get("/auth/validate", status_code=204, response_class=Response)
async def validate() -> None:
    """Nothing, for a key that is valid."""


@router.post("/auth/processing-activity")
async def note_activity() -> Activity:
    """Clients announce their work. Whatever they say, nothing depends on it, so it is not even read."""
    return _AWAKE
