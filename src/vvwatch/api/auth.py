"""Who may do what. Each route's scope stands in one table and is checked before all else.

A request without a sufficient key learns nothing: not whether a resource exists, nor whether its body is sound.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError

from vvwatch.api.context import ApiContext
from vvwatch.api.errors import REFUSALS, ApiError
from vvwatch.core.keys import Scope, allows, digest, valid_format
from vvwatch.errors import StoreError
from vvwatch.store import keys

PREFIX: Final = "/api/v2"
PUBLIC: Final = None
"""The scope of a route that needs no key."""

SCOPES: Final[Mapping[str, Scope | None]] = {
    "GET /indexes": Scope.SEARCH,
    "POST /indexes": Scope.WRITE,
    "GET /indexes/{index_id}": Scope.SEARCH,
    "GET /indexes/{index_id}/videos": Scope.READ,
    "GET /indexes/{index_id}/prompt-runs": Scope.READ,
    "GET /indexes/{index_id}/automations/import": Scope.READ,
    "PUT /indexes/{index_id}/automations/import": Scope.WRITE,
    "POST /indexes/{index_id}/automations/import/pause": Scope.WRITE,
    "POST /indexes/{index_id}/automations/import/resume": Scope.WRITE,
    "POST /indexes/{index_id}/automations/import/scan": Scope.WRITE,
    "GET /indexes/{index_id}/automations/import/window": Scope.READ,
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
    "GET /prompts": Scope.READ,
    "POST /prompts": Scope.WRITE,
    "GET /prompts/{prompt_id}": Scope.READ,
    "GET /videos/{video_id}": Scope.READ,
    "GET /import-jobs": Scope.READ,
    "GET /import-jobs/{job_id}": Scope.READ,
    "GET /import-jobs/{job_id}/files": Scope.READ,
    "GET /import-jobs/{job_id}/outputs": Scope.READ,
    "POST /import-jobs/{job_id}/retry": Scope.WRITE,
    "POST /import-jobs/{job_id}/files/{file_id}/retry": Scope.WRITE,
    "GET /prompt-runs": Scope.READ,
    "GET /prompt-runs/{run_id}": Scope.READ,
    "GET /prompt-runs/{run_id}/results": Scope.READ,
    "GET /prompt-runs/{run_id}/videos/{video_id}/video-result": Scope.READ,
    "GET /exports": Scope.READ,
    "GET /exports/{export_id}": Scope.READ,
    "GET /exports/{export_id}/download": Scope.READ,
    "POST /exports/{export_id}/retry": Scope.WRITE,
    "GET /webhooks": Scope.READ,
    "POST /webhooks": Scope.WRITE,
    "GET /webhooks/events": PUBLIC,
    "GET /webhooks/deliveries/{delivery_id}": Scope.READ,
    "POST /webhooks/deliveries/{delivery_id}/retry": Scope.WRITE,
    "GET /webhooks/{webhook_id}": Scope.READ,
    "GET /webhooks/{webhook_id}/deliveries": Scope.READ,
    "GET /windows": Scope.READ,
    "GET /status": Scope.READ,
    "GET /explain": Scope.READ,
    "GET /api-keys": Scope.ADMIN,
    "POST /api-keys": Scope.ADMIN,
    "POST /api-keys/{key_id}/revoke": Scope.ADMIN,
}
"""Method and path of every route below `/api/v2`, and the least scope that it needs."""

_BEARER: Final = "bearer "


class ScopedRoute(APIRoute):
    """A route that asks for its scope before anything of the request but the headers is looked at."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        method = next(iter(options["methods"]))
        self.needed = SCOPES[f"{method} {path.removeprefix(PREFIX)}"]
        security: list[Any] = [{"ApiKey": []}, {"Bearer": []}] if self.needed else []
        extra = {"security": security, "x-scope": self.needed or "none"}
        options["openapi_extra"] = {**(options.get("openapi_extra") or {}), **extra}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler behind the check of its scope."""
        handle = super().get_route_handler()
        needed = self.needed

        async def guarded(request: Request) -> Response:
            if needed is not None:
                await authorize(request, needed)
            return await handle(request)

        return guarded


def resource_router(tag: str) -> APIRouter:
    """A router for one resource below `/api/v2`."""
    return APIRouter(prefix=PREFIX, tags=[tag], route_class=ScopedRoute, responses=REFUSALS)


def extension(summary: str) -> dict[str, Any]:
    """The options of a route that the v2 API does not have elsewhere."""
    return {"summary": summary, "openapi_extra": {"x-extension": True}}


async def authorize(request: Request, needed: Scope) -> None:
    """Raises ApiError: 401 without a valid key, 403 when its scopes do not reach to `needed`."""
    context: ApiContext = request.app.state.context
    row = await _key_row(context, _presented(request))
    if not allows(row.scopes, needed):
        raise ApiError(
            403,
            "authorization_insufficient_scope",
            f"this needs a key with the scope {needed.value!r}",
            f"the key has {', '.join(row.scopes) or 'no scopes'}; make another one with vvwatch keys",
        )
    if keys.is_use_worth_noting(row, context.clock.now()):
        with suppress(SQLAlchemyError, StoreError):  # a full disk must not keep the operator from looking
            await context.database.write(keys.note_use, row.id)


def _presented(request: Request) -> str:
    """The key that came with the request, or an empty string."""
    key = request.headers.get("x-api-key")
    if key is not None:
        return key.strip()
    authorization = request.headers.get("authorization", "")
    is_bearer = authorization[: len(_BEARER)].lower() == _BEARER
    return authorization[len(_BEARER) :].strip() if is_bearer else ""


async def _key_row(context: ApiContext, key: str) -> sa.Row[Any]:
    row = await context.database.read(keys.find, digest(key)) if valid_format(key) else None
    if row is None:
        raise ApiError(
            401,
            "authentication_invalid_api_key",
            "a valid API key is needed" if key else "an API key is needed",
            "send it as X-API-Key: sk_live_…",
        )
    return row
