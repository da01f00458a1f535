"""What the daemon is doing, in one answer."""

from __future__ import annotations

from typing import Any

from vvwatch.api.auth import extension, resource_router
from vvwatch.api.context import Context

router = resource_router("status")


@router.get("/status", **extension("What the daemon is doing"))
async def get_status(context: Context) -> dict[str, Any]:
    """Automations, windows, work in progress and what needs attention."""
    return await context.status()
