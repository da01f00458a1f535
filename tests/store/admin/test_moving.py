"""Moving house: everything arrives, once, wherever the copy was killed, and the work goes on there."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.databases import DIALECTS
from tests.postgres_server import PostgresServer
from tests.store.pipeline import RecordingSink, prepare
from tests.store.pipeline import count as counted
from tests.store.town import Town, last
from vvwatch.core.words import parse_query
from vvwatch.errors import Conflict, SchemaTooNew, StoreError, StoreLocked
from vvwatch.store.admin import invariants, moving
from vvwatch.store.admin.moving import Moved, copy
from vvwatch.store.db import migrations, rows
from vvwatch.store.db.database import Tx, requeue_overdue
from vvwatch.store.db.opening import Place
from vvwatch.store.db.postgres import DAEMON, PostgresDatabase
from vvwatch.store.runs import search_documents
from vvwatch.store.runs.lexical_queries import find_ranked
from vvwatch.store.runs.search_queries import SearchScope
from vvwatch.store.schema import (
    connectors,
    import_files,
    media,
    nodes,
    objects,
    observations,
    run_items,
    segment_results,
    windows,
)
from vvwatch.store.watching import ledger

pytestmark = pytest.mark.anyio

NUMBERS = count()
DYING_COPY = Path(__file__).with_name("dying_copy.py")


@pytest.fixture
def town(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[Town]:
    town = Town(tmp_path, postgres_server)
    yield town
    for name in town.servers:
        postgres_server.drop_database(name)


async def moved(source: Place, target: Place, node: str = "here") -> list[Moved]:
    return await copy(source, target, node, lambda *_: None)


def everything(tx: Tx) -> dict[str, list[rows.Row]]:
    """All rows of both engines' tables, as Python sees them through the driver."""
    return {
        table.name: rows.normalize_rows(table, rows.read_batch(tx, table, None, 10_000))
        for table in rows.domain_tables()
    }


async def held(place: Place) -> dict[str, list[rows.Row]]:
    async with place.database.visited():
        return await place.database.read(everything)


@pytest.mark.parametrize(
    ("source", "target"), [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("sqlite", "sqlite")]
)
async def test_everything_arrives(
    town: Town, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_BATCH_ROWS", 3)
    old, new = await town.furnished(source), town.empty(target)
    report = await moved(old, new)
    before, after = await held(old), await held(new)
    position = connectors.c.keys().index("node")
    assert [row[position] for row in after["connectors"]] == ["here"]
    assert [row[position] for row in before["connectors"]] == [""]
    before["connectors"] = after["connectors"]
    assert after == before
    assert {each.table: each.rows for each in report} == {name: len(found) for name, found in before.items()}
    assert all(each.copied == each.rows for each in report)
    assert "nodes" not in after
    async with new.database.visited():
        assert not [each for each in await new.database.read(invariants.findings) if each.count]


async def test_there_and_back_is_the_same(town: Town) -> None:
    first, second, third = await town.furnished("sqlite"), town.empty("postgresql"), town.empty("sqlite")
    there, back = await moved(first, second), await moved(second, third)
    assert [each.checksum for each in there] == [each.checksum for each in back]


@pytest.mark.parametrize("target", DIALECTS)
async def test_results_are_searchable_in_the_new_place(town: Town, target: str) -> None:
    """What is searched by words is made there, of what was copied."""
    old, new = await town.furnished("sqlite"), town.empty(target)
    await moved(old, new)
    async with new.database.opened():
        while await new.database.write(search_documents.fill_next):
            pass
        found = await new.database.read(_find_titles)
        ended = run_items.c.id == segment_results.c.run_item_id, run_items.c.completed_at.is_not(None)
        good = sa.select(segment_results.c.run_item_id, segment_results.c.ordinal).where(
            *ended, segment_results.c.error.is_(None)
        )
        expected = await new.database.read(lambda tx: [tuple(row) for row in tx.all(good)])
    assert sorted(found) == sorted(expected) != []


def _find_titles(tx: Tx) -> list[tuple[int, int]]:
    ranked = find_ranked(tx, parse_query("a "), SearchScope(), "segment", slice(0, 100))
    return [hit.key for hit in ranked.hits]


@pytest.mark.parametrize("target", DIALECTS)
async def test_the_work_goes_on_in_the_new_place(town: Town, target: str) -> None:
    """An open window, files to import, an item to process and deliveries to make: all are due there."""
    old, new = await town.furnished("sqlite"), town.empty(target)
    await moved(old, new)
    town.clock.advance(3600)
    due = [await _put_again(place) for place in (old, new)]
    assert {kind for kind, *_ in due[0]} == {"scan", "window", "import_file", "run_item", "delivery"}
    assert due[1] == due[0]


async def _put_again(place: Place) -> list[tuple[str, str, int, int]]:
    sink = place.database.sink = RecordingSink()
    async with place.database.opened():
        await place.database.write(requeue_overdue, sink, 5.0)
    return sorted((job.kind.value, job.ref, job.revision, int(job.priority)) for job in sink.jobs)


@pytest.mark.parametrize(("source", "target"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
async def test_no_number_is_given_twice(town: Town, source: str, target: str) -> None:
    """Not even that of the last row, which is gone: the ledger may name it."""
    old, new = await town.furnished(source), town.empty(target)
    await moved(old, new)
    numbers = []
    for place in (old, new):
        async with place.database.opened():
            numbers.append(await place.database.write(_next_numbers))
    assert numbers[0] == numbers[1]


def _next_numbers(tx: Tx) -> tuple[int, int, int]:
    tx.insert(import_files, job_id="job_next", key="next")
    automation = tx.execute(sa.select(windows.c.automation_id)).scalars().first()
    tx.insert(windows, id="win_next", automation_id=automation, import_job_id="job_next", state="closed")
    scope = ledger.ensure_scope(tx, "idx_next", "conn_next")
    return last(tx, import_files.c.id), last(tx, windows.c.seq), scope


async def test_a_text_with_a_nul_arrives_without_it(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL holds none; how far the copy came is told by the source's own keys."""
    monkeypatch.setattr(moving, "_BATCH_ROWS", 1)
    old, new = town.empty("sqlite"), town.empty("postgresql")
    async with old.database.opened():
        await old.database.write(_nuls)
    await moved(old, new)
    assert [row[1] for row in (await held(new))["observations"]] == ["a\ufffdb", "a\ufffdc", "b"]


def _nuls(tx: Tx) -> None:
    for key in ("a\0b", "a\0c", "b"):
        tx.insert(observations, automation_id="auto", key=key)


def dying(moment: str, number: int, *urls: str) -> int:
    command = [sys.executable, str(DYING_COPY), moment, str(number), *urls]
    return subprocess.run(command, check=False).returncode


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("target", "kills"),
    [
        ("postgresql", [("after", 1), ("before", 9), ("after", 40)]),
        ("sqlite", [("before", 20)]),
    ],
)
async def test_a_copy_that_was_killed_goes_on(
    town: Town, target: str, kills: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await town.furnished("sqlite")
    expected = await moved(old, town.empty("sqlite"))
    url = town.address(target)
    for moment, number in kills:
        assert dying(moment, number, f"sqlite:///{old.name}", url) == -signal.SIGKILL
    whole = sum(each.rows for each in expected)
    report = await moved(old, town.place(url))
    assert [each.checksum for each in report] == [each.checksum for each in expected]
    assert 0 < sum(each.copied for each in report) < whole


async def test_a_copy_that_has_ended_is_only_compared(town: Town) -> None:
    old, url = await town.furnished("sqlite"), town.address("postgresql")
    first, again = await moved(old, town.place(url)), await moved(old, town.place(url))
    assert [each.checksum for each in first] == [each.checksum for each in again]
    assert sum(each.copied for each in again) == 0


@pytest.mark.parametrize("target", DIALECTS)
async def test_a_difference_names_its_table(town: Town, target: str) -> None:
    old, url = await town.furnished("sqlite"), town.address(target)
    await moved(old, town.place(url))
    new = town.place(url)
    async with new.database.opened():
        await new.database.write(_falsify)
    with pytest.raises(StoreError, match=r"differ in objects \(51 rows .* 47 in the target\), media \(2 "):
        await moved(old, town.place(url))


def _falsify(tx: Tx) -> None:
    tx.execute(sa.update(media).where(media.c.key == "done.mp4").values(duration_seconds=4.000000000000001))
    tx.execute(sa.delete(objects).where(objects.c.key == "Z"))


async def test_a_source_that_goes_on_meanwhile_is_found_out(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_BATCH_ROWS", 5)
    old, url = await town.furnished("sqlite"), town.address("postgresql")

    def interfere(table: str, _rows: int) -> None:
        if table == "media":
            with closing(sqlite3.connect(old.name)) as raw, raw:
                raw.execute("UPDATE objects SET window_seq = 0")

    with pytest.raises(StoreError, match="differ in objects"):
        await copy(old, town.place(url), "here", interfere)
    with pytest.raises(StoreError, match="an unfinished copy"):
        await _require_whole(town.place(url))


async def _require_whole(place: Place) -> None:
    async with place.database.opened():
        await place.database.read(moving.require_whole)


@pytest.mark.parametrize("target", DIALECTS)
async def test_what_has_not_wholly_arrived_is_no_place_to_work(
    town: Town, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, url = await town.furnished("sqlite"), town.address(target)

    def stop(_table: str, _rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy(old, town.place(url), "here", stop)
    with pytest.raises(StoreError, match="an unfinished copy"):
        await _require_whole(town.place(url))
    with pytest.raises(StoreError, match="an unfinished copy"):
        await moved(town.place(url), town.empty("sqlite"))
    with pytest.raises(Conflict, match="another copy into this database has not ended"):
        await moved(old, town.place(url), node="elsewhere")
    await moved(old, town.place(url))
    await _require_whole(town.place(url))


@pytest.mark.parametrize("target", DIALECTS)
async def test_another_installation_is_not_mixed_in(town: Town, target: str) -> None:
    old, url = await town.furnished("sqlite"), town.address(target)
    other = town.place(url, FakeClock(wall=5.0))
    async with other.database.opened():
        await other.database.write(prepare)
    before = await held(town.place(url))
    with pytest.raises(Conflict, match="contains data from elsewhere"):
        await moved(old, town.place(url))
    assert await held(town.place(url)) == before


async def test_a_database_that_a_daemon_has_is_neither_left_nor_entered(town: Town) -> None:
    old, new = await town.furnished("sqlite"), town.empty("sqlite")
    for place in (old, new):
        owner = town.place(f"sqlite:///{place.name}")
        async with owner.database.opened():
            with pytest.raises(StoreLocked):
                await moved(old, new)
    await moved(old, new)


async def test_a_server_that_a_daemon_works_on_is_neither_left_nor_entered(town: Town) -> None:
    old, url = await town.furnished("sqlite"), town.address("postgresql")
    daemon = await asyncpg.connect(url, server_settings={"application_name": DAEMON})
    for source, target in ((old, town.place(url)), (town.place(url), town.empty("sqlite"))):
        async with PostgresDatabase(url, town.clock, "test").opened():
            with pytest.raises(StoreLocked, match=f"a daemon uses {town.place(url).name}"):
                await moved(source, target)
    await daemon.close()


async def test_of_two_copies_at_once_one_ends(town: Town) -> None:
    old, url = await town.furnished("sqlite"), town.address("postgresql")
    other = town.place(url)

    async def overtake(self: Any, table: sa.Table, mark: Any) -> Any:
        async with other.database.opened():
            await other.database.write(moving._advance, mark, moving._Mark(mark.installation, "", "media"))
        return await honest(self, table, mark)

    honest = moving._Copy._rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moving._Copy, "_rows", overtake)
        with pytest.raises(StoreLocked, match="another copy"):
            await moved(old, town.place(url))


async def test_local_folders_want_a_node(town: Town) -> None:
    old, new = await town.furnished("sqlite"), town.empty("postgresql")
    with pytest.raises(Conflict, match="have no node: conn_in") as refused:
        await moved(old, new, node="")
    assert "--node NAME" in refused.value.hint
    async with old.database.opened():
        await old.database.write(_share)
    await moved(old, new, node="")


def _share(tx: Tx) -> None:
    tx.execute(sa.update(connectors).values(settings={"root": "/in", "shared": True}))


async def test_a_file_has_one_node_and_no_name_for_it(town: Town) -> None:
    old, new = await town.furnished("sqlite"), town.empty("sqlite")
    await moved(old, new, node="")
    assert await held(new) == await held(old)


async def test_only_the_present_schema_is_copied(town: Town) -> None:
    path = town.folder / "v1.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript((Path(__file__).parents[1] / "db" / "v1.sql").read_text())
    before = path.read_bytes()
    for place, message in (
        (town.place(f"sqlite:///{path}"), "has schema version 1, not"),
        (town.place(f"sqlite:///{town.folder}/missing.db"), "there is no database"),
        (town.empty("postgresql"), "is not a vvwatch database"),
    ):
        with pytest.raises(StoreError, match=message):
            await moved(place, town.empty("sqlite"))
    assert path.read_bytes() == before
    assert not (town.folder / "missing.db").exists()


async def test_a_newer_schema_is_neither_left_nor_entered(town: Town) -> None:
    old, newer = await town.furnished("sqlite"), town.empty("sqlite")
    async with newer.database.opened():
        await newer.database.write(lambda tx: migrations._stamp(tx.conn, migrations.LATEST + 1, 0.0))
    for source, target in ((newer, old), (old, newer)):
        with pytest.raises(SchemaTooNew):
            await moved(source, target)


def test_the_digest_knows_every_value_and_no_order() -> None:
    many = [(1, "a", None, 0.5), (2, "b", True, b"\0"), (1, "a", None, 0.25)]
    shuffled = random.Random(7).sample(many, 3)
    assert rows.digest_rows(many) == rows.digest_rows(shuffled)
    assert rows.digest_rows(many) == rows.add_digests(rows.digest_rows(many[:1]), rows.digest_rows(many[1:]))
    assert rows.digest_rows(many) != rows.digest_rows(many[:2])
    assert rows.digest_rows([("1",)]) != rows.digest_rows([(1,)])


async def test_nothing_is_forgotten_when_the_schema_grows(town: Town) -> None:
    """Every table is either copied or named here."""
    old = await town.furnished("sqlite")
    async with old.database.visited():
        names = await old.database.read(lambda tx: set(sa.inspect(tx.conn).get_table_names()))
        assert await old.database.read(counted, nodes) == 1
    copied = {table.name for table in rows.domain_tables()}
    search = {f"search_text{part}" for part in ("", "_config", "_data", "_docsize", "_idx")}
    assert names - copied - {"sqlite_sequence"} == {
        "jobs",
        "nodes",
        "schema_versions",
        "search_vectors",
        *search,
    }
