"""Connectors that are edited over the API: what keeps them, what goes, and what stays for ever."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.pipeline import PROBE, RESULT, jobs_of, obj, prepare
from vvwatch.core.imports import FileStatus
from vvwatch.errors import Conflict, NotFound
from vvwatch.ports import Kind, WriteResult
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.delivery import exports
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.runs import runs
from vvwatch.store.schema import connectors, export_automations, import_automations, media
from vvwatch.store.schema import exports as export_table
from vvwatch.store.watching import automations, connector_changes, windows

pytestmark = pytest.mark.anyio

CONNECTOR = "conn_in"
SPEC = ConnectorSpec("in", "s3", {"bucket": "in"}, credentials=b"sealed")
IMPORTED = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="file:///in/a.mp4")


def made(tx: Tx) -> ImportAutomation:
    """An index with both automations, over a connector that nothing declares."""
    row = prepare(tx)
    tx.update(connectors, CONNECTOR, declared=False)
    return row


def put_aside(tx: Tx, *tables: sa.Table) -> None:
    for table in tables:
        tx.execute(sa.update(table).values(enabled=False))


async def refusal(database: Database) -> str:
    with pytest.raises(Conflict) as refused:
        await database.write(connector_changes.delete, CONNECTOR)
    return refused.value.message


async def row_of(database: Database) -> sa.Row[Any]:
    return await database.read(lambda tx: tx.require(connectors, "connector", CONNECTOR))


async def test_automations_keep_their_connector_until_they_are_disabled(database: Database) -> None:
    await database.write(made)
    both = "the import automation of index main (idx_main), the export automation of index main (idx_main)"
    assert await refusal(database) == f"connector 'conn_in' is used by {both}"
    await database.write(automations.pause_import, "idx_main", paused=True)
    assert "import automation" in await refusal(database)
    await database.write(put_aside, import_automations)
    assert "import automation" not in await refusal(database)
    await database.write(put_aside, export_automations)
    assert (await database.write(connector_changes.delete, CONNECTOR)).name == "in"


async def test_what_is_gathered_or_under_way_keeps_its_connector(
    database: Database, clock: FakeClock
) -> None:
    row = await database.write(made)
    await database.write(windows.accept_objects, row.id, row.generation, [obj("a.mp4")])
    await database.write(put_aside, import_automations)
    assert "import automation" in await refusal(database), "its window holds what was not imported yet"
    await database.write(lambda tx: tx.update(import_automations, row.id, enabled=True))
    clock.advance(300)
    await database.write(windows.close_due, jobs_of(database).take(Kind.WINDOW)[0])
    await database.write(put_aside, import_automations)
    [file] = jobs_of(database).take(Kind.IMPORT_FILE)
    assert "import job job_" in await refusal(database)
    await database.write(imports.finish_file, file, IMPORTED)
    assert "prompt run run_" in await refusal(database)
    [item] = jobs_of(database).take(Kind.RUN_ITEM)
    await database.write(runs.finish_item, item, RESULT)
    await database.write(put_aside, export_automations)
    assert "export exp_" in await refusal(database)
    [export] = jobs_of(database).take(Kind.EXPORT)
    await database.write(exports.begin, export)
    await database.write(exports.finish, export, WriteResult("file:///out", 1, "00"), delivered=True)
    await database.write(connector_changes.delete, CONNECTOR)
    assert [each.connector_id for each in await database.read(lambda tx: tx.all(sa.select(media)))] == [
        CONNECTOR
    ]


async def test_many_users_are_not_all_named(database: Database) -> None:
    await database.write(made)
    await database.write(_many_exports)
    message = await refusal(database)
    assert message.count("export exp_") == 5
    assert message.endswith(", others like it")


def _many_exports(tx: Tx) -> None:
    for number in range(7):
        tx.insert(export_table, id=f"exp_{number}", destination_connector_id=CONNECTOR)


async def test_a_deleted_connector_is_found_no_more_and_keeps_no_credentials(database: Database) -> None:
    connector = await database.write(catalog.create_connector, SPEC)
    await database.write(connector_changes.delete, connector.id)
    assert await database.read(catalog.list_connectors) == []
    for ask in (catalog.get_connector, connector_changes.require_editable):
        with pytest.raises(NotFound):
            await database.read(ask, connector.id)
    for edit in (connector_changes.delete, lambda tx, row_id: catalog.record_test(tx, row_id, None)):
        with pytest.raises(NotFound):
            await database.write(edit, connector.id)
    kept = await database.read(lambda tx: tx.require(connectors, "connector", connector.id))
    assert (kept.credentials, kept.node) == (None, "")


@pytest.mark.parametrize("status", ["deleted", "disabled"])
async def test_what_is_declared_again_is_there_again(database: Database, status: str) -> None:
    await database.write(catalog.declare_connector, CONNECTOR, SPEC)
    await database.write(lambda tx: tx.update(connectors, CONNECTOR, declared=False, status=status))
    again = await database.write(catalog.declare_connector, CONNECTOR, SPEC)
    assert (again.status, again.declared, again.credentials) == ("active", True, b"sealed")


async def test_a_declared_connector_is_edited_in_its_file(database: Database) -> None:
    await database.write(catalog.declare_connector, CONNECTOR, SPEC)
    for edit in (
        connector_changes.delete,
        lambda tx, row_id: connector_changes.change(tx, row_id, {"name": "x"}),
    ):
        with pytest.raises(Conflict, match="read-only here") as refused:
            await database.write(edit, CONNECTOR)
        assert "configuration file" in refused.value.hint


async def test_a_scope_that_is_used_cannot_be_taken(database: Database) -> None:
    await database.write(made)
    for scopes, missing in ((["import"], "export"), (["export"], "import")):
        with pytest.raises(Conflict, match=f"scope '{missing}' .* the {missing} automation of index main"):
            await database.write(connector_changes.change, CONNECTOR, {"scopes": scopes})
    await database.write(put_aside, export_automations)
    changed = await database.write(connector_changes.change, CONNECTOR, {"scopes": ["import"]})
    assert changed.scopes == ["import"]


async def test_an_edit_is_dated_and_looked_at_where_it_changes_the_reach(
    database: Database, clock: FakeClock
) -> None:
    row = await database.write(made)
    jobs_of(database).take(Kind.SCAN)
    clock.advance(7)
    await database.write(connector_changes.change, CONNECTOR, {"name": "rushes"})
    assert (await row_of(database)).updated_at == clock.now()
    assert jobs_of(database).take(Kind.SCAN) == []
    for changes in ({"status": "disabled"}, {"credentials": b"new"}):
        await database.write(connector_changes.change, CONNECTOR, changes)
        assert [job.ref for job in jobs_of(database).take(Kind.SCAN)] == [row.id]
    await database.write(automations.pause_import, "idx_main", paused=True)
    await database.write(connector_changes.change, CONNECTOR, {"status": "testing"})
    assert jobs_of(database).take(Kind.SCAN) == []


async def test_a_test_that_ends_late_enables_nothing(database: Database) -> None:
    connector = await database.write(catalog.create_connector, SPEC)
    await database.write(connector_changes.change, connector.id, {"status": "disabled"})
    tested = await database.write(catalog.record_test, connector.id, None)
    assert (tested.status, tested.last_test_result) == ("disabled", "success")


def test_credentials_are_in_no_repr() -> None:
    assert "sealed" not in repr(SPEC)
