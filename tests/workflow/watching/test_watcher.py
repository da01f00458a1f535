from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import POLICY, PROBE, jobs_of, prepare
from tests.workflow.conftest import Told
from tests.workflow.watching.queues import until
from vvwatch.core.imports import FileStatus
from vvwatch.errors import StorageUnavailable
from vvwatch.ports import Capabilities, Hint, Irregularity, Kind, Page
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome
from vvwatch.store.schema import import_automations, import_files, objects, observations, windows
from vvwatch.store.watching import automations, ledger
from vvwatch.store.watching import windows as gathering
from vvwatch.workflow.watching.preview import preview_import
from vvwatch.workflow.watching.watcher import MAX_SCANS_PER_CONNECTOR, Watcher

pytestmark = pytest.mark.anyio


class SlowStorage(FakeStorage):
    """A store whose objects are seen while they are written; `held` are open in a writer."""

    capabilities = Capabilities(atomic_writes=False)

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()
        self.irregular: list[Irregularity] = []

    async def in_use(self, keys: Sequence[str]) -> set[str]:
        return self.held & set(keys)

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        async for page in super().list(prefix, recursive=recursive):
            yield page
        yield Page((), self.irregular)


@pytest.fixture
def storage() -> SlowStorage:
    return SlowStorage()


async def scan(database: Database, watcher: Watcher) -> None:
    """Run the latest scan job there is."""
    await watcher.scan(jobs_of(database).take(Kind.SCAN)[-1])


async def keys(database: Database, table: sa.Table = import_files) -> list[str]:
    rows = await database.read(lambda tx: tx.all(sa.select(table.c.key).order_by(table.c.key)))
    return [row.key for row in rows]


async def waiting(database: Database) -> list[str]:
    """The keys in the open window."""
    query = sa.select(import_files.c.key).join(windows, windows.c.import_job_id == import_files.c.job_id)
    query = query.where(windows.c.state == "open")
    return [row.key for row in await database.read(lambda tx: tx.all(query))]


async def settle(database: Database, watcher: Watcher, clock: FakeClock) -> None:
    """Two scans, a settle time apart."""
    await scan(database, watcher)
    clock.advance(5)
    await scan(database, watcher)


async def test_an_object_is_taken_when_it_has_settled(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    await database.write(prepare)
    storage.put("a.mp4", b"whole")
    await scan(database, watcher)
    assert await keys(database) == []
    clock.advance(5)
    await scan(database, watcher)
    assert await keys(database) == ["a.mp4"]


async def test_slow_writer_8s(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 34: what still grows is not complete, however long it takes."""
    await database.write(prepare)
    for second in range(8):
        storage.put("a.mp4", b"x" * (second + 1))
        await scan(database, watcher)
        clock.advance(4)
    assert await keys(database) == []
    clock.advance(1)
    await scan(database, watcher)
    assert await keys(database) == ["a.mp4"]


async def test_fallocate_then_fill(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 35: full size from the start and an old mtime prove nothing while the change time moves."""
    await database.write(prepare)
    obj = storage.put("a.mp4", b"0" * 100)
    for moment in range(5):
        moved = obj._replace(changed_at=obj.changed_at + moment)
        storage._objects["a.mp4"] = (moved, b"0" * 100)
        await scan(database, watcher)
        clock.advance(5)
    assert await keys(database) == []
    await scan(database, watcher)
    assert await keys(database) == ["a.mp4"]


async def test_what_a_writer_holds_open_waits(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    await database.write(prepare)
    storage.put("a.mp4", b"x")
    storage.held = {"a.mp4"}
    await settle(database, watcher, clock)
    assert await keys(database) == []
    storage.held = set()
    clock.advance(5)
    await scan(database, watcher)
    assert await keys(database) == ["a.mp4"]


async def test_an_event_that_says_everything_asks_the_store_nothing(
    database: Database, watcher: Watcher, storage: SlowStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await database.write(prepare)
    storage.put("a.mp4", b"x")
    described = await storage.stat("a.mp4")
    monkeypatch.delattr(FakeStorage, "stat_each")
    monkeypatch.delattr(FakeStorage, "stat")
    assert await watcher.notice(row.id, Hint(objects=(described,)))


async def test_event_then_list_once(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 6: a hint and a listing of the same version make one unit."""
    row = await database.write(prepare)
    storage.put("a.mp4", b"x")
    await watcher.notice(row.id, Hint(keys=("a.mp4",)))
    clock.advance(5)
    await watcher.notice(row.id, Hint(keys=("a.mp4", "a.mp4")))
    await settle(database, watcher, clock)
    assert await keys(database, objects) == ["a.mp4"]


@pytest.mark.parametrize("how", ["late_smaller_key_is_found", "old_lastmodified_new_object"])
async def test_no_high_water_mark(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock, how: str
) -> None:
    """Traps 1 and 3: neither a smaller key nor an older time hides a new object."""
    await database.write(prepare)
    storage.put("m.mp4", b"x")
    await settle(database, watcher, clock)
    storage.moment -= 1_000_000 if how.startswith("old") else 0
    storage.put("z.mp4" if how.startswith("old") else "a.mp4", b"x")
    await settle(database, watcher, clock)
    assert len(await keys(database, objects)) == 2


async def test_1000_objects_one_second(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 2: identity is compared, never time."""
    await database.write(prepare)
    for number in range(1000):
        storage.put(f"{number:04}.mp4", b"x")
        if number == 500:
            await settle(database, watcher, clock)
    await settle(database, watcher, clock)
    assert len(await keys(database)) == 1000


async def test_list_mutating(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 41: what appears or repeats while a listing runs is taken once, now or next time."""
    await database.write(prepare)
    for number in range(1500):
        storage.put(f"{number:04}.mp4", b"x")
    honest = storage.list

    async def doubled(
        prefix: str, *, recursive: bool, after: str = "", skips: object = None
    ) -> AsyncIterator[Page]:
        async for page in honest(prefix, recursive=recursive):
            yield page
            yield page
            storage.put("late.mp4", b"x") if "late.mp4" not in storage._objects else None

    storage.list = doubled  # type: ignore[method-assign]
    await settle(database, watcher, clock)
    await settle(database, watcher, clock)
    assert len(await keys(database)) == 1501


async def test_delete_before_fetch_and_rename_into_place(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Traps 19 and 36: a temporary name is left alone, the renamed file is new, a vanished one is forgotten."""
    row = await database.write(prepare)
    storage.put("a.mp4.part", b"x")
    storage.put("gone.mp4", b"x")
    await scan(database, watcher)
    storage.remove("gone.mp4")
    storage.put("a.mp4", b"x")
    storage.remove("a.mp4.part")
    await watcher.notice(row.id, Hint(keys=("gone.mp4",)))
    assert watcher.settling() == 0
    await settle(database, watcher, clock)
    assert await keys(database) == ["a.mp4"]


async def test_zero_byte_marker(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 10: empty media is observed with its reason, and eligible when it has content."""
    await database.write(prepare)
    storage.put("a.mp4", b"")
    storage.put("folder/", b"")
    await settle(database, watcher, clock)
    [seen] = await database.read(lambda tx: tx.all(sa.select(observations)))
    assert (seen.key, seen.reason) == ("a.mp4", "zero_byte")
    storage.put("a.mp4", b"x")
    await settle(database, watcher, clock)
    assert await keys(database) == ["a.mp4"]
    assert await keys(database, observations) == []


async def test_what_cannot_be_an_object_is_observed_with_its_reason(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    await database.write(prepare, file_pattern="*.mp4")
    storage.irregular = [
        Irregularity("bad\\xff.mp4", "undecodable_name", "rename it"),
        Irregularity("link.mp4", "not_a_regular_file", "a link"),
        Irregularity("link.txt", "not_a_regular_file", "a link that nobody meant"),
        Irregularity("locked/", "permission_denied", "may not be listed"),
    ]
    await scan(database, watcher)
    assert await keys(database, observations) == ["bad\\xff.mp4", "link.mp4", "locked/"]


@pytest.mark.parametrize(("recursive", "observed"), [(True, ["caf\\xe9/"]), (False, [])])
async def test_a_folder_that_cannot_be_looked_into_is_observed_where_it_hides_what_is_wanted(
    database: Database, watcher: Watcher, storage: SlowStorage, recursive: bool, observed: list[str]
) -> None:
    """Trap 32: else nobody could say why nothing comes of what is in it."""
    await database.write(prepare, file_pattern="*.mp4", recursive=recursive)
    storage.irregular = [Irregularity("caf\\xe9/", "undecodable_name", "rename it")]
    await scan(database, watcher)
    assert await keys(database, observations) == observed
    [watched] = watcher._watched.values()
    assert (await preview_import(database, watched)).declined.total() == len(observed)


async def test_unmount_mid_run(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock, told: Told
) -> None:
    """Trap 21: a listing that fails proves nothing, says so, and is tried again soon."""
    await database.write(prepare)
    storage.put("a.mp4", b"x")
    await settle(database, watcher, clock)
    storage.broken = StorageUnavailable("the folder is gone", "mount it")
    await scan(database, watcher)
    [row] = await database.read(lambda tx: tx.all(sa.select(import_automations)))
    assert (row.last_error, row.last_error_hint) == ("the folder is gone", "mount it")
    assert row.next_at <= clock.now() + 33
    assert "scan.failed" in told.names()
    storage.broken = None
    await scan(database, watcher)
    [row] = await database.read(lambda tx: tx.all(sa.select(import_automations)))
    assert row.last_error is None
    assert await keys(database, objects) == ["a.mp4"]


async def test_new_only_takes_a_keys_first_version(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    await database.write(prepare, import_mode_override="new_only")
    storage.put("a.mp4", b"x")
    await settle(database, watcher, clock)
    storage.put("a.mp4", b"y")
    await settle(database, watcher, clock)
    rows = await database.read(lambda tx: tx.all(sa.select(objects.c.window_seq)))
    assert sorted(row.window_seq > ledger.NOT_IMPORTED for row in rows) == [False, True]


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(("status", "taken"), [(FileStatus.FAILED, ["a.mp4"]), (FileStatus.IMPORTED, [])])
async def test_new_only_takes_another_version_of_what_could_not_be_imported(
    database: Database,
    watcher: Watcher,
    storage: SlowStorage,
    clock: FakeClock,
    status: FileStatus,
    taken: list[str],
    gone: bool,
) -> None:
    """Trap 34: half of a file stood still for too long, or somebody puts a sound one in the place of a bad one."""
    await database.write(prepare, import_mode_override="new_only")
    storage.put("a.mp4", b"half")
    await settle(database, watcher, clock)
    clock.advance(300)
    await database.write(gathering.close_due, jobs_of(database).take(Kind.WINDOW)[-1])
    [file] = jobs_of(database).take(Kind.IMPORT_FILE)
    if not gone:
        storage.put("a.mp4", b"whole")
        await settle(database, watcher, clock)
    assert await waiting(database) == []
    await database.write(imports.finish_file, file, FileOutcome(status, "media_damaged", "half of it", PROBE))
    if gone:
        storage.remove("a.mp4")
        await scan(database, watcher)
        await settle(database, watcher, clock)
        storage.put("a.mp4", b"whole")
    [watched] = watcher._watched.values()
    assert (await preview_import(database, watched)).new_keys == taken
    await settle(database, watcher, clock)
    assert await waiting(database) == taken


async def test_process_existing_false_begins_from_now(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    await database.write(prepare, process_existing=False)
    storage.moment = clock.now() - 100
    storage.put("old.mp4", b"x")
    storage.moment = clock.now() + 1
    storage.put("new.mp4", b"x")
    await settle(database, watcher, clock)
    storage.moment = clock.now() - 100
    storage.put("late-but-old.mp4", b"x")
    await settle(database, watcher, clock)
    assert await keys(database) == ["late-but-old.mp4", "new.mp4"]


async def test_from_now_on_is_from_when_it_was_made(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Traps 25 and 38: what stood still, or was edited, before its first listing leaves out nothing that came since."""
    await database.write(prepare, process_existing=False, file_pattern="*.mp4")
    clock.advance(60)
    storage.moment = clock.now()
    for key in ("new.mp4", "new.mov"):
        storage.put(key, b"x")
    clock.advance(60)
    for paused in (True, False):
        await database.write(automations.pause_import, "idx_main", paused=paused)
    await database.write(prepare, process_existing=False, file_pattern="*")
    await settle(database, watcher, clock)
    assert await keys(database) == ["new.mov", "new.mp4"]


async def test_an_edit_takes_nothing_for_old_that_was_wanted_before(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 38: a wider pattern without process_existing covers what comes from now on, and what was on its way."""
    await database.write(prepare, process_existing=False, file_pattern="*.mp4")
    await scan(database, watcher)
    clock.advance(60)
    storage.moment = clock.now()
    for key in ("settling.mp4", "old.mov"):
        storage.put(key, b"x")
    await scan(database, watcher)
    clock.advance(3)
    await database.write(prepare, process_existing=False, file_pattern="*")
    for paused in (True, False):
        await database.write(automations.pause_import, "idx_main", paused=paused)
    clock.advance(60)
    storage.moment = clock.now()
    storage.put("new.mov", b"x")
    await settle(database, watcher, clock)
    assert await keys(database) == ["new.mov", "settling.mp4"]
    rows = await database.read(lambda tx: tx.all(sa.select(objects.c.key, objects.c.window_seq)))
    assert {row.key for row in rows if row.window_seq == ledger.NOT_IMPORTED} == {"old.mov"}


async def test_another_connector_begins_from_now(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    def move(tx: Tx) -> None:
        spec = ConnectorSpec("other", "local", {"root": "/other"}, ("import",))
        catalog.declare_connector(tx, "conn_other", spec)
        prepare(tx, connector_id="conn_other", process_existing=False)

    await database.write(prepare, process_existing=False)
    await scan(database, watcher)
    clock.advance(60)
    storage.moment = clock.now()
    storage.put("there.mp4", b"x")
    clock.advance(60)
    await database.write(move)
    await settle(database, watcher, clock)
    assert await keys(database) == []


async def test_export_into_source(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 40: what we wrote is known before it stands there, under whatever name."""
    await database.write(prepare)
    await database.write(ledger.claim_outputs, [storage.uri("exports/ours.mp4")], "exp_1")
    storage.put("exports/ours.mp4", b"x")
    await settle(database, watcher, clock)
    assert await keys(database) == []


async def test_a_paused_automation_is_neither_scanned_nor_noticed(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    row = await database.write(prepare)
    storage.put("a.mp4", b"x")
    [job] = jobs_of(database).take(Kind.SCAN)
    await database.write(automations.pause_import, "idx_main", paused=True)
    await watcher.scan(job)
    await watcher.notice(row.id, Hint(rescan=("",)))
    assert watcher.settling() == 0


async def test_a_hint_outside_the_prefix_costs_nothing(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    row = await database.write(prepare, source_prefix="in/")
    storage.put("in/a.mp4", b"x")
    storage.put("out/b.mp4", b"x")
    await watcher.notice(row.id, Hint(keys=("out/b.mp4",), rescan=("out/", "in/")))
    assert watcher.settling() == 1


async def test_settling_objects_are_looked_at_again_by_themselves(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    row = await database.write(prepare)
    storage.put("a.mp4", b"x")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.settle)
        await watcher.notice(row.id, Hint(keys=("a.mp4",)))
        with anyio.fail_after(10):
            while not await keys(database):
                clock.advance(1)
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


async def test_the_scan_reports_what_it_saw(
    database: Database, watcher: Watcher, storage: SlowStorage, told: Told
) -> None:
    await database.write(prepare)
    storage.put("a.mp4", b"x")
    storage.put("notes.txt", b"x")
    await scan(database, watcher)
    [fields] = [fields for name, fields in told if name == "scan.finished"]
    assert (fields["listed"], fields["skipped"], fields["settling"]) == (2, 1, 1)
    opened: Collection[Any] = await database.read(lambda tx: tx.all(sa.select(windows)))
    assert opened == []


async def test_list_calls_budget(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    """Trap 22: a window of five minutes costs one listing a minute, and a failing store ever less."""
    await database.write(prepare)
    calls = 0
    end = clock.now() + 3600
    while clock.now() < end:
        storage.broken = StorageUnavailable("down") if clock.now() > end - 1800 else None
        [job] = jobs_of(database).take(Kind.SCAN)
        clock.advance(max(job.run_at - clock.now(), 0))
        await watcher.scan(job)
        calls += 1
    assert 30 + 10 - 2 <= calls <= 30 + 10 + 2


async def test_a_store_that_is_away_is_not_asked_all_the_time(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock, told: Told
) -> None:
    row = await database.write(prepare)
    storage.put("a.mp4", b"x")
    await watcher.notice(row.id, Hint(keys=("a.mp4",)))
    storage.broken = StorageUnavailable("down")
    for _ in range(3):
        clock.advance(5)
        await watcher._settle_all()
        assert min(watcher._waits(watcher._watched[row.id])) == 5
    assert told.names().count("hint.failed") == 3
    storage.broken = None
    clock.advance(5)
    await watcher._settle_all()
    assert await keys(database) == ["a.mp4"]


async def test_what_is_no_candidate_any_more_does_not_settle_for_ever(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    await database.write(prepare)
    storage.put("a.mp4", b"x")
    await scan(database, watcher)
    storage.put("a.mp4", b"")
    await scan(database, watcher)
    assert watcher.settling() == 0


async def test_many_that_vanished_cost_one_listing(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    await database.write(prepare)
    for number in range(2500):
        storage.put(f"{number}.mp4", b"x")
    await scan(database, watcher)
    storage._objects.clear()
    clock.advance(5)
    await watcher._settle_all()
    assert watcher.settling() == 0


async def test_our_own_artefacts_are_not_reported_either(
    database: Database, watcher: Watcher, storage: SlowStorage, clock: FakeClock
) -> None:
    await database.write(prepare)
    await database.write(ledger.claim_outputs, [storage.uri("exports/exp_1.json")], "exp_1")
    storage.put("exports/exp_1.json", b"{}")
    await settle(database, watcher, clock)
    assert await keys(database, observations) == []


async def test_a_store_that_does_not_answer_leaves_room_for_scans_of_others(
    database: Database, watcher: Watcher, storage: SlowStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def automate(tx: Tx) -> None:
        prepare(tx)
        catalog.declare_connector(
            tx, "conn_other", ConnectorSpec("other", "local", {"root": "/other"}, ("import",))
        )
        for number, connector in enumerate([*["conn_in"] * 3, "conn_other"]):
            catalog.declare_index(tx, f"idx_{number}", f"index {number}")
            spec = automations.ImportSpec(
                connector, "", "*", True, "5m", POLICY, 60, 5, {"prompt_id": catalog.DEFAULT_PROMPT_ID}
            )
            automations.save_import(tx, f"idx_{number}", spec)

    await database.write(automate)
    answers, begun = anyio.Event(), list[str]()

    async def never(prefix: str, **_: Any) -> AsyncIterator[Page]:
        begun.append(prefix)
        await answers.wait()
        yield Page(())

    monkeypatch.setattr(storage, "list", never)
    jobs = jobs_of(database).take(Kind.SCAN)
    assert len(jobs) == 5
    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(watcher.scan, job)
        await until(lambda: len(begun) == MAX_SCANS_PER_CONNECTOR + 1 and jobs_of(database).jobs)
        [put_off] = jobs_of(database).take(Kind.SCAN)
        answers.set()
    assert put_off.run_at == pytest.approx(jobs[0].run_at + 5, abs=1)
    await watcher.scan(put_off)
    assert len(begun) == MAX_SCANS_PER_CONNECTOR + 2
