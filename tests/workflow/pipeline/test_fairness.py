"""Who goes first when there is more to do than can be done at once: real engines, work that takes no time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.clock import FakeClock
from tests.daemon.test_declaring import config
from tests.databases import Databases
from tests.store.db.test_engine import AnyEngine, Failures, engine, failures
from tests.store.pipeline import PROBE, RESULT, obj, prepare
from vvwatch.core.imports import FileStatus
from vvwatch.core.processors import ProcessorInfo, ProcessorNames
from vvwatch.core.windows import WindowPolicy
from vvwatch.daemon.wiring import build_components
from vvwatch.ports import Handler, Job, Kind, Lane
from vvwatch.processors.technical.processor import TechnicalProcessor
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.postgres_engine import PgQueuerEngine
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome, NewFile
from vvwatch.store.runs import runs
from vvwatch.store.watching import automations, windows
from vvwatch.telemetry import Telemetry

__all__ = ["engine", "failures"]

pytestmark = pytest.mark.anyio

SLOTS = 4
IMPORTED = FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="file:///in/a.mp4")


def watch(
    tx: Tx,
    name: str,
    files: int,
    *,
    by_hand: bool = False,
    processor: str | None = None,
    concurrency: int = 16,
) -> None:
    """An automation of its own index, whose window of so many files closes: full, or fired by a person."""
    catalog.declare_index(tx, f"idx_{name}", name)
    policy = WindowPolicy(300, 1800, files + by_hand)
    preset = {"prompt_id": catalog.DEFAULT_PROMPT_ID, "processing_model": processor}
    spec = automations.ImportSpec(
        "conn_in", "", "*", True, "5m", policy, 60, 5, preset, concurrency=concurrency
    )
    row = automations.save_import(tx, f"idx_{name}", spec)
    found = [obj(f"{number:05}.mp4") for number in range(files)]
    accepted = windows.accept_objects(tx, row.id, row.generation, found)
    if by_hand:
        assert accepted.window_id is not None
        windows.fire_window(tx, accepted.window_id)


class Importing:
    """Imports whatever comes, and keeps the order: of each file, the name of its automation's index."""

    def __init__(self, engine: AnyEngine, after_each: Callable[[list[str]], Awaitable[None]]) -> None:
        self.order: list[str] = []
        self._engine = engine
        self._database: Database = engine._database
        self._after_each = after_each

    async def file(self, job: Job) -> None:
        work = await self._database.write(imports.begin_file, job)
        assert work is not None
        self.order.append(work.job.index_id.removeprefix("idx_"))
        await self._database.write(imports.finish_file, job, IMPORTED)
        await self._after_each(self.order)

    async def run(self) -> list[str]:
        lane = Lane(Kind.IMPORT_FILE, ("import_file",), SLOTS)
        with anyio.fail_after(50):
            await self._engine.run({Kind.IMPORT_FILE: self.file}, [lane])
        return self.order


async def test_a_few_files_do_not_wait_for_two_thousand(
    engine: AnyEngine, failures: Failures, databases: Databases
) -> None:
    database = engine._database
    if isinstance(engine, PgQueuerEngine):
        databases.believed_empty()
    await database.write(prepare)
    await database.write(watch, "large", 2_000)
    late = [(20, "small", False), (60, "manual", True)]

    async def come(order: list[str]) -> None:
        if late and len(order) >= late[0][0]:
            _, name, by_hand = late.pop(0)
            order.append(f"{name} came")
            await database.write(watch, name, 5, by_hand=by_hand)
        if order.count("manual") == order.count("small") == 5:
            engine.drain()

    order = await Importing(engine, come).run()
    assert failures == []
    assert _waited(order, "small") <= 16 + 10 * SLOTS
    assert _waited(order, "manual") <= 10 * SLOTS


def _waited(order: list[str], name: str) -> int:
    """How many of others went between its coming and its last."""
    since = order[order.index(f"{name} came") + 1 :]
    last = len(since) - since[::-1].index(name)
    return last - 5


async def test_what_a_person_waits_for_goes_before_all_that_wait(
    engine: AnyEngine, failures: Failures
) -> None:
    database = engine._database
    await database.write(prepare)
    await database.write(watch, "large", 200)
    await database.write(watch, "small", 5)
    await database.write(watch, "manual", 5, by_hand=True)

    async def until_small_ended(order: list[str]) -> None:
        if order.count("small") == 5:
            engine.drain()

    order = await Importing(engine, until_small_ended).run()
    assert failures == []
    assert order[: 5 + 2 * SLOTS].count("manual") == 5  # what was taken when they came goes first
    assert order.count("large") <= 16 + 2 * SLOTS


async def test_of_fifty_automations_none_waits_for_another_to_end(
    engine: AnyEngine, failures: Failures
) -> None:
    database = engine._database
    await database.write(prepare)
    names = [f"{number:02}" for number in range(50)]

    def watch_all(tx: Tx) -> None:
        for name in names:
            watch(tx, name, 20, concurrency=4)

    await database.write(watch_all)

    async def until_all_moved(order: list[str]) -> None:
        if min(Counter(order)[name] for name in names) >= 3:
            engine.drain()

    order = await Importing(engine, until_all_moved).run()
    assert failures == []
    assert set(order[: len(names) + 2 * SLOTS]) == set(names)
    assert max(Counter(order).values()) < 10


async def test_a_slow_processor_holds_up_no_other(
    engine: AnyEngine, failures: Failures, tmp_path: Path
) -> None:
    """The daemon's own lanes, with two processors that it does not have."""
    database, done = engine._database, Counter[str]()
    stuck, released = anyio.Event(), anyio.Event()
    infos = {name: ProcessorInfo(name, "technical") for name in ("slow", "quick")}
    database.processors = ProcessorNames(infos, "slow")
    await database.write(prepare)
    for name, files in (("slow", 12), ("quick", 8)):
        await database.write(watch, name, files, processor=name)

    async def import_file(job: Job) -> None:
        await database.write(imports.finish_file, job, IMPORTED)

    async def process(job: Job) -> None:
        if job.queue.startswith("run_item.slow"):
            done["slow began"] += 1
            if done["slow began"] == SLOTS:
                stuck.set()
            await released.wait()
        await stuck.wait()
        work = await database.write(runs.begin_item, job)
        assert work is not None
        await database.write(runs.finish_item, job, RESULT)
        done[work.run.processor] += 1
        if done["quick"] == 8:
            engine.drain()
            released.set()

    handlers: dict[Kind, Handler] = {Kind.IMPORT_FILE: import_file, Kind.RUN_ITEM: process}
    mine = [lane for lane in lanes(tmp_path, "slow", "quick") if lane.kind in handlers]
    with anyio.fail_after(50):
        await engine.run(handlers, mine)
    assert failures == []
    assert done == {"quick": 8, "slow": SLOTS, "slow began": SLOTS}


async def test_hosts_that_hang_hold_up_no_import(
    engine: AnyEngine, failures: Failures, tmp_path: Path
) -> None:
    """The daemon's own lanes, and more jobs that fetch than it imports files at once."""
    database, done = engine._database, Counter[str]()
    hanging, released = anyio.Event(), anyio.Event()
    await database.write(prepare)
    await database.write(watch, "folder", 8)
    for number in range(2 * SLOTS):
        await database.write(attach, f"job_{number}")

    async def import_file(job: Job) -> None:
        if job.queue.startswith("import_file.fetch"):
            done["hang"] += 1
            if done["hang"] == 2 * SLOTS:
                hanging.set()
            await released.wait()
            return
        await hanging.wait()
        await database.write(imports.finish_file, job, IMPORTED)
        done["imported"] += 1
        if done["imported"] == 8:
            engine.drain()
            released.set()

    mine = [lane for lane in lanes(tmp_path) if lane.kind is Kind.IMPORT_FILE]
    with anyio.fail_after(50):
        await engine.run({Kind.IMPORT_FILE: import_file}, mine)
    assert failures == []
    assert done == {"hang": 2 * SLOTS, "imported": 8}


def attach(tx: Tx, job_id: str) -> None:
    """A job with one file that is still to be fetched."""
    files = [NewFile(f"{job_id}/0/a.mp4", "", 0, origin={"file_id": "1"})]
    imports.create_sealed(
        tx, job_id=job_id, index_id="idx_main", connector_id="conn_in", source_kind="attachments", files=files
    )


def lanes(base: Path, *processors: str) -> tuple[Lane, ...]:
    """What the daemon serves when it has these processors."""
    house = build_components(
        config(base, f"[processing]\nconcurrency = {SLOTS}\n"), FakeClock(), Telemetry("test"), {}
    )
    [processor] = house.processors.values()
    assert isinstance(processor, TechnicalProcessor)
    return replace(house, processors=dict.fromkeys(processors or house.processors, processor)).lanes()
