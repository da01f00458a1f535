"""API keys. The hosted service lets only signed-in operators at them; here a key with the scope `admin` may."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import Field

from vvwatch.api.auth import extension, resource_router
from vvwatch.api.context import Context
from vvwatch.api.wire import Body, Resource, Visible, moment
from vvwatch.core.keys import Scope
from vvwatch.store import keys

router = resource_router("api keys")

_DAY_SECONDS: Final = 86_400.0
_RANDOM_BYTES: Final = 24

Scopes = Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1, max_length=len(Scope))]


class ApiKeyBody(Body):
    """A new key."""

    name: Annotated[str, Field(min_length=1, max_length=100), Visible]
    scopes: Scopes = Field(default_factory=lambda: [Scope.READ])
    expires_in_days: Annotated[int, Field(ge=1, le=365)] | None = None


class ApiKey(Resource):
    """A key without itself: of it only the beginning is known."""

    key_id: str
    key_prefix: str
    name: str
    scopes: list[str]
    created_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    expires_at: str | None
    is_active: bool


class NewApiKey(ApiKey):
    """A key, shown this once."""

    key: str


def _columns(row: sa.Row[Any], now: float) -> dict[str, Any]:
    return {
        "key_id": row.id,
        "key_prefix": row.key_prefix,
        "name": row.name,
        "scopes": row.scopes,
        "created_at": moment(row.created_at),
        "last_used_at": moment(row.last_used_at),
        "revoked_at": moment(row.revoked_at),
        "expires_at": moment(row.expires_at),
        "is_active": keys.is_active(row, now),
    }


@router.post("/api-keys", status_code=201, **extension("Make an API key"))
async def create_api_key(context: Context, body: ApiKeyBody) -> NewApiKey:
    """Make a key. The answer alone shows it."""
    now, days = context.clock.now(), body.expires_in_days
    expires_at = None if days is None else now + days * _DAY_SECONDS
    scopes, random = list(dict.fromkeys(body.scopes)), secrets.token_bytes(_RANDOM_BYTES)
    row, key = await context.database.write(keys.create, body.name, scopes, random, expires_at)
    return NewApiKey(**_columns(row, now), key=key)


@router.get("/api-keys", **extension("All API keys"))
async def list_api_keys(context: Context) -> list[ApiKey]:
    """All keys, oldest first."""
    now = context.clock.now()
    return [ApiKey(**_columns(row, now)) for row in await context.database.read(keys.list_all)]


@router.post("/api-keys/{key_id}/revoke", **extension("Revoke an API key"))
async def revoke_api_key(context: Context, key_id: str) -> ApiKey:
    """Make a key worthless, for good."""
    row = await context.database.write(keys.revoke, key_id)
    return ApiKey(**_columns(row, context.clock.now()))
