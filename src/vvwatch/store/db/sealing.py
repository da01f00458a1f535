"""Which key seals: the one that the database names, so that several nodes, and one whose keys change, agree on it.

The mark is a text that this key has sealed. Every transaction that seals reads it. So once another transaction has
changed the mark, nothing can be stored any more that the key before it has sealed: of two such transactions that meet,
a serializable database lets one run again. No transaction `by_locks` may seal.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.schema import facts

_MARK: Final = "seal"


def seal(tx: Tx, box: SecretBox, text: str) -> bytes:
    """`text`, sealed by the key of the mark. Raises StoreError when `box` does not have that key."""
    return box.seal(text, read_mark(tx))


def read_mark(tx: Tx) -> bytes | None:
    """Something that the key sealed which is to seal; None when none was named yet."""
    found = tx.execute(sa.select(facts.c.value).where(facts.c.name == _MARK)).scalar()
    return None if found is None else bytes(found)


def ensure_mark(tx: Tx, box: SecretBox) -> None:
    """Name the key with which `box` seals, where none was named."""
    tx.insert_new(facts, [{"name": _MARK, "value": box.seal(_MARK)}])


def replace_mark(tx: Tx, box: SecretBox) -> None:
    """Name the newest key of `box`, in place of any."""
    tx.execute(sa.delete(facts).where(facts.c.name == _MARK))
    tx.insert_new(facts, [{"name": _MARK, "value": box.seal_newest(_MARK)}])
