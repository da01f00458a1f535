"""Authorization: each route states the scope that it needs, and it is checked before anything else.

A request without a sufficient key learns nothing: neither whether a resource exists nor whether its body is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.params import Form
from fastapi.routing import APIRoute

from vvwatch.api.http.auditing import note_refusal
from vvwatch.api.http.bodies import check_values
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import HEADERS, REFUSALS, ApiError
from vvwatch.api.http.links import USES, is_admitted
from vvwatch.core.audit import Reason
from vvwatch.core.keys import Scope, allows_scope, digest_key, has_valid_format
from vvwatch.core.rate_limits import Meter
from vvwatch.store.admin import keys
from vvwatch.store.models.admin import ApiKey

PREFIX: Final = "/api/v2"
PUBLIC: Final = None
"""The scope of a route that needs no key."""

SESSION_KEY: Final = "vvwatch.session_key"
"""The scope key of a key's id and `created_at`, set by pages that call the API for a session; no request can set it."""

_BEARER: Final = "bearer "


class ScopedRoute(APIRoute):
    """A route that checks the scope before it reads anything but the headers."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Raises TypeError for a route without `require` or `extension` in its decorator."""
        method = next(iter(options["methods"]))
        stated = options.get("openapi_extra") or {}
        self.scope_name = f"{method} {path.removeprefix(PREFIX)}".replace(":path}", "}")
        if "x-scope" not in stated:
            raise TypeError(f"{self.scope_name} states no scope: add **require(Scope.READ) to its decorator")
        self.needed = PUBLIC if stated["x-scope"] == "none" else Scope(stated["x-scope"])
        self.counted = "x-uncounted" not in stated
        self.opened_by = USES.get(self.scope_name)
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler behind the scope check."""
        handle = super().get_route_handler()
        takes_json = self.body_field is not None and not isinstance(self.body_field.field_info, Form)

        async def check_and_handle(request: Request) -> Response:
            if self.needed is not None and not await self._has_token(request):
                await authorize(request, self.needed, counted=self.counted)
            if takes_json:
                await check_values(request)
            return await handle(request)

        return check_and_handle

    async def _has_token(self, request: Request) -> bool:
        """Return whether the request has no key but a token for this resource."""
        if self.opened_by is None or _presented_key(request):
            return False
        try:
            return await is_admitted(request, self.opened_by)
        except ApiError as error:
            raise note_refusal(request, Reason.LINK, error) from None


def resource_router(tag: str) -> APIRouter:
    """Return a router for one resource below `/api/v2`."""
    return APIRouter(prefix=PREFIX, tags=[tag], route_class=ScopedRoute, responses=REFUSALS)


def require(
    scope: Scope | None, *, errors: Sequence[str] = (), counted: bool = True, **described: Any
) -> dict[str, Any]:
    """Return the options of a route that needs a key with `scope`, or none if it is PUBLIC.

    `errors` are the codes of errors that do not follow from the route's parameters and body. The rate limits do not
    count a route that is not `counted`. `described` goes into the OpenAPI document.
    """
    security: list[Any] = [{"ApiKey": []}, {"Bearer": []}] if scope else []
    stated = {"security": security, "x-scope": scope or "none", **described}
    if errors:
        stated["x-errors"] = errors
    if not counted:
        stated["x-uncounted"] = True
    return {"openapi_extra": stated}


def extension(summary: str, scope: Scope | None, *, errors: Sequence[str] = ()) -> dict[str, Any]:
    """Return the options of a route that the hosted v2 API does not have; as `require`."""
    return {"summary": summary, **require(scope, errors=errors, **{"x-extension": True})}


async def authorize(request: Request, needed: Scope, *, counted: bool = True) -> None:
    """Authenticate the request (sets `request.state.key_id` and `key_created_at`) and count it.

    Raises ApiError: 401 without a valid key, 403 if its scopes do not include `needed`, 429 over the rate limit.
    """
    context: ApiContext = request.app.state.context
    row = await _check_key(request, _presented_key(request))
    if not allows_scope(row.scopes, needed):
        error = ApiError(
            403,
            "authorization_insufficient_scope",
            f"this needs a key with the scope {needed.value!r}",
            f"the key has {', '.join(row.scopes) or 'no scopes'}; create another one with vvwatch keys",
        )
        raise note_refusal(request, Reason.SCOPE, error)
    request.state.key_created_at = row.created_at
    if counted:
        _count_request(request, row.id, context.clock.now())
    await note_use(context, row)


async def note_use(context: ApiContext, row: ApiKey) -> None:
    """Store that the key was used now, at most once a minute."""
    if keys.should_note_use(row, context.clock.now()):
        with suppress(Exception):  # a full disk must not lock the operator out
            await context.database.write(keys.note_use, row.id)


def _count_request(request: Request, key_id: str, now: float) -> None:
    """Count a request against the key's limits and set the rate limit headers."""
    meter: Meter | None = request.app.state.meter
    if meter is None:
        return
    seconds = meter.take(key_id, now)
    used = meter.find_use(key_id, now)
    request.scope[HEADERS] = {
        "X-RateLimit-Limit": str(meter.limits.per_minute),
        "X-RateLimit-Remaining": str(used.remaining(meter.limits)),
        "X-RateLimit-Reset": str(used.reset_at(meter.limits)),
    }
    if seconds:
        hint = "the server's [api] requests_per_minute and requests_per_hour set the limits of each key"
        error = ApiError(
            429, "rate_limit_exceeded", f"too many requests: wait for {seconds} s", hint, seconds
        )
        raise note_refusal(request, Reason.RATE_LIMIT, error)


def has_key(request: Request) -> bool:
    """Return whether the request carries a key, valid or not."""
    return bool(_presented_key(request))


def _presented_key(request: Request) -> str:
    """Return the request's key, or an empty string."""
    key = request.headers.get("x-api-key")
    if key is not None:
        return key.strip()
    authorization = request.headers.get("authorization", "")
    is_bearer = authorization[: len(_BEARER)].lower() == _BEARER
    return authorization[len(_BEARER) :].strip() if is_bearer else ""


async def _check_key(request: Request, key: str) -> ApiKey:
    """Return the row of the request's active key. Raises ApiError (401)."""
    context: ApiContext = request.app.state.context
    row = await _find_key(request, key)
    if row is not None:
        request.state.key_id, request.state.key_name = row.id, row.name
    reason = _rejection_reason(row, key, context.clock.now())
    if row is None or reason is not None:
        error = ApiError(
            401,
            "authentication_invalid_api_key",
            "a valid API key is needed" if key else "an API key is needed",
            "send it as X-API-Key: sk_live_…",
        )
        raise note_refusal(request, reason or Reason.UNKNOWN_KEY, error)
    return row


async def _find_key(request: Request, key: str) -> ApiKey | None:
    context: ApiContext = request.app.state.context
    if (held := request.scope.get(SESSION_KEY)) is not None:
        return await context.database.read(keys.find_by_id, *held)
    return await context.database.read(keys.find_any, digest_key(key)) if has_valid_format(key) else None


async def check_key(request: Request, key: str) -> ApiKey:
    """Return the row of an active key that `request` presents in another place than its headers. Raises ApiError."""
    return await _check_key(request, key.strip())


def _rejection_reason(row: ApiKey | None, key: str, now: float) -> Reason | None:
    """Return why a key is rejected, None if it is active. The log and the audit trail have it; responses do not."""
    if row is None:
        return Reason.UNKNOWN_KEY if key else Reason.NO_KEY
    if row.revoked_at is not None:
        return Reason.REVOKED_KEY
    return None if keys.is_active(row, now) else Reason.EXPIRED_KEY
