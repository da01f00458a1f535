"""API keys, managed with a key of the scope `admin`; the hosted service needs a signed-in operator."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

from fastapi import Response
from pydantic import Field

from vvwatch.api.http.auditing import Audited
from vvwatch.api.http.auth import require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.idempotency import Idempotent, SecretResponse
from vvwatch.api.http.wire import Body, Resource, Visible
from vvwatch.core.keys import Scope
from vvwatch.store.admin import keys
from vvwatch.store.db.database import Tx
from vvwatch.store.models.admin import ApiKey as StoredKey

router = resource_router("api keys")

_DAY_SECONDS: Final = 86_400.0
_RANDOM_BYTES: Final = 24
_ROTATE: Final = "if you do not have it, POST /api-keys/{key_id}/rotate with a new Idempotency-Key"

Scopes = Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1, max_length=len(Scope))]


class ApiKeyBody(Body):
    """A new key."""

    name: Annotated[str, Field(min_length=1, max_length=100), Visible]
    scopes: Scopes = Field(default_factory=lambda: [Scope.READ])
    expires_in_days: Annotated[int, Field(ge=1, le=365)] | None = None


class ApiKey(Resource):
    """A key without its secret: only the prefix is shown."""

    key_id: str
    key_prefix: str
    name: str
    scopes: list[str]
    created_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    expires_at: str | None
    is_active: bool


class NewApiKey(ApiKey, SecretResponse):
    """A new key with its secret, shown once."""

    key: str

    def instead(self) -> tuple[str, str]:
        """Return what the request did, and how to get another key."""
        return (
            f"the first request created key {self.key_id!r} and showed it; keys are not shown again",
            _ROTATE,
        )


class RotatedApiKey(SecretResponse):
    """The key that replaces another one, shown once."""

    old_key_id: str
    new_key: NewApiKey

    def instead(self) -> tuple[str, str]:
        """Return what the request did, and how to get another key."""
        return self.new_key.instead()


class Deleted(Resource):
    """The result of the deletion."""

    message: str


def _to_response(row: StoredKey, now: float) -> ApiKey:
    return ApiKey.of(row, key_id=row.id, is_active=keys.is_active(row, now))


def _to_new(row: StoredKey, now: float, key: str) -> NewApiKey:
    return NewApiKey.of(row, key_id=row.id, is_active=keys.is_active(row, now), key=key)


@router.post("/api-keys", status_code=201, response_model=NewApiKey, **require(Scope.ADMIN))
async def create_api_key(once: Idempotent, body: ApiKeyBody) -> Response:
    """Create a key. Only this response shows it: repeating the same Idempotency-Key answers 409."""
    random = secrets.token_bytes(_RANDOM_BYTES)
    return await once(lambda tx: _create(tx, body, random))


def _create(tx: Tx, body: ApiKeyBody, random: bytes) -> NewApiKey:
    days = body.expires_in_days
    expires_at = None if days is None else tx.now + days * _DAY_SECONDS
    row, key = keys.create(tx, body.name, list(dict.fromkeys(body.scopes)), random, expires_at)
    return _to_new(row, tx.now, key)


@router.get("/api-keys", **require(Scope.ADMIN))
async def list_api_keys(context: Context) -> list[ApiKey]:
    """List all keys, oldest first."""
    now = context.clock.now()
    return [_to_response(row, now) for row in await context.database.read(keys.list_all)]


@router.get("/api-keys/{key_id}", **require(Scope.ADMIN))
async def get_api_key(context: Context, key_id: str) -> ApiKey:
    """Return a key."""
    return _to_response(await context.database.read(keys.get, key_id), context.clock.now())


@router.delete("/api-keys/{key_id}", **require(Scope.ADMIN))
async def delete_api_key(audited: Audited, key_id: str) -> Deleted:
    """Delete a key: it stops working and is no longer listed. The operator's own key can only be revoked."""
    row = await audited.write(lambda tx: keys.delete(tx, key_id))
    return Deleted(message=f"key {row.name!r} ({row.id}) was deleted")


@router.post("/api-keys/{key_id}/revoke", response_model=ApiKey, **require(Scope.ADMIN))
async def revoke_api_key(once: Idempotent, key_id: str) -> Response:
    """Revoke a key for good. The last key with the scope `admin` cannot be revoked."""
    return await once(lambda tx: _to_response(keys.revoke_safely(tx, key_id), tx.now))


@router.post("/api-keys/{key_id}/rotate", response_model=RotatedApiKey, **require(Scope.ADMIN))
async def rotate_api_key(once: Idempotent, key_id: str) -> Response:
    """Create a key with the same name, scopes and expiry, and revoke this one at once."""
    random = secrets.token_bytes(_RANDOM_BYTES)

    def rotate_key(tx: Tx) -> RotatedApiKey:
        row, key = keys.rotate(tx, key_id, random)
        once.audit.details["new_key_id"] = row.id
        return RotatedApiKey(old_key_id=key_id, new_key=_to_new(row, tx.now, key))

    return await once(rotate_key)
