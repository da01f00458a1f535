from __future__ import annotations

import pytest

from vvwatch.core.networks import PRIVATE, AddressPolicy
from vvwatch.errors import InvalidInput, NotFound, StoreError
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.delivery import webhooks
from vvwatch.store.delivery.webhooks import WebhookSpec
from vvwatch.store.schema import webhooks as table

pytestmark = pytest.mark.anyio

BOX = SecretBox(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
SPEC = WebhookSpec("hook", "https://example.com/hook", ("export.ready",))
PUBLIC = AddressPolicy()


async def test_the_secret_is_kept_sealed(database: Database) -> None:
    row, secret, _ = await database.write(webhooks.create, BOX, SPEC, PUBLIC)
    assert BOX.open(row.secret) == secret
    assert secret.encode() not in row.secret
    other, another, _ = await database.write(webhooks.create, BOX, SPEC, PUBLIC)
    assert (other.id, another) != (row.id, secret)
    assert [each.id for each in await database.read(webhooks.list_all)] == sorted([row.id, other.id])


@pytest.mark.parametrize(
    ("url", "policy", "allowed"),
    [
        ("https://example.com", PUBLIC, True),
        ("https://example.com:8443/a?b=c", PUBLIC, True),
        ("https://93.184.216.34/", PUBLIC, True),
        ("https://[2606:2800:220:1::1]/", PUBLIC, True),
        ("HTTPS://EXAMPLE.COM", PUBLIC, True),
        ("http://example.com", PUBLIC, False),
        ("http://example.com", AddressPolicy(allow_http=True), True),
        ("https://10.1.2.3", PUBLIC, False),
        ("https://app.localhost", PUBLIC, False),
        ("https://[::1]:9000", PUBLIC, False),
        ("https://10.1.2.3", AddressPolicy(allow_networks=PRIVATE), True),
        ("http://localhost:9", AddressPolicy(allow_http=True, allow_networks=PRIVATE), True),
        ("file:///etc/passwd", AddressPolicy(allow_http=True, allow_networks=PRIVATE), False),
        ("https://example.com:0", PUBLIC, False),
        ("https://example.com/\n", PUBLIC, False),
    ],
)
def test_addresses_are_judged_by_the_policy(url: str, policy: AddressPolicy, *, allowed: bool) -> None:
    if allowed:
        webhooks.check_url(url, policy)
        return
    with pytest.raises(InvalidInput):
        webhooks.check_url(url, policy)


async def test_unknown_events_and_indexes_are_refused(database: Database) -> None:
    spec = WebhookSpec("hook", SPEC.url, ("export.ready", "export.done"))
    with pytest.raises(InvalidInput, match="no event is called"):
        await database.write(webhooks.create, BOX, spec, PUBLIC)
    spec = WebhookSpec("hook", SPEC.url, SPEC.events, ("idx_none",))
    with pytest.raises(NotFound, match="no index 'idx_none'"):
        await database.write(webhooks.create, BOX, spec, PUBLIC)


async def test_declaring_anew_forgives_what_failed(database: Database) -> None:
    await database.write(catalog.declare_index, "idx_a", "a")
    first = await database.write(webhooks.declare, BOX, "wh_hook", SPEC, "whsec_1", PUBLIC)
    await database.write(lambda tx: tx.update(table, "wh_hook", status="disabled", failure_count=20))
    spec = WebhookSpec("hook", "https://example.org/", ("media.created",), ("idx_a",), {"a": 1})
    again = await database.write(webhooks.declare, BOX, "wh_hook", spec, "whsec_1", PUBLIC)
    assert (again.status, again.failure_count, again.declared) == ("active", 0, True)
    assert (again.url, again.events, again.index_ids) == (spec.url, ["media.created"], ["idx_a"])
    assert again.secret == first.secret
    rotated = await database.write(webhooks.declare, BOX, "wh_hook", spec, "whsec_2", PUBLIC)
    assert BOX.open(rotated.secret) == "whsec_2"


async def test_a_lost_key_is_said_and_not_papered_over(database: Database) -> None:
    await database.write(webhooks.declare, BOX, "wh_hook", SPEC, "whsec_1", PUBLIC)
    other = SecretBox(b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=")
    with pytest.raises(StoreError, match="cannot be opened"):
        await database.write(webhooks.declare, other, "wh_hook", SPEC, "whsec_1", PUBLIC)
