"""API keys: stored as digests, shown once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.keys import Scope, allows_scope, digest_key, format_key
from vvwatch.errors import Conflict
from vvwatch.store.catalog.ceilings import require_room
from vvwatch.store.db import idempotency
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, model_of, models_of
from vvwatch.store.models.admin import ApiKey
from vvwatch.store.schema import api_keys

ADMIN_KEY_ID: Final = "key_admin"
"""The id of the operator's own key; another operator key replaces it."""

_SHOWN: Final = len("sk_live_") + 6
_USE_NOTED_EVERY_SECONDS: Final = 60.0


def create(
    tx: Tx, name: str, scopes: Sequence[Scope], random: bytes, expires_at: float | None = None
) -> tuple[ApiKey, str]:
    """Create a key from 24 random bytes; return its row, and the key, which is shown only now. Raises LimitReached."""
    require_room(tx, api_keys)
    return _insert_key(tx, name, scopes, random, expires_at)


def _insert_key(
    tx: Tx, name: str, scopes: Sequence[Scope], random: bytes, expires_at: float | None
) -> tuple[ApiKey, str]:
    key_id, key = tx.new_id("key"), format_key(random)
    tx.insert(api_keys, id=key_id, created_at=tx.now, expires_at=expires_at, **_columns(name, scopes, key))
    return get(tx, key_id), key


def get(tx: Tx, key_id: str) -> ApiKey:
    """Return the key's row. Raises NotFound."""
    return model_of(ApiKey, tx.require(api_keys, "api_key", key_id))


def list_all(tx: Tx) -> Sequence[ApiKey]:
    """Return all keys, also revoked and expired ones, oldest first."""
    return models_of(ApiKey, tx.all(sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)))


def revoke(tx: Tx, key_id: str) -> ApiKey:
    """Revoke the key for good and return it; a second call keeps the first time. Raises NotFound."""
    found = get(tx, key_id)
    if found.revoked_at is None:
        tx.update(api_keys, key_id, revoked_at=tx.now)
        idempotency.delete_of_key(tx, key_id)
    return get(tx, key_id)


def revoke_safely(tx: Tx, key_id: str) -> ApiKey:
    """Revoke the key for a client of the API. Raises Conflict for the last admin key."""
    _keep_an_admin(tx, get(tx, key_id))
    return revoke(tx, key_id)


def delete(tx: Tx, key_id: str) -> ApiKey:
    """Delete a key. Raises NotFound, and Conflict for the last admin key or a seeded one."""
    found = _require_own(tx, key_id, "deleted", "revoke it instead")
    _keep_an_admin(tx, found)
    tx.execute(sa.delete(api_keys).where(api_keys.c.id == key_id))
    idempotency.delete_of_key(tx, key_id)
    return found


def rotate(tx: Tx, key_id: str, random: bytes) -> tuple[ApiKey, str]:
    """Replace the key and revoke it; return the new row, and the new key, which is shown only this once.

    Name, scopes and expiry stay. Raises NotFound, and Conflict for an inactive or a seeded key.
    """
    found = _require_own(tx, key_id, "rotated", "set another one in VVWATCH_ADMIN_KEY and restart")
    if not is_active(found, tx.now):
        raise Conflict(f"key {key_id!r} is revoked or has expired: it cannot be rotated", "create a new one")
    made = _insert_key(tx, found.name, [Scope(scope) for scope in found.scopes], random, found.expires_at)
    revoke(tx, key_id)
    return made


def _require_own(tx: Tx, key_id: str, what: str, instead: str) -> ApiKey:
    """Return a key that was created here. Raises Conflict for the operator's: it would return with the next start."""
    found = get(tx, key_id)
    if key_id.startswith(ADMIN_KEY_ID):
        raise Conflict(f"key {key_id!r} is the operator's own: it cannot be {what}", instead)
    return found


def _keep_an_admin(tx: Tx, leaving: ApiKey) -> None:
    """Raise Conflict for the last active admin key, so that nobody locks everybody out."""
    if not (is_active(leaving, tx.now) and allows_scope(leaving.scopes, Scope.ADMIN)):
        return
    active = api_keys.c.revoked_at.is_(None), sa.func.coalesce(api_keys.c.expires_at, tx.now + 1) > tx.now
    administers = sa.type_coerce(api_keys.c.scopes, sa.Text).contains(f'"{Scope.ADMIN.value}"')
    others = sa.select(api_keys.c.id).where(api_keys.c.id != leaving.id, administers, *active).limit(1)
    if tx.first(others) is None:
        message = f"key {leaving.id!r} is the last one with the scope 'admin'"
        raise Conflict(message, "create another one with this scope first")


def is_active(row: ApiKey, now: float) -> bool:
    """Return whether the key is valid at `now`."""
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def find_any(tx: Tx, key_digest: str) -> ApiKey | None:
    """Return the key with this digest, active or not; None for one that vvwatch did not create."""
    return first_of(ApiKey, tx.execute(sa.select(api_keys).where(api_keys.c.digest == key_digest)))


def find_active(tx: Tx, key_digest: str) -> ApiKey | None:
    """Return the active key with this digest, or None."""
    row = find_any(tx, key_digest)
    return row if row is not None and is_active(row, tx.now) else None


def is_still_active(tx: Tx, key_id: str, created_at: float) -> bool:
    """Return whether the key created under this id at that time is still valid.

    A new operator key keeps the id of the old one; the time tells them apart.
    """
    return find_by_id(tx, key_id, created_at) is not None


def find_active_by_id(tx: Tx, key_id: str) -> ApiKey | None:
    """Return the active key of this id, or None."""
    row = first_of(ApiKey, tx.execute(sa.select(api_keys).where(api_keys.c.id == key_id)))
    return row if row is not None and is_active(row, tx.now) else None


def find_by_id(tx: Tx, key_id: str, created_at: float) -> ApiKey | None:
    """Return the active key created under this id at that time, or None."""
    row = find_active_by_id(tx, key_id)
    return row if row is not None and row.created_at == created_at else None


def should_note_use(row: ApiKey, now: float) -> bool:
    """Return whether the last noted use is old enough to note another."""
    return row.last_used_at is None or abs(now - row.last_used_at) >= _USE_NOTED_EVERY_SECONDS


def note_use(tx: Tx, key_id: str) -> None:
    """Store that the key was used now."""
    tx.update(api_keys, key_id, last_used_at=tx.now)


def seed_admin(tx: Tx, key: str, key_id: str = ADMIN_KEY_ID) -> ApiKey:
    """Make `key` an admin key, in place of the one seeded under `key_id`. A known key is left unchanged."""
    known = find_any(tx, digest_key(key))
    if known is not None:
        return known
    values = {**_columns("admin", [Scope.ADMIN], key), "created_at": tx.now}
    if tx.first(sa.select(api_keys.c.id).where(api_keys.c.id == key_id)) is None:
        tx.insert(api_keys, id=key_id, **values)
    else:
        idempotency.delete_of_key(tx, key_id)
        tx.update(api_keys, key_id, **values, revoked_at=None, expires_at=None, last_used_at=None)
    return get(tx, key_id)


def _columns(name: str, scopes: Sequence[Scope], key: str) -> dict[str, Any]:
    return {
        "name": name,
        "digest": digest_key(key),
        "key_prefix": key[:_SHOWN],
        "scopes": [scope.value for scope in scopes],
    }
