"""A world in which a watcher lives: a store and its queue, a real database, a clock, and all that goes wrong.

What happens is a list of steps, plain tuples: each can be taken in any state, so that a failure's steps can be thinned
out and played again. The watching is the real one, from the queue and the listing to the import of each file; the
engine is a loop over the jobs that are due. Where the process awaits, it may die; the database stays.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Concatenate, Final

import sqlalchemy as sa

from tests.clock import FakeClock
from tests.model.cloud import Died, Fuse, Queue, Store
from tests.model.oracle import Oracle, Rules
from tests.store.pipeline import PROBE, RecordingSink
from vvwatch.core.changes import EventKind
from vvwatch.core.media import Probe
from vvwatch.core.repeats import Past
from vvwatch.core.retries import Bound, Patience
from vvwatch.core.windows import WindowPolicy
from vvwatch.errors import Conflict
from vvwatch.ports import Job, Kind, Message
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec, PromptSpec
from vvwatch.store.db.database import P, T, Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.schema import import_automations
from vvwatch.store.watching import automations, windows
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.import_retries import ImportRetries
from vvwatch.workflow.pipeline.imports import Imports
from vvwatch.workflow.pipeline.reading import Reading
from vvwatch.workflow.upkeep.housekeeping import requeue_work
from vvwatch.workflow.watching.queue_consumer import QueueConsumer
from vvwatch.workflow.watching.watcher import Watcher
from vvwatch.workflow.watching.windows import WindowCloser

QUIET_SECONDS = 100.0
MAX_WAIT_SECONDS = 400.0
SCAN_SECONDS = 200.0
ROUND_SECONDS = 60.0
"""How often the engine looks while time passes."""
_HOUSEKEEPING_SECONDS = 60.0
_MOST_JOBS = 2_000
_STEERS: Final[Mapping[str, Callable[[Tx, str], object]]] = {
    "hold": windows.hold_window,
    "release": windows.release_window,
    "fire": windows.fire_open_window,
}
_MOST_ROUNDS = 20
_BOUND, _PATIENCE = Bound(3, 45.0), Patience(15.0, 240.0)
_SOUND_KEYS = ("sound.mp4", "in/sound.mp4", "in/deep/sound.mp4", "out/sound.mp4")
_MOST_BOUND_ROUNDS = 120
_INDEXES = ("idx_one", "idx_two")
_EVENTS: dict[str, Any] = {
    "queue": "https://queue",
    "mode": "exclusive",
    "sweep_seconds": 400,
    "late_seconds": 60,
}

Step = tuple[Any, ...]


class InlineDatabase(SqliteDatabase):
    """The real one, without threads and without waiting for the disk; the process can die before and after each."""

    def __init__(self, path: Path, clock: FakeClock, fuse: Fuse) -> None:
        super().__init__(path, clock)
        self.fuse = fuse
        self.writes = 0
        sa.event.listen(self._writer, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))

    async def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.fuse.burn()
        result = self.at_once(fn, *args, **kwargs)
        self.fuse.burn()
        return result

    async def read(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.fuse.burn()
        with self._reader.begin() as conn:
            return fn(Tx(conn, self.clock.now()), *args, **kwargs)

    def at_once(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As a person's request does it, or the test itself."""
        self.writes += 1
        with self._writer.begin() as conn:
            tx = Tx(conn, self.clock.now(), self._serial)
            result = fn(tx, *args, **kwargs)
            assert self.sink is not None
            self.sink.write(tx)
        return result


class Silent(Telemetry):
    """Nobody listens."""

    def __init__(self) -> None:
        pass

    def emit(self, event: str, /, level: str | None = None, **fields: Any) -> None:
        pass

    def over(self, event: str, /, **fields: Any) -> Past | None:
        return None


class Prober:
    """A processor that finds every file sound."""

    async def probe(self, fd: int) -> Probe:
        return PROBE


class Process:
    """What a crash throws away: all that lives in memory."""

    bound = _BOUND
    reading: type[Reading] = Reading
    etagless = False
    """Whether the store, where this is a wrong watcher, has no ETags."""

    def __init__(self, world: World) -> None:
        self.world = world
        database, clock, telemetry = world.database, world.clock, Silent()
        prober: Any = Prober()
        sample = random.Random(world.setup.seed).random
        reading = self.reading(clock, lambda _: world.store, prober, {}, 5, sample, self.bound, _PATIENCE)
        self.watcher = self.make_watcher(telemetry)
        self.troubles = ImportRetries(database, telemetry, reading, self.watcher.notice, "")
        self.watcher.listens = lambda _: world.listens
        self.consumer = QueueConsumer(
            database,
            clock,
            telemetry,
            self.watcher.notice,
            lambda: 0.5,
            "conn_in",
            lambda: world.queue,
            exclusive=True,
        )
        self.handlers: dict[Kind, Callable[[Job], Awaitable[None]]] = {
            Kind.SCAN: self.watcher.scan,
            Kind.WINDOW: WindowCloser(database, telemetry).advance,
            Kind.IMPORT_FILE: Imports(database, telemetry, reading).file,
        }

    def make_watcher(self, telemetry: Telemetry) -> Watcher:
        world = self.world
        return Watcher(world.database, world.clock, telemetry, lambda _: world.store, lambda: 0.5)

    async def consume(self) -> None:
        """Take what the queue offers, follow it, then answer it."""
        queue = self.world.queue
        if messages := await queue.receive():
            await self.consumer._forward(queue, messages)


@dataclass(frozen=True)
class Setup:
    """How a world differs from others."""

    seed: int
    generations: bool = False
    etagless: bool = False
    process: type[Process] = Process
    max_objects: int = 10_000


class World:
    """One life of it: `take` steps, then `rest`. AssertionError when a promise is broken."""

    def __init__(self, setup: Setup, path: Path) -> None:
        self.setup = setup
        self.clock = FakeClock()
        self.fuse = Fuse()
        self.store = Store(self.fuse, self.clock.now, setup.generations, setup.etagless)
        self.queue = Queue(self.fuse, self._acknowledged)
        self.database = InlineDatabase(path, self.clock, self.fuse)
        self.sink = RecordingSink()
        self.database.sink = self.sink
        self.rules = [Rules("", "*", recursive=True), Rules("in/", "*.mp4", recursive=True)]
        self.oracle = Oracle(self.store, self.clock, QUIET_SECONDS, MAX_WAIT_SECONDS, ROUND_SECONDS)
        self.crashes = 0
        self.listens = False
        self._kept_house = self.clock.mono
        self._depth = 0
        self._found = 0

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[World]:
        async with self.database.opened():
            self.database.at_once(_prepare)
            for which in range(len(_INDEXES)):
                self._save(which)
            self.process = self.setup.process(self)
            yield self

    async def take(self, step: Step) -> None:
        """One step, and what the oracle says of the state after it."""
        self.store.step += 1
        self.oracle.rules_before = list(self.rules)
        name, *arguments = step
        result = getattr(self, f"do_{name}")(*arguments)
        if result is not None:
            await result
        self._look()

    def _look(self) -> None:
        self.oracle.rules = list(self.rules)
        self.oracle.look(self.database)

    # What happens in the store.

    def do_put(self, key: str, body: str, told: bool) -> None:
        found = self.store.put(key, body)
        self.queue.tell(EventKind.CREATED, key, found if told else None, spellings=1 if told else 2)

    def do_delete(self, key: str) -> None:
        if self.store.remove(key):
            self.queue.tell(EventKind.REMOVED, key, None)

    def do_during(self, step: Step) -> None:
        """The step happens while the next answer of the store is on its way."""

        async def happen() -> None:
            result = getattr(self, f"do_{step[0]}")(*step[1:])
            if result is not None:
                await result

        self.store.between.append(happen)

    def do_fail(self, calls: int) -> None:
        self.store.failing = calls

    def do_blind(self, listings: int) -> None:
        """Listings come back whole and empty, as of a share that is not mounted."""
        self.store.blind = listings

    def do_ail(self, key: str, kind: str) -> None:
        """What stands there is listed from now on, and not given."""
        if key in self.store.stands:
            self.store.ills[key] = kind

    def do_spoil(self, key: str, body: str, kind: str) -> None:
        """It comes as what cannot be had."""
        self.do_put(key, body, told=True)
        self.do_ail(key, kind)

    def do_heal(self, key: str) -> None:
        self.store.ills.pop(key, None)

    def do_remount(self) -> None:
        """Every file has another inode number than before."""
        self.store.mount += 1

    # What happens to the queue.

    def do_drop(self, start: int) -> None:
        for message in self.queue.pick(start, 1, backwards=False):
            del self.queue.waiting[message.receipt]

    def do_repeat(self, start: int) -> None:
        for message in self.queue.pick(start, 1, backwards=False):
            self.queue.add(message.events)

    async def do_deliver(self, start: int, many: int, backwards: bool) -> None:
        self.queue.offered = self.queue.pick(start, many, backwards=backwards)
        await self._survive(self.process.consume())
        await self._run_due()

    # What happens to the process, and to time.

    def do_die(self, awaits: int) -> None:
        self.fuse.left = awaits

    def do_lose_jobs(self) -> None:
        """The whole queue of the engine is deleted."""
        self.sink.jobs.clear()
        self.oracle.hindered()

    def do_jump(self, seconds: float) -> None:
        self.clock.jump(seconds)
        self.oracle.disturbed()

    async def do_wait(self, seconds: float) -> None:
        while seconds > 0:
            self.clock.advance(min(seconds, ROUND_SECONDS))
            seconds -= ROUND_SECONDS
            if self.clock.mono - self._kept_house >= _HOUSEKEEPING_SECONDS:
                self._kept_house = self.clock.mono
                await self._survive(requeue_work(self.database, self.sink, Silent()))
            await self._run_due()
            await self._try_again()
            self._look()
            self.oracle.check_deadlines()

    def do_listen(self, listens: bool) -> None:
        """Whether the queue is healthy, so that listings only prove what events told."""
        self.listens = listens

    # What a person does.

    async def do_scan(self, which: int) -> None:
        self.database.at_once(automations.scan_now, f"auto_{which}")
        await self._run_due()

    def do_pause(self, which: int, paused: bool) -> None:
        self.rules[which] = replace(self.rules[which], paused=paused)
        self.database.at_once(automations.pause_import, _INDEXES[which], paused=paused)
        self.oracle.disturbed()

    def do_steer(self, which: int, how: str) -> None:
        """Hold, release or fire the open window, if one is open and may be."""
        with suppress(Conflict):
            self.database.at_once(_STEERS[how], f"auto_{which}")
            self.oracle.steered(f"auto_{which}", how)

    def do_edit(self, which: int, changes: dict[str, Any]) -> None:
        self.rules[which] = replace(self.rules[which], **changes)
        self._save(which)
        self.oracle.disturbed()

    def _save(self, which: int) -> None:
        rules = self.rules[which]
        spec = automations.ImportSpec(
            connector_id="conn_in",
            source_prefix=rules.prefix,
            file_pattern=rules.pattern,
            recursive=rules.recursive,
            debounce_interval="5m",
            policy=WindowPolicy(QUIET_SECONDS, MAX_WAIT_SECONDS, self.setup.max_objects),
            scan_seconds=rules.scan_seconds,
            settle_seconds=0,
            preset={"prompt_id": catalog.DEFAULT_PROMPT_ID},
            enabled=rules.enabled,
            paused=rules.paused,
        )
        self.database.at_once(automations.save_import, _INDEXES[which], spec, f"auto_{which}")

    # The engine.

    async def _run_due(self) -> None:
        for _ in range(_MOST_JOBS):
            due = [job for job in self.sink.jobs if job.run_at <= self.clock.wall]
            if not due:
                return
            job = min(due, key=lambda each: each.run_at)
            self.sink.jobs.remove(job)
            handler = self.process.handlers.get(job.kind)
            if handler is None:
                continue  # what follows an import is no part of this world
            if job.kind is Kind.SCAN:
                await self._scan(job, handler)
            else:
                with self._unshown():
                    if not await self._survive(handler(job)):
                        self.sink.jobs.append(job)
        raise AssertionError("the engine finds no rest")

    async def _try_again(self) -> None:
        """What was not given is tried again automatically."""
        with self._unshown():
            while await self._survive(self._round()) and self._found:
                pass

    async def _round(self) -> None:
        self._found = 0
        self._found = await self.process.troubles.run_round()

    @contextmanager
    def _unshown(self) -> Iterator[None]:
        """What is listed in here is no listing of an automation."""
        outer, self.store.shown = self.store.shown, []
        yield
        self.store.shown = outer

    async def _scan(self, job: Job, handler: Callable[[Job], Awaitable[None]]) -> None:
        which = int(job.ref.removeprefix("auto_"))
        outer, self.store.shown = self.store.shown, []
        before, scans, happened = self.rules[which], self._scans(job.ref), self.store.happened
        clear = self.store.blind == 0
        if not await self._survive(handler(job)):
            self.sink.jobs.append(job)
        elif self._scans(job.ref) != scans and before == self.rules[which]:
            self._look()
            self.oracle.listed(self.database, which, sure=clear and happened == self.store.happened)
        self.store.shown = outer

    def _scans(self, automation: str) -> object:
        with self.database._reader.begin() as conn:
            return _last_scan(Tx(conn, self.clock.now()), automation)

    async def _survive(self, work: Awaitable[object]) -> bool:
        """Whether the process lived through it; one that died is followed by another."""
        self._depth += 1
        try:
            await work
        except (Died, BaseExceptionGroup) as died:
            if isinstance(died, BaseExceptionGroup) and died.split(Died)[1] is not None:
                raise
            if self._depth > 1:
                raise Died from None  # what it interrupted dies with it
            self.crashes += 1
            self.process = self.setup.process(self)
            return False
        finally:
            self._depth -= 1
        return True

    def _acknowledged(self, message: Message) -> None:
        self._look()
        self.oracle.acknowledged(self.database, message, self.queue.latest)

    async def rest(self) -> None:
        """All is well again, and what was told is told or lost: then nothing is missing, and nothing is new."""
        self.fuse.left, self.store.failing, self.store.blind = 10**9, 10**9, 0
        self.store.between.clear()
        for which in range(len(_INDEXES)):
            self.do_edit(which, {"enabled": True, "paused": False})
            self.do_steer(which, "release")
        while self.queue.waiting:
            await self.take(("deliver", 0, 10, False))
        await self._hold_up_nobody()
        self.store.ills.clear()
        await self.do_wait(3 * SCAN_SECONDS)
        for _ in range(_MOST_ROUNDS):
            await self.do_wait(QUIET_SECONDS)
            if not self.oracle.waits(self.database):
                break
        self.oracle.check_complete(self.database)
        await self.do_wait(_EVENTS["sweep_seconds"] + SCAN_SECONDS)
        self.oracle.check_quiet(self.database)

    async def _hold_up_nobody(self) -> None:
        """While objects are not given that have sound neighbours, every job ends all the same."""
        for key in _SOUND_KEYS:
            await self.take(("put", key, "one", False))
        while self.queue.waiting:
            await self.take(("deliver", 0, 10, False))
        await self.do_wait(2 * SCAN_SECONDS + MAX_WAIT_SECONDS)
        for _ in range(_MOST_BOUND_ROUNDS):
            if not self.oracle.waits(self.database):
                return
            await self.do_wait(ROUND_SECONDS)
        raise AssertionError(f"a job waits for what is not given: {self.store.ills}")


def _last_scan(tx: Tx, automation: str) -> object:
    table = import_automations
    columns = table.c.last_scan_at, table.c.revision, table.c.last_error
    row = tx.first(sa.select(*columns).where(table.c.id == automation))
    assert row is not None
    return None if row.last_error else (row.last_scan_at, row.revision)


def _prepare(tx: Tx) -> None:
    schema = {"type": "object", "properties": {}}
    catalog.seed_default_prompt(tx, PromptSpec("technical", "what the container says", schema))
    catalog.declare_connector(
        tx, "conn_in", ConnectorSpec("in", "local", {"root": "/in"}, ("import",), events=_EVENTS)
    )
    for index in _INDEXES:
        catalog.declare_index(tx, index, index)
