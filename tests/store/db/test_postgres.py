"""What is PostgreSQL's own: races are run again, a server that is away is said, text is as everywhere else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import anyio
import anyio.to_thread
import asyncpg
import pytest
import sqlalchemy as sa
from anyio.from_thread import start_blocking_portal

from tests.clock import FakeClock
from tests.databases import Databases
from tests.fault_proxy import FaultProxy
from tests.postgres_server import PostgresServer
from vvwatch.errors import StoreError, StoreUnavailable
from vvwatch.store.catalog import catalog
from vvwatch.store.db import postgres
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.postgres import PostgresDatabase, is_away
from vvwatch.store.schema import indexes, prompts, webhooks

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[PostgresDatabase]:
    with databases.fresh("postgresql") as database:
        assert isinstance(database, PostgresDatabase)
        async with database.opened():
            yield database


def name_of(tx: Tx) -> str:
    return str(tx.execute(sa.select(indexes.c.name)).scalar_one())


def prompt_of(tx: Tx) -> str:
    return str(tx.execute(sa.select(prompts.c.name)).scalar_one())


async def test_what_loses_a_race_runs_again_and_none_is_lost(database: PostgresDatabase) -> None:
    """Each reads, thinks and writes: on an engine that let them pass each other, counts would go missing."""

    def add(tx: Tx) -> None:
        tx.update(indexes, "idx_1", name=str(int(name_of(tx)) + 1))

    await database.write(lambda tx: tx.insert(indexes, id="idx_1", name="0"))
    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(database.write, add)
    assert await database.read(name_of) == "40"


async def test_what_two_make_at_once_is_made_once(database: PostgresDatabase) -> None:
    def make(tx: Tx) -> None:
        if tx.first(sa.select(indexes)) is None:
            tx.insert(indexes, id="idx_1", name="0")

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(database.write, make)
    assert await database.read(name_of) == "0"


async def test_a_real_duplicate_is_an_error(database: PostgresDatabase) -> None:
    await database.write(lambda tx: tx.insert(indexes, id="idx_1"))
    with pytest.raises(sa.exc.IntegrityError):
        await database.write(lambda tx: tx.insert(indexes, id="idx_1"))


async def test_a_reader_cannot_write_and_sees_one_moment(database: PostgresDatabase) -> None:
    with pytest.raises(StoreUnavailable):
        await database.read(lambda tx: tx.insert(indexes, id="idx_1"))
    await database.write(catalog.create_index, "made")
    assert await database.read(name_of) == "made"


async def test_rows_that_others_hold_for_too_long_are_said_and_are_no_outage(
    database: PostgresDatabase, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._SERVER_SETTINGS, "lock_timeout", "100ms")
    await database.write(lambda tx: tx.insert(indexes, id="idx_1", name="a"))
    await database._engine.dispose()  # the next connections wait for a tenth of a second
    holder = await asyncpg.connect(databases.url)
    try:
        async with holder.transaction():
            await holder.execute("UPDATE indexes SET name = 'held'")
            with pytest.raises(StoreUnavailable, match="too busy just now: a transaction waited") as caught:
                await database.write(lambda tx: tx.update(indexes, "idx_1", name="b"))
        assert "nothing is lost" in caught.value.hint
        assert database.works
    finally:
        await holder.close()


async def test_who_waits_by_locks_sees_what_the_other_did_and_runs_once(database: PostgresDatabase) -> None:
    """As counts of a job: each waits for the row, and none runs again."""
    runs = 0

    @by_locks
    def add(tx: Tx) -> None:
        nonlocal runs
        runs += 1
        row = tx.guard(prompts, "prompt_1")
        assert row is not None
        tx.update(prompts, "prompt_1", name=str(int(row.name) + 1))

    await database.write(lambda tx: tx.insert(prompts, id="prompt_1", name="0"))
    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(database.write, add)
    assert await database.read(prompt_of) == "40"
    assert (runs, database.traffic.reruns) == (40, 0)


async def test_a_serializable_transaction_runs_again_when_what_it_read_was_guarded_since(
    database: PostgresDatabase, databases: Databases
) -> None:
    """It must not go on with an old snapshot of what the other decided by."""
    await database.write(lambda tx: tx.insert(prompts, id="prompt_1", name="0"))
    runs = 0

    def look_and_write(tx: Tx) -> str:
        nonlocal runs
        runs += 1
        seen = prompt_of(tx)
        if runs == 1:
            guard_meanwhile()
        tx.update(prompts, "prompt_1", name=f"{seen}!")
        return seen

    def guard_meanwhile() -> None:
        async def other() -> None:
            connection = await asyncpg.connect(databases.url)
            await connection.execute("UPDATE prompts SET updated_at = updated_at")
            await connection.close()

        with start_blocking_portal() as portal:
            portal.call(other)

    await database.write(look_and_write)
    assert (runs, database.traffic.reruns) == (2, 1)


async def test_text_is_ordered_by_code_points_whatever_the_server_speaks(database: PostgresDatabase) -> None:
    undecided = sa.text(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C' AND table_name NOT LIKE 'pgqueuer%'"
    )
    assert list(await database.read(lambda tx: tx.all(undecided))) == []


async def test_a_character_that_the_server_cannot_hold_is_replaced(database: PostgresDatabase) -> None:
    await database.write(catalog.create_index, "a\0b")
    assert await database.read(name_of) == "a\ufffdb"


async def test_a_document_may_hold_anything_that_json_can(database: PostgresDatabase) -> None:
    document = {"nul": "\0", "half a pair": "\ud83d", "number": 1e300, "nothing": None}
    row = {"id": "wh_1", "secret": b"x", "metadata": document}
    await database.write(lambda tx: tx.insert(webhooks, **row))
    assert await database.read(lambda tx: tx.execute(sa.select(webhooks.c.metadata)).scalar()) == document


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that may be crashed: the others' connections are not on it."""
    with PostgresServer() as server:
        server.create_database("x")
        yield server


async def test_a_server_that_is_away_is_said_and_comes_back(own_server: PostgresServer) -> None:
    database = PostgresDatabase(own_server.url("x"), FakeClock())
    async with database.opened():
        await database.write(catalog.create_index, "before")
        await anyio.to_thread.run_sync(own_server.crash)
        for attempt in (database.write, database.read):
            with pytest.raises(StoreUnavailable, match="the database does not work"):
                await attempt(name_of)
        assert not database.works
        await anyio.to_thread.run_sync(own_server.start)
        assert await database.read(name_of) == "before"
        assert database.works


async def test_a_connection_that_was_cut_while_idle_costs_nobody_an_error(
    own_server: PostgresServer,
) -> None:
    with FaultProxy(own_server.address) as proxy:
        host, port = proxy.address
        database = PostgresDatabase(f"postgresql://postgres@{host}:{port}/x", FakeClock())
        async with database.opened():
            await database.write(catalog.create_index, "made")
            await anyio.to_thread.run_sync(proxy.reset_all)
            assert await database.read(name_of) == "made"
            await anyio.to_thread.run_sync(proxy.reset_all)
            await database.write(lambda tx: tx.update(indexes, tx.first(sa.select(indexes)).id, name="new"))  # type: ignore[union-attr]
            assert await database.read(name_of) == "new"


async def test_an_address_without_a_server_is_said_without_its_password() -> None:
    database = PostgresDatabase("postgresql://me:planted-pass-word@127.0.0.1:1/x", FakeClock())
    with pytest.raises(StoreUnavailable) as refused:
        async with database.opened():
            pass
    assert "planted" not in f"{refused.value!r} {refused.value.message} {refused.value.hint}"


async def test_an_address_that_cannot_be_used_is_said() -> None:
    database = PostgresDatabase("postgresql://h/x?sslmode=nonsense", FakeClock())
    with pytest.raises(StoreError, match="the address of the database cannot be used") as refused:
        async with database.opened():
            pass
    assert not isinstance(refused.value, StoreUnavailable)


def test_a_value_that_cannot_be_sent_is_not_blamed_on_the_server() -> None:
    unsendable = type("DataError", (asyncpg.InterfaceError, ValueError), {})("invalid input")
    assert not is_away(unsendable)
    assert is_away(asyncpg.InterfaceError("connection is closed"))


def test_who_does_not_ask_for_postgresql_does_not_load_it() -> None:
    program = (
        "import sys, vvwatch.cli.root, vvwatch.daemon.lifecycle;"
        "print([name for name in ('asyncpg', 'pgqueuer', 'sqlalchemy.ext.asyncio') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
