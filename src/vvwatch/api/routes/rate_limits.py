"""The rate limits of the requesting key and their usage. These requests do not count."""

from __future__ import annotations

from typing import Final

from fastapi import Request

from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.wire import USER_ID, Resource
from vvwatch.core.keys import Scope
from vvwatch.core.rate_limits import Meter

router = resource_router("rate limits")

_PLAN_ID: Final = "self_hosted"
_CATEGORY: Final = "api"


class Category(Resource):
    """The key's usage in this minute and hour; `reset_at` is in epoch seconds."""

    minute_used: int
    minute_limit: int
    minute_remaining: int
    hour_used: int
    hour_limit: int
    hour_remaining: int
    reset_at: int


class RateLimits(Resource):
    """The limits of the requesting key; without limits, no category."""

    user_id: str
    plan_id: str
    categories: dict[str, Category]


@router.get("/rate-limit/status", **require(Scope.SEARCH, counted=False))
async def get_rate_limits(request: Request, context: Context) -> RateLimits:
    """Return what is left of the key's limits."""
    meter: Meter | None = request.app.state.meter
    found = (
        {} if meter is None else {_CATEGORY: _to_category(meter, request.state.key_id, context.clock.now())}
    )
    return RateLimits(user_id=USER_ID, plan_id=_PLAN_ID, categories=found)


@router.post("/rate-limit/refresh", **require(Scope.SEARCH, counted=False))
async def refresh_rate_limits(request: Request, context: Context) -> RateLimits:
    """Return the same: the limits are those of the server's configuration and always current."""
    return await get_rate_limits(request, context)


def _to_category(meter: Meter, key_id: str, now: float) -> Category:
    used, limits = meter.find_use(key_id, now), meter.limits
    return Category(
        minute_used=used.in_minute,
        minute_limit=limits.per_minute,
        minute_remaining=max(0, limits.per_minute - used.in_minute),
        hour_used=used.in_hour,
        hour_limit=limits.per_hour,
        hour_remaining=max(0, limits.per_hour - used.in_hour),
        reset_at=used.reset_at(limits),
    )
