"""Which key seals: the database names it, so that several nodes, and a node whose keys change, agree.

The mark is a text sealed by this key. Every transaction that seals reads it, so nothing sealed by the old key can be
stored after another transaction changed the mark: a serializable database runs one of the two again. No `by_locks`
transaction may seal.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.schema import facts

_MARK: Final = "seal"


def seal(tx: Tx, box: SecretBox, text: str) -> bytes:
    """Seal `text` with the key of the mark. Raises StoreError if `box` lacks that key."""
    return box.seal(text, read_mark(tx))


def read_mark(tx: Tx) -> bytes | None:
    """Return a text sealed by the key in force; None if none is named yet."""
    found = tx.execute(sa.select(facts.c.value).where(facts.c.name == _MARK)).scalar()
    return None if found is None else bytes(found)


def ensure_mark(tx: Tx, box: SecretBox) -> None:
    """Name the key with which `box` seals, unless one is named."""
    tx.insert_new(facts, [{"name": _MARK, "value": box.seal(_MARK)}])


def replace_mark(tx: Tx, box: SecretBox) -> None:
    """Name the newest key of `box` instead of any other."""
    tx.execute(sa.delete(facts).where(facts.c.name == _MARK))
    tx.insert_new(facts, [{"name": _MARK, "value": box.seal_newest(_MARK)}])
