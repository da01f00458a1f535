"""What an installation knows about itself."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from vvwatch.errors import StoreError
from vvwatch.store.database import Tx
from vvwatch.store.encryption import SecretBox
from vvwatch.store.schema import facts

_SEAL: Final = "seal"


def check_key(tx: Tx, box: SecretBox, *, shared: bool) -> None:
    """See that `box` has the key that this installation's secrets were sealed with; the first one to come sets it.

    Raises StoreError for another key where nodes share the database: what this one sealed, no other could open.
    """
    sealed = tx.first(sa.select(facts.c.value).where(facts.c.name == _SEAL))
    if sealed is None:
        tx.insert_new(facts, [{"name": _SEAL, "value": box.seal(_SEAL)}])
    if sealed is None or not shared:  # alone, a secret that cannot be opened is said where it is wanted
        return
    try:
        box.open(sealed.value)
    except StoreError as error:
        raise StoreError(
            "this node has another secret key than the one that the database's secrets were sealed with",
            "give every node the same key: VVWATCH_SECRET_KEY, or secret.key in its state directory; when it is lost "
            "for good: DELETE FROM facts WHERE name = 'seal', and make the webhooks anew",
        ) from error
