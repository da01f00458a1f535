"""Authorization: one table holds the scope of each route, and it is checked before anything else.

A request without a sufficient key learns nothing: neither whether a resource exists nor whether its body is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.params import Form
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError

from vvwatch.api.http.auditing import note_refusal
from vvwatch.api.http.bodies import check_values
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import HEADERS, REFUSALS, ApiError
from vvwatch.api.http.links import USES, is_admitted
from vvwatch.core.audit import Reason
from vvwatch.core.keys import Scope, allows_scope, digest_key, has_valid_format
from vvwatch.core.rate_limits import Meter
from vvwatch.errors import StoreError
from vvwatch.store.admin import keys
from vvwatch.store.models.admin import ApiKey

PREFIX: Final = "/api/v2"
PUBLIC: Final = None
"""The scope of a route that needs no key."""

SCOPES: Final[Mapping[str, Scope | None]] = {
    "GET /indexes": Scope.SEARCH,
    "POST /indexes": Scope.WRITE,
    "GET /indexes/{index_id}": Scope.SEARCH,
    "PATCH /indexes/{index_id}": Scope.WRITE,
    "DELETE /indexes/{index_id}": Scope.ADMIN,
    "GET /indexes/{index_id}/deletion": Scope.READ,
    "GET /indexes/{index_id}/videos": Scope.READ,
    "GET /indexes/{index_id}/prompt-runs": Scope.READ,
    "GET /automations": Scope.READ,
    "GET /reconciles": Scope.READ,
    "GET /indexes/{index_id}/automations/import": Scope.READ,
    "PUT /indexes/{index_id}/automations/import": Scope.WRITE,
    "POST /indexes/{index_id}/automations/import/pause": Scope.WRITE,
    "POST /indexes/{index_id}/automations/import/resume": Scope.WRITE,
    "POST /indexes/{index_id}/automations/import/scan": Scope.WRITE,
    "GET /indexes/{index_id}/automations/import/window": Scope.READ,
    "GET /indexes/{index_id}/automations/import/preview": Scope.READ,
    "GET /indexes/{index_id}/automations/import/reconciles": Scope.READ,
    "POST /indexes/{index_id}/automations/import/window/fire": Scope.WRITE,
    "POST /indexes/{index_id}/automations/import/window/hold": Scope.WRITE,
    "POST /indexes/{index_id}/automations/import/window/release": Scope.WRITE,
    "GET /indexes/{index_id}/automations/export": Scope.READ,
    "PUT /indexes/{index_id}/automations/export": Scope.WRITE,
    "POST /indexes/{index_id}/automations/export/pause": Scope.WRITE,
    "POST /indexes/{index_id}/automations/export/resume": Scope.WRITE,
    "GET /connectors": Scope.READ,
    "POST /connectors/local": Scope.WRITE,
    "POST /connectors/s3": Scope.WRITE,
    "POST /connectors/gcs": Scope.WRITE,
    "POST /connectors/azure": Scope.WRITE,
    "GET /connectors/{connector_id}": Scope.READ,
    "PATCH /connectors/{connector_id}": Scope.WRITE,
    "DELETE /connectors/{connector_id}": Scope.ADMIN,
    "POST /connectors/{connector_id}/test": Scope.WRITE,
    "POST /connectors/{connector_id}/browse": Scope.READ,
    "GET /connectors/{connector_id}/quarantine": Scope.READ,
    "GET /prompts": Scope.READ,
    "POST /prompts": Scope.WRITE,
    "POST /prompts/test-schema": Scope.WRITE,
    "GET /prompts/{prompt_id}": Scope.READ,
    "PUT /prompts/{prompt_id}": Scope.WRITE,
    "DELETE /prompts/{prompt_id}": Scope.ADMIN,
    "GET /prompts/{prompt_id}/usage": Scope.READ,
    "GET /processing/events/stream": Scope.READ,
    "POST /search/filter/playground": Scope.SEARCH,
    "POST /search/filter/{index_id}": Scope.SEARCH,
    "POST /workflow/search": Scope.SEARCH,
    "GET /workflow/search/page": Scope.SEARCH,
    "GET /workflow/runs/{run_id}/results": Scope.READ,
    "GET /usage": Scope.READ,
    "GET /usage/history": Scope.READ,
    "GET /usage/details": Scope.READ,
    "GET /usage/breakdown": Scope.READ,
    "GET /usage/metric-types": PUBLIC,
    "POST /workflow/define": Scope.WRITE,
    "POST /prompts/generate": Scope.WRITE,
    "POST /indexes/{index_id}/search": Scope.SEARCH,
    "POST /indexes/{index_id}/image-search": Scope.SEARCH,
    "POST /indexes/{index_id}/multimodal-search": Scope.SEARCH,
    "POST /search/multi-run": Scope.SEARCH,
    "POST /playground/search": Scope.SEARCH,
    "POST /search/sql/{index_id}/generate": Scope.SEARCH,
    "GET /search/sql/{rest}": Scope.SEARCH,
    "POST /search/sql/{rest}": Scope.SEARCH,
    "GET /chat/{rest}": Scope.SEARCH,
    "POST /chat/{rest}": Scope.SEARCH,
    "PUT /chat/{rest}": Scope.SEARCH,
    "PATCH /chat/{rest}": Scope.SEARCH,
    "DELETE /chat/{rest}": Scope.SEARCH,
    "GET /videos/{video_id}/gif": Scope.READ,
    "GET /videos/segments/{segment_id}/thumbnail": Scope.READ,
    "GET /markers": Scope.READ,
    "POST /markers": Scope.WRITE,
    "PUT /markers": Scope.WRITE,
    "GET /markers/{rest}": Scope.READ,
    "POST /markers/{rest}": Scope.WRITE,
    "PUT /markers/{rest}": Scope.WRITE,
    "PATCH /markers/{rest}": Scope.WRITE,
    "DELETE /markers/{rest}": Scope.WRITE,
    "GET /billing/{rest}": Scope.READ,
    "POST /billing/{rest}": Scope.WRITE,
    "GET /mcp/{rest}": Scope.READ,
    "POST /mcp/{rest}": Scope.WRITE,
    "GET /videos/{video_id}": Scope.READ,
    "DELETE /videos/{video_id}": Scope.ADMIN,
    "GET /videos/{video_id}/deletion": Scope.READ,
    "GET /videos/{video_id}/segments": Scope.READ,
    "GET /videos/{video_id}/prompt-runs": Scope.READ,
    "POST /videos/batch": Scope.READ,
    "POST /videos/batch/status": Scope.READ,
    "POST /videos/batch/segments": Scope.READ,
    "POST /videos": Scope.WRITE,
    "POST /videos/upload": Scope.WRITE,
    "POST /videos/signed-url": Scope.READ,
    "POST /videos/{video_id}/process": Scope.WRITE,
    "GET /playground/videos": Scope.READ,
    "POST /workflow/upload": Scope.WRITE,
    "POST /workflow/attachments": Scope.WRITE,
    "GET /import-jobs": Scope.READ,
    "GET /import-jobs/{job_id}": Scope.READ,
    "GET /import-jobs/{job_id}/files": Scope.READ,
    "GET /import-jobs/{job_id}/outputs": Scope.READ,
    "POST /import-jobs": Scope.WRITE,
    "POST /import-jobs/{job_id}/cancel": Scope.WRITE,
    "POST /import-jobs/{job_id}/retry": Scope.WRITE,
    "POST /import-jobs/{job_id}/files/{file_id}/retry": Scope.WRITE,
    "POST /prompt-runs/execute": Scope.WRITE,
    "POST /prompt-runs/estimate": Scope.READ,
    "GET /prompt-runs": Scope.READ,
    "GET /prompt-runs/{run_id}": Scope.READ,
    "POST /prompt-runs/{run_id}/cancel": Scope.WRITE,
    "GET /prompt-runs/{run_id}/results": Scope.READ,
    "GET /prompt-runs/{run_id}/failed-segments": Scope.READ,
    "GET /prompt-runs/{run_id}/llm-calls": Scope.READ,
    "GET /prompt-runs/{run_id}/videos/{video_id}/video-result": Scope.READ,
    "POST /prompt-runs/{run_id}/videos/{video_id}/segments/{segment_id}/retry": Scope.WRITE,
    "GET /prompt-runs/{run_id}/videos/{video_id}/segments/{segment_id}/retries/{retry_id}": Scope.READ,
    "POST /workflow/process": Scope.WRITE,
    "GET /exports": Scope.READ,
    "GET /exports/{export_id}": Scope.READ,
    "GET /media/{video_id}/content": Scope.READ,
    "POST /workflow/media-grants": Scope.READ,
    "POST /exports/index/{index_id}": Scope.WRITE,
    "POST /exports/prompt-run/{run_id}": Scope.WRITE,
    "GET /exports/{export_id}/download": Scope.READ,
    "POST /exports/{export_id}/download-url": Scope.READ,
    "POST /exports/{export_id}/retry": Scope.WRITE,
    "GET /processors": Scope.READ,
    "POST /processors/{processor_id}/resume": Scope.WRITE,
    "GET /webhooks": Scope.READ,
    "POST /webhooks": Scope.WRITE,
    "GET /webhooks/events": PUBLIC,
    "GET /webhooks/deliveries/{delivery_id}": Scope.READ,
    "POST /webhooks/deliveries/{delivery_id}/retry": Scope.WRITE,
    "GET /webhooks/{webhook_id}": Scope.READ,
    "PATCH /webhooks/{webhook_id}": Scope.WRITE,
    "DELETE /webhooks/{webhook_id}": Scope.ADMIN,
    "POST /webhooks/{webhook_id}/rotate-secret": Scope.WRITE,
    "POST /webhooks/{webhook_id}/test": Scope.WRITE,
    "GET /webhooks/{webhook_id}/deliveries": Scope.READ,
    "GET /windows": Scope.READ,
    "GET /status": Scope.READ,
    "POST /attention/{attention_id}/dismiss": Scope.WRITE,
    "GET /doctor": Scope.ADMIN,
    "POST /doctor/repair": Scope.ADMIN,
    "GET /audit": Scope.ADMIN,
    "GET /explain": Scope.READ,
    "GET /auth/validate": Scope.SEARCH,
    "POST /auth/processing-activity": Scope.SEARCH,
    "GET /rate-limit/status": Scope.SEARCH,
    "POST /rate-limit/refresh": Scope.SEARCH,
    "GET /api-keys": Scope.ADMIN,
    "POST /api-keys": Scope.ADMIN,
    "GET /api-keys/{key_id}": Scope.ADMIN,
    "DELETE /api-keys/{key_id}": Scope.ADMIN,
    "POST /api-keys/{key_id}/revoke": Scope.ADMIN,
    "POST /api-keys/{key_id}/rotate": Scope.ADMIN,
    "GET /openapi.json": PUBLIC,
}
"""Method and path of every route below `/api/v2`, and the lowest scope that it needs."""

UNCOUNTED: Final = frozenset(
    {
        "GET /auth/validate",
        "POST /auth/processing-activity",
        "GET /rate-limit/status",
        "POST /rate-limit/refresh",
    }
)
"""Routes about the key itself: any key opens them, and rate limits do not count them."""

_BEARER: Final = "bearer "


class ScopedRoute(APIRoute):
    """A route that checks the scope before it reads anything but the headers."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        method = next(iter(options["methods"]))
        name = f"{method} {path.removeprefix(PREFIX)}".replace(":path}", "}")
        self.scope_name = name
        self.needed = SCOPES[name]
        self.counted = name not in UNCOUNTED
        self.opened_by = USES.get(name)
        security: list[Any] = [{"ApiKey": []}, {"Bearer": []}] if self.needed else []
        extra = {"security": security, "x-scope": self.needed or "none"}
        options["openapi_extra"] = {**(options.get("openapi_extra") or {}), **extra}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler behind the scope check."""
        handle = super().get_route_handler()
        takes_json = self.body_field is not None and not isinstance(self.body_field.field_info, Form)

        async def guarded(request: Request) -> Response:
            if self.needed is not None and not await self._has_token(request):
                await authorize(request, self.needed, counted=self.counted)
            if takes_json:
                await check_values(request)
            return await handle(request)

        return guarded

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


def extension(summary: str) -> dict[str, Any]:
    """Return the options of a route that the hosted v2 API does not have."""
    return {"summary": summary, "openapi_extra": {"x-extension": True}}


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
    if keys.should_note_use(row, context.clock.now()):
        with suppress(SQLAlchemyError, StoreError):  # a full disk must not lock the operator out
            await context.database.write(keys.note_use, row.id)


def _count_request(request: Request, key_id: str, now: float) -> None:
    """Count a request against the key's limits and set the rate limit headers."""
    meter: Meter | None = request.app.state.meter
    if meter is None:
        return
    seconds = meter.take(key_id, now)
    used = meter.used(key_id, now)
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
    row = await context.database.read(keys.find_any, digest_key(key)) if has_valid_format(key) else None
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


def _rejection_reason(row: ApiKey | None, key: str, now: float) -> Reason | None:
    """Return why a key is rejected, None if it is active. The log and the audit trail have it; responses do not."""
    if row is None:
        return Reason.UNKNOWN_KEY if key else Reason.NO_KEY
    if row.revoked_at is not None:
        return Reason.REVOKED_KEY
    return None if keys.is_active(row, now) else Reason.EXPIRED_KEY
