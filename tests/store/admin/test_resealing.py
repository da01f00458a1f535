"""The key that seals secrets is changed: everything follows, on both engines, and nothing is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.util import await_only

import vvwatch
from tests.store.pipeline import prepare
from vvwatch.core.networks import PUBLIC_ONLY
from vvwatch.errors import StoreError
from vvwatch.store.admin import resealing
from vvwatch.store.admin.resealing import SEALED, reseal
from vvwatch.store.admin.secret_keys import KEY_FILE, find_keys
from vvwatch.store.catalog import settings
from vvwatch.store.db import idempotency, sealing
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.db.idempotency import Answer, Claim
from vvwatch.store.delivery import webhooks
from vvwatch.store.delivery.webhooks import WebhookSpec
from vvwatch.store.imports import attachments
from vvwatch.store.imports.attachments import Attachment
from vvwatch.store.schema import connectors, tables_of
from vvwatch.store.schema import receipts as receipts_table

pytestmark = pytest.mark.anyio

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
RING = NEW + b"\n" + OLD
HOOK = WebhookSpec("hook", "https://example.com/hook", ("export.ready",))
TOKEN = "gAAAAA"  # how everything begins that Fernet has sealed
SEALERS = {  # where something is sealed; whatever comes here must be in resealing.SEALED and in `furnish`
    "api/pages/sessions.py",  # in cookies alone
    "api/routes/connectors.py",
    "daemon/declaring.py",
    "daemon/planning.py",  # in memory alone
    "store/catalog/settings.py",
    "store/imports/attachments.py",
    "store/db/idempotency.py",
    "store/db/sealing.py",
    "store/delivery/webhooks.py",
}


def furnish(tx: Tx, box: SecretBox) -> None:
    """Something in every place where anything is sealed."""
    settings.check_key(tx, box, shared=False)
    prepare(tx)
    webhooks.declare(tx, box, "wh_hook", HOOK, "whsec_x", PUBLIC_ONLY)
    tx.update(connectors, "conn_in", credentials=sealing.seal(tx, box, "{}"))
    idempotency.run_once(tx, box, Claim("a", "b"), lambda _: None, lambda _: Answer(200, "{}"))
    attachment = Attachment("f1", "https://example.com/a.mp4", "a.mp4")
    attachments.create(tx, box, "job_a", "idx_main", "conn_in", [(attachment, "a")])


def opened(tx: Tx, box: SecretBox) -> dict[str, list[str]]:
    """Everything that was sealed, in clear, by its table. Raises StoreError for what does not open."""
    return {
        table.name: [box.open(token) for token in tokens(tx, table)]
        for table in tables_of(tx.conn.dialect.name)
    }


def tokens(tx: Tx, table: sa.Table) -> list[bytes]:
    """Everything in the table that looks like sealed, wherever it stands."""
    found = []
    for row in tx.all(sa.select(table)):
        for value in row:
            text = value.decode("latin-1") if isinstance(value, bytes) else json.dumps(value, default=str)
            found += [f"{TOKEN}{tail.split(chr(34))[0]}".encode() for tail in text.split(TOKEN)[1:]]
    return found


async def sealed_anew(database: Database, box: SecretBox) -> Sequence[resealing.Resealed]:
    return await reseal(database, box, lambda *_: None)


async def test_everything_follows_the_newest_key(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "_AT_ONCE", 10)
    await database.write(furnish, SecretBox(OLD))
    before = await database.read(opened, SecretBox(OLD))
    filled = {name for name, texts in before.items() if texts}
    assert filled == {*SEALED, "facts"}, "a place that the test, or resealing.SEALED, does not know"
    with pytest.raises(StoreError):
        await database.read(opened, SecretBox(NEW))
    done = await sealed_anew(database, SecretBox(RING))
    assert [(each.table, each.secrets, each.resealed) for each in done] == [(name, 1, 1) for name in SEALED]
    assert await database.read(opened, SecretBox(NEW)) == before, (
        "all is there, and the old key is not needed"
    )
    await database.write(settings.check_key, SecretBox(NEW), shared=False)
    assert not [each for each in await sealed_anew(database, SecretBox(RING)) if each.resealed]


async def test_many_pages_are_sealed_anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "_AT_ONCE", 10)
    box = SecretBox(OLD)

    def many(tx: Tx) -> None:
        furnish(tx, box)
        for number in range(25):
            idempotency.run_once(
                tx, box, Claim(f"c{number}", "b"), lambda _: None, lambda _: Answer(200, "{}")
            )
            attachment = Attachment("f1", "https://example.com/a.mp4", "a.mp4")
            attachments.create(tx, box, f"job_{number}", "idx_main", "conn_in", [(attachment, "a")])

    await database.write(many)
    done = {each.table: each.resealed for each in await sealed_anew(database, SecretBox(RING))}
    assert (done["receipts"], done["import_files"]) == (26, 26)
    await database.read(opened, SecretBox(NEW))


async def test_what_no_key_opens_is_said_before_anything_changes(database: Database) -> None:
    await database.write(furnish, SecretBox(OLD))
    foreign = {"credentials": SecretBox(Fernet.generate_key()).seal("{}")}
    await database.write(lambda tx: tx.update(connectors, "conn_in", **foreign))
    with pytest.raises(StoreError, match="cannot be opened"):
        await sealed_anew(database, SecretBox(RING))
    sealed = await database.write(sealing.seal, SecretBox(RING), "x")
    assert SecretBox(OLD).open(sealed) == "x"


async def test_the_database_says_which_key_seals(database: Database) -> None:
    """A node that has the new key already, as its first, seals what others open until all is sealed anew."""
    await database.write(furnish, SecretBox(OLD))
    ahead = SecretBox(RING)
    assert SecretBox(OLD).open(await database.write(sealing.seal, ahead, "x")) == "x"
    await sealed_anew(database, SecretBox(RING))
    behind = SecretBox(OLD + b"\n" + NEW)
    assert SecretBox(NEW).open(await database.write(sealing.seal, behind, "x")) == "x"
    with pytest.raises(StoreError, match="cannot be opened"):
        await database.write(sealing.seal, SecretBox(OLD), "x")


async def test_a_daemon_that_runs_learns_the_new_key(database: Database, tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(OLD + b"\n")
    running = find_keys(tmp_path, {}).box()
    await database.write(furnish, running)
    find_keys(tmp_path, {}).add_newest()
    await sealed_anew(database, find_keys(tmp_path, {}).box())
    assert (await database.read(opened, running))["webhooks"] == ["whsec_x"]
    newest = find_keys(tmp_path, {}).keep_newest().box()
    assert newest.open(await database.write(sealing.seal, running, "x")) == "x"
    assert len(running.secrets("links")) == 2, "what the old key signed still counts"
    await database.write(settings.check_key, running, shared=False)  # as a reload does
    assert running.secrets("links") == newest.secrets("links")


async def test_what_was_about_to_be_stored_is_not_missed(database: Database, dialect: str) -> None:
    """A transaction that sealed with the old key, and commits when all has been sealed anew, must begin anew."""
    if dialect == "sqlite":
        return  # has one writer: no transaction runs beside another
    await database.write(furnish, SecretBox(OLD))
    ring, runs = SecretBox(RING), count(1)

    def late(tx: Tx) -> int:
        sealed, run = sealing.seal(tx, ring, "late"), next(runs)
        if run == 1:
            await_only(sealed_anew(database, ring))
        tx.insert(receipts_table, id="late", answer=sealed, made_at=tx.now)
        return run

    assert await database.write(late) == 2
    assert "late" in (await database.read(opened, SecretBox(NEW)))["receipts"]


def test_only_known_places_seal() -> None:
    root = Path(vvwatch.__file__).parent
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}
    found = {name for name, text in texts.items() if "sealing.seal(" in text or "box.seal(" in text}
    assert found == SEALERS
