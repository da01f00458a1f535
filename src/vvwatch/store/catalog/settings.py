"""Facts about the installation."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vvwatch.errors import SecretKeyMismatch, StoreError
from vvwatch.store.db import sealing
from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.schema import connectors, receipts, webhooks

_LOST: Final = "if it is lost for good, `vvwatch db reset-secrets` forgets what it sealed"


def check_key(tx: Tx, box: SecretBox, *, shared: bool) -> None:
    """Check that `box` has the key that sealed this installation's secrets; the first call sets it.

    The first call also stores a new key. Changed keys are read again, and removed ones are forgotten.

    Raises SecretKeyMismatch for another key: it could open no existing secret, and no other node could open
    what it seals. Raises InvalidInput if the keys cannot be read.
    """
    box.refresh()
    mark = sealing.read_mark(tx)
    known = _find_sealed(tx) if mark is None else mark
    try:
        if known is not None:
            box.follow(known)
            box.settle(known)
    except StoreError as error:
        who = "this node has" if shared else "there is"
        where = "VVWATCH_SECRET_KEY, or secret.key in its state directory"
        give = f"give every node the same key: {where}" if shared else f"restore its previous key: {where}"
        raise SecretKeyMismatch(
            f"{who} another secret key than the one that the database's secrets were sealed with",
            f"{give}; {_LOST}",
        ) from error
    if mark is None:
        box.keep()
        sealing.ensure_mark(tx, box)


def _find_sealed(tx: Tx) -> bytes | None:
    """Return something that the key sealed, for a database that does not name its key."""
    for column in (webhooks.c.secret, connectors.c.credentials):
        found = tx.execute(sa.select(column).where(column.is_not(None)).limit(1)).scalar()
        if found:
            return bytes(found)
    return None


@dataclass(frozen=True, slots=True)
class SecretsReset:
    """Resources that lost their secret: webhooks are disabled and have a new one, connectors have none."""

    webhooks: tuple[str, ...]
    connectors: tuple[str, ...]


def reset_secrets(tx: Tx, box: SecretBox) -> SecretsReset:
    """Forget everything that another key sealed, and continue with the key of `box`.

    Webhooks of the API are disabled until their secret is rotated; declared ones get theirs
    back at the next start, as connectors do. Stored answers for repeated requests are dropped.
    """
    box.keep()
    sealing.replace_mark(tx, box)
    lost = {"status": "disabled", "updated_at": tx.now, "last_error": _ROTATE}
    hooks = [row.id for row in tx.all(sa.select(webhooks.c.id).where(webhooks.c.status != "deleted"))]
    for webhook_id in hooks:
        tx.update(webhooks, webhook_id, secret=sealing.seal(tx, box, secrets.token_urlsafe(32)), **lost)
    gone = sa.update(connectors).where(connectors.c.credentials.is_not(None))
    without = (
        tx.execute(gone.values(credentials=None, updated_at=tx.now).returning(connectors.c.id))
        .scalars()
        .all()
    )
    tx.execute(sa.delete(receipts))
    return SecretsReset(tuple(hooks), tuple(without))


_ROTATE: Final = "its secret was lost: rotate it, and give the new one to the receiver"
