"""A lost key is refused on both engines, and what it sealed can be forgotten on purpose."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from tests.store.pipeline import prepare
from vvwatch.core.networks import PUBLIC_ONLY
from vvwatch.errors import StoreError
from vvwatch.store.catalog import settings
from vvwatch.store.db.database import Database
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.delivery import webhooks
from vvwatch.store.delivery.webhooks import WebhookSpec
from vvwatch.store.schema import connectors
from vvwatch.store.schema import facts as facts_table

pytestmark = pytest.mark.anyio

HOOK = WebhookSpec("hook", "https://example.com/hook", ("export.ready",))


def box() -> SecretBox:
    return SecretBox(Fernet.generate_key())


@pytest.mark.parametrize("shared", [False, True])
async def test_another_key_than_the_first_is_refused_with_the_way_out(
    database: Database, *, shared: bool
) -> None:
    first = box()
    for _ in range(2):
        await database.write(settings.check_key, first, shared=shared)
    with pytest.raises(StoreError, match="another secret key") as refused:
        await database.write(settings.check_key, box(), shared=shared)
    assert "secret.key" in refused.value.hint
    assert "vvwatch db reset-secrets" in refused.value.hint
    await database.write(settings.check_key, first, shared=shared)


async def test_only_the_first_start_stores_a_new_key(database: Database) -> None:
    """A refused start changes nothing: it wrote a key that was refused at the next start, too."""
    stored: list[bytes] = []

    def new_box() -> SecretBox:
        key = Fernet.generate_key()
        return SecretBox(key, lambda: None, lambda: stored.append(key))

    await database.write(settings.check_key, new_box(), shared=False)
    assert len(stored) == 1
    with pytest.raises(StoreError, match="another secret key"):
        await database.write(settings.check_key, new_box(), shared=False)
    assert len(stored) == 1
    await database.write(settings.reset_secrets, new_box())
    await database.write(settings.check_key, SecretBox(stored[1]), shared=False)


async def test_a_database_that_does_not_say_its_key_is_asked_by_what_is_sealed(database: Database) -> None:
    first = box()
    await database.write(webhooks.declare, first, "wh_hook", HOOK, "whsec_x", PUBLIC_ONLY)
    with pytest.raises(StoreError, match="another secret key"):
        await database.write(settings.check_key, box(), shared=False)
    await database.write(settings.check_key, first, shared=False)


async def test_what_a_lost_key_sealed_can_be_forgotten(database: Database) -> None:
    lost, present = box(), box()
    await database.write(settings.check_key, lost, shared=False)
    await database.write(prepare)
    await database.write(webhooks.declare, lost, "wh_hook", HOOK, "whsec_x", PUBLIC_ONLY)
    sealed = {"credentials": lost.seal("{}")}
    await database.write(lambda tx: tx.update(connectors, "conn_in", **sealed))
    found = await database.write(settings.reset_secrets, present)
    assert (found.webhooks, found.connectors) == (("wh_hook",), ("conn_in",))
    await database.write(settings.check_key, present, shared=False)
    hook = await database.read(webhooks.get, "wh_hook")
    assert hook.status == "disabled"
    assert present.open(hook.secret) != "whsec_x"
    kept = sa.select(connectors.c.credentials).where(connectors.c.id == "conn_in")
    assert await database.read(lambda tx: tx.execute(kept).scalar()) is None
    assert await database.read(lambda tx: len(tx.all(sa.select(facts_table)))) == 1
