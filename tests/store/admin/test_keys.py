from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from vvwatch.core.keys import Scope, digest_key
from vvwatch.errors import NotFound
from vvwatch.store.admin import keys
from vvwatch.store.db.database import Database
from vvwatch.store.schema import api_keys

pytestmark = pytest.mark.anyio

FIRST, SECOND = "sk_live_" + "1" * 48, "sk_live_" + "2" * 48


async def test_only_the_digest_is_kept(database: Database) -> None:
    row, key = await database.write(keys.create, "n8n", [Scope.READ], bytes(24))
    assert key == "sk_live_" + "0" * 48
    assert (row.digest, row.key_prefix, row.scopes) == (digest_key(key), "sk_live_000000", ["read"])
    stored = await database.read(lambda tx: tx.execute(sa.select(api_keys)).one())
    assert key not in map(str, stored)


async def test_a_key_is_found_while_it_is_active(database: Database, clock: FakeClock) -> None:
    row, key = await database.write(keys.create, "n8n", [Scope.READ], bytes(24), clock.now() + 60)
    assert await database.read(keys.find_active, digest_key(key)) == row
    assert await database.read(keys.find_active, digest_key(FIRST)) is None
    clock.advance(60)
    assert await database.read(keys.find_active, digest_key(key)) is None


async def test_revoking_is_for_good_and_keeps_the_first_moment(database: Database, clock: FakeClock) -> None:
    row, key = await database.write(keys.create, "n8n", [Scope.READ], bytes(24))
    revoked = await database.write(keys.revoke, row.id)
    clock.advance(60)
    assert (await database.write(keys.revoke, row.id)).revoked_at == revoked.revoked_at
    assert await database.read(keys.find_active, digest_key(key)) is None
    with pytest.raises(NotFound, match="no api key"):
        await database.write(keys.revoke, "key_none")


async def test_another_admin_key_takes_the_place_of_the_first(database: Database) -> None:
    for _ in range(2):
        seeded = await database.write(keys.seed_admin, FIRST)
        assert (seeded.id, seeded.scopes) == (keys.ADMIN_KEY_ID, ["admin"])
    await database.write(keys.revoke, keys.ADMIN_KEY_ID)
    assert (await database.write(keys.seed_admin, FIRST)).revoked_at is not None
    assert (await database.write(keys.seed_admin, SECOND)).revoked_at is None
    assert await database.read(keys.find_active, digest_key(FIRST)) is None
    assert len(await database.read(keys.list_all)) == 1


async def test_admin_keys_under_two_ids_stand_side_by_side(database: Database) -> None:
    await database.write(keys.seed_admin, FIRST)
    await database.write(keys.seed_admin, SECOND, "key_local")
    assert {row.id for row in await database.read(keys.list_all)} == {keys.ADMIN_KEY_ID, "key_local"}
