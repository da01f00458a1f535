"""Deleting indexes and media: what is told at once, what goes, and what stays."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import CONNECTOR, INDEX, Story, prepared, window
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.footage import items, shot
from tests.store.pipeline import PROBE, RESULT, jobs_of
from vvwatch.core.imports import FileStatus
from vvwatch.ports import Kind
from vvwatch.store.admin import clearing, deletions
from vvwatch.store.admin.invariants import findings
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.runs import runs
from vvwatch.store.schema import (
    events,
    export_automations,
    exports,
    import_automations,
    import_files,
    import_jobs,
    indexes,
    ledger_scopes,
    media,
    objects,
    observations,
    prompt_runs,
    run_items,
    segment_results,
)
from vvwatch.store.schema import windows as windows_table
from vvwatch.store.watching import ledger, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.deletions import DeletionWorker

pytestmark = pytest.mark.anyio

OF_AN_INDEX = (
    exports,
    objects,
    observations,
    import_files,
    import_jobs,
    windows_table,
    segment_results,
    run_items,
    prompt_runs,
    media,
    export_automations,
    import_automations,
    ledger_scopes,
    indexes,
)


async def count(database: Database, table: sa.Table, *wanted: sa.ColumnElement[bool]) -> int:
    return await database.read(
        lambda tx: tx.execute(sa.select(sa.func.count()).select_from(table).where(*wanted)).scalar_one()
    )


async def broken(database: Database) -> dict[str, tuple[str, ...]]:
    """The promises that do not hold."""
    found = await database.read(findings)
    return {each.name: each.ids for each in found if each.count}


async def undeclared(database: Database) -> None:
    """As if all had been made over the API."""

    def change(tx: Tx) -> None:
        for table in (indexes, import_automations, export_automations):
            tx.execute(sa.update(table).values(declared=False))

    await database.write(change)


def deleting(database: Database, clock: FakeClock, pieces: int | None = None) -> DeletionWorker:
    """Carries deletions out, and stops after so many pieces."""
    left = [pieces]

    def stopping() -> bool:
        if left[0] is None:
            return False
        left[0] -= 1
        return left[0] < 0

    return DeletionWorker(database, clock, Telemetry("test"), stopping)


@pytest.fixture
async def free(database: Database, story: Story) -> Story:
    """The story, of an index that the API may delete."""
    await undeclared(database)
    await database.write(ledger.claim_outputs, ["file:///out/results/x.json"], story.export_id)
    return story


async def test_an_index_goes_with_all_that_was_in_it(
    api: Api, free: Story, database: Database, clock: FakeClock
) -> None:
    begun = await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    assert begun == {
        "deletion_id": begun["deletion_id"],
        "status": "draining",
        "retry_after_seconds": 1,
        "index_id": INDEX,
    }
    await deleting(database, clock).run()
    assert await api.get(f"/indexes/{INDEX}/deletion") == {
        **begun,
        "status": "deleted",
        "retry_after_seconds": None,
    }
    assert {table.name: await count(database, table) for table in OF_AN_INDEX} == dict.fromkeys(
        (table.name for table in OF_AN_INDEX), 0
    )
    assert await broken(database) == {}


async def test_a_deleted_index_is_out_of_sight_at_once(api: Api, free: Story) -> None:
    await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    error = await api.error("GET", f"/indexes/{INDEX}", 404)
    assert error["code"] == "resource_index_not_found"
    assert "deleted" in error["details"]["hint"]
    assert await api.get("/indexes") == []
    await api.error("GET", f"/indexes/{INDEX}/videos", 404)
    error = await api.error("GET", f"/videos/{free.video_id}", 404)
    assert error["code"] == "resource_video_not_found"
    await api.error("DELETE", f"/videos/{free.video_id}", 404)
    assert await api.post("/videos/batch", {"video_ids": [free.video_id]}) == []
    await api.error("PATCH", f"/indexes/{INDEX}", 404, json={"name": "again"})


async def test_asked_again_a_deletion_is_the_same(
    api: Api, free: Story, database: Database, clock: FakeClock
) -> None:
    for path in (f"/videos/{free.video_id}", f"/indexes/{INDEX}"):
        first = await api.ask("DELETE", path, status=202)
        assert await api.ask("DELETE", path, status=202) == first
        await deleting(database, clock).run()
        again = await api.ask("DELETE", path, status=202)
        assert (again["deletion_id"], again["status"]) == (first["deletion_id"], "deleted")


async def test_its_automation_stands_still_from_the_first(
    api: Api, free: Story, database: Database, storage: FakeStorage
) -> None:
    await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    [automation] = await database.read(lambda tx: tx.all(sa.select(import_automations)))
    assert (automation.enabled, automation.next_at) == (False, None)
    found = [storage.put("late.mp4", b"late")]
    taken = await database.write(windows.accept_objects, automation.id, automation.generation, found)
    assert taken.count == 0


async def test_a_deletion_goes_on_wherever_it_broke_off(
    api: Api, free: Story, database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing, "AT_ONCE", 1)
    monkeypatch.setattr(clearing, "_ITEMS_AT_ONCE", 1)
    await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    starts = 0
    while (await api.get(f"/indexes/{INDEX}/deletion"))["status"] != "deleted":
        starts += 1
        assert starts < 500
        await deleting(database, clock, pieces=3 + starts % 40).run()
        assert await broken(database) == {}
    assert starts > 3
    assert await count(database, media) == 0


async def test_work_under_way_records_nothing_more(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    automation = await database.write(prepared)
    await undeclared(database)
    await window(database, clock, automation, [storage.put("a.mp4", b"a"), storage.put("b.mp4", b"b")])
    first, second = jobs_of(database).take(Kind.IMPORT_FILE)
    imported = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="file:///a")
    await database.write(imports.begin_file, first)
    await database.write(imports.begin_file, second)
    await database.write(imports.finish_file, first, imported)
    await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    await deleting(database, clock, pieces=3).run()
    assert await database.write(imports.finish_file, second, imported) is None
    await deleting(database, clock).run()
    assert await database.write(imports.finish_file, second, imported) is None
    assert await count(database, media) == 0
    assert await broken(database) == {}


async def test_a_run_under_way_is_cancelled_and_that_is_told(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    job = await _processing(database, clock, storage)
    await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    await deleting(database, clock, pieces=3).run()
    assert await database.write(runs.finish_item, job, RESULT) is None
    await deleting(database, clock).run()
    assert await database.write(runs.finish_item, job, RESULT) is None
    assert await count(database, events, events.c.type == "prompt_run.cancelled") == 1
    assert await broken(database) == {}


async def _processing(database: Database, clock: FakeClock, storage: FakeStorage) -> Any:
    """A run with two items, of which the first is being processed."""
    automation = await database.write(prepared)
    await undeclared(database)
    found = [storage.put("a.mp4", b"a"), storage.put("b.mp4", b"b")]
    await window(database, clock, automation, found)
    for job in jobs_of(database).take(Kind.IMPORT_FILE):
        await database.write(imports.begin_file, job)
        outcome = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri=f"file:///{job.ref}")
        await database.write(imports.finish_file, job, outcome)
    job = jobs_of(database).take(Kind.RUN_ITEM)[0]
    await database.write(runs.begin_item, job)
    return job


async def test_what_the_file_declares_is_deleted_there(api: Api, database: Database) -> None:
    await database.write(prepared)
    await undeclared(database)
    for table in (import_automations, indexes):
        await database.write(_declare_all, table)
        error = await api.error("DELETE", f"/indexes/{INDEX}", 409)
        assert "read-only" in error["message"]
        assert "configuration file" in error["details"]["hint"]


def _declare_all(tx: Tx, table: sa.Table) -> None:
    tx.execute(sa.update(table).values(declared=True))


@pytest.mark.parametrize("path", ["/indexes/none", "/videos/none"])
async def test_what_was_never_there_cannot_be_deleted(api: Api, path: str) -> None:
    await api.error("DELETE", path, 404)
    error = await api.error("GET", f"{path}/deletion", 404)
    assert error["code"].endswith("_deletion_not_found")


async def test_a_video_goes_with_what_was_found_in_it(
    api: Api, free: Story, database: Database, clock: FakeClock
) -> None:
    assert await count(database, segment_results) > 0
    begun = await api.ask("DELETE", f"/videos/{free.video_id}", status=202)
    assert (begun["video_id"], begun["status"], begun["retry_after_seconds"]) == (
        free.video_id,
        "draining",
        1,
    )
    await deleting(database, clock).run()
    assert (await api.get(f"/videos/{free.video_id}/deletion"))["status"] == "deleted"
    assert await count(database, segment_results) == 0
    for path in ("", "/segments", "/prompt-runs"):
        assert (await api.error("GET", f"/videos/{free.video_id}{path}", 404))[
            "code"
        ] == "resource_video_not_found"
    assert (await api.get(f"/indexes/{INDEX}/videos"))["data"] == []
    assert (await api.get(f"/prompt-runs/{free.run_id}"))["completed_videos"] == 1
    assert await count(database, exports) == 1
    assert await broken(database) == {}


async def test_a_deleted_video_is_not_imported_again(
    api: Api, free: Story, database: Database, storage: FakeStorage
) -> None:
    await api.ask("DELETE", f"/videos/{free.video_id}", status=202)
    [automation] = await database.read(lambda tx: tx.all(sa.select(import_automations)))
    same = [storage._objects["a.mp4"][0]]
    taken = await database.write(windows.accept_objects, automation.id, automation.generation, same)
    assert taken.count == 0
    newer = [storage.put("a.mp4", b"another")]
    taken = await database.write(windows.accept_objects, automation.id, automation.generation, newer)
    assert taken.count == 1


async def test_a_run_goes_on_without_a_deleted_video(
    api: Api, database: Database, clock: FakeClock, storage: FakeStorage
) -> None:
    job = await _processing(database, clock, storage)
    rows = await database.read(lambda tx: tx.all(sa.select(media).order_by(media.c.id)))
    videos = [row.id for row in rows]
    await api.ask("DELETE", f"/videos/{videos[0]}", status=202)
    assert await database.write(runs.finish_item, job, RESULT) is None
    [run] = await api.get("/prompt-runs")
    assert (run["status"], run["failed_videos"]) == ("processing", 1)
    await api.ask("DELETE", f"/videos/{videos[1]}", status=202)
    [run] = await api.get("/prompt-runs")
    assert (run["status"], run["failed_videos"]) == ("failed", 2)
    await deleting(database, clock).run()
    assert await broken(database) == {}


async def test_a_run_counts_only_what_is_left_of_it(
    api: Api, free: Story, database: Database, clock: FakeClock
) -> None:
    videos = await shot(database, 3)
    other = await api.index()
    await database.write(lambda tx: tx.update(media, videos[0], index_id=other))
    target = {"type": "videos", "video_ids": videos}
    body = {"prompt_id": catalog.DEFAULT_PROMPT_ID, "target": target}
    run = await api.post("/prompt-runs/execute", body, status=202)
    for job in items(database):
        await database.write(runs.begin_item, job)
        await database.write(runs.finish_item, job, RESULT)
    whole = await api.get(f"/prompt-runs/{run['run_id']}")
    await api.ask("DELETE", f"/indexes/{other}", status=202)
    await deleting(database, clock).run()
    left = await api.get(f"/prompt-runs/{run['run_id']}")
    for name in ("total_segments", "completed_segments"):
        assert left[name] * 3 == whole[name] * 2 > 0
    assert await broken(database) == {}


async def test_an_index_with_deleted_videos_goes_as_well(
    api: Api, free: Story, database: Database, clock: FakeClock
) -> None:
    await api.ask("DELETE", f"/videos/{free.video_id}", status=202)
    await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    await deleting(database, clock).run()
    assert await database.read(deletions.list_unfinished) == []
    assert await count(database, media) == 0


async def test_the_object_of_a_deleted_video_is_still_explained(api: Api, free: Story) -> None:
    await api.ask("DELETE", f"/videos/{free.video_id}", status=202)
    [place] = (await api.get("/explain", connector_id=CONNECTOR, key="a.mp4"))["places"]
    assert f"imported as {free.video_id}" in place["indexes"][0]["conclusion"]


async def test_a_deletion_that_breaks_does_not_hold_up_the_next(
    api: Api, free: Story, database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_step(_tx: Tx, _video_id: str) -> int:
        raise RuntimeError("boom")

    monkeypatch.setattr(
        "vvwatch.workflow.upkeep.deletions.STEPS", {**clearing.STEPS, deletions.VIDEO: (broken_step,)}
    )
    await api.ask("DELETE", f"/videos/{free.video_id}", status=202)
    await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    await deleting(database, clock).run()
    assert (await api.get(f"/indexes/{INDEX}/deletion"))["status"] == "deleted"
    assert (await api.get(f"/videos/{free.video_id}/deletion"))["status"] == "deleting"


async def test_a_node_that_comes_late_leaves_what_has_the_id_now(
    api: Api, free: Story, database: Database, clock: FakeClock
) -> None:
    await api.ask("DELETE", f"/indexes/{INDEX}", status=202)
    [seen] = await database.read(deletions.list_unfinished)
    await deleting(database, clock).run()
    await database.write(catalog.declare_index, INDEX, "again")
    await database.write(deletions.stop_work, seen)
    for step in clearing.STEPS[deletions.INDEX]:
        assert await database.write(clearing.clear_piece, seen, step) == 0
    await database.write(deletions.finish, seen)
    assert (await api.get(f"/indexes/{INDEX}"))["name"] == "again"
