"""The counts of an import job add up, whatever ends, is cancelled, retried or listed again, in whichever order."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from unittest import mock

import anyio
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clock import FakeClock
from tests.databases import Databases
from tests.store.pipeline import PROBE, RecordingSink, jobs_of, obj, prepare
from vvwatch.core.filters import Reason
from vvwatch.core.imports import TERMINAL, FileStatus
from vvwatch.core.selection import SkippedObject
from vvwatch.errors import Conflict, ObjectChanged
from vvwatch.ports import Job, Kind
from vvwatch.store.admin import invariants
from vvwatch.store.db import fairness
from vvwatch.store.db.database import Database, Tx, requeue_overdue
from vvwatch.store.imports import attachments, cancellation, imports, one_time, retrying
from vvwatch.store.imports.imports import FileOutcome, NewFile
from vvwatch.store.imports.one_time import Listing, OneTimeSpec
from vvwatch.store.schema import claims, import_files, import_jobs, objects

JOB_ID: Final = "job_it"
STEPS: Final = (
    *("begin", "take", "take", "take", "seal", "again", "refuse"),
    *("import", "import", "import", "fail", "fail", "skip", "later", "half"),
    *("cancel", "tell", "retry", "retry_file", "lose"),
)
_STOPPED: Final = {reason for reason, _ in cancellation.REASONS.values()}


@dataclass
class Stage:
    """A job with a few files, and what may happen to it."""

    database: Database
    clock: FakeClock
    random: Random
    job_id: str
    held: list[Job] = field(default_factory=list)
    """What was handed out, stale or not."""
    listings: list[tuple[Job, Listing]] = field(default_factory=list)

    def _job(self, kind: Kind) -> Job | None:
        self.held += jobs_of(self.database).take(kind)
        mine = [job for job in self.held if job.kind is kind]
        return self.random.choice(mine) if mine else None

    async def do(self, step: str) -> None:
        await getattr(self, f"_{step}")()

    async def _begin(self) -> None:
        job = self._job(Kind.IMPORT_JOB)
        listing = await self.database.write(one_time.begin, job) if job is not None else None
        if job is not None and listing is not None:
            self.listings.append((job, listing))

    async def _listed(self, fn: Any, *args: Any) -> None:
        if self.listings:
            job, listing = self.random.choice(self.listings)
            await self.database.write(fn, job, listing, *args)

    async def _take(self) -> None:
        """A page with some of few objects, in few versions, now and then the wrong ones."""
        names = self.random.sample("abcdefg", 4)
        found = [obj(f"{name}.mp4", self.random.choice(("v1", "v2"))) for name in names[:3]]
        left = SkippedObject(f"{names[-1]}.mp4", "v0", 0, Reason.ZERO_BYTE, "it is empty")
        await self._listed(one_time.record_listed, found, [left])

    async def _seal(self) -> None:
        await self._listed(one_time.seal)

    async def _again(self) -> None:
        await self._listed(one_time.list_again, self.clock.now(), "it is away")

    async def _refuse(self) -> None:
        await self._listed(one_time.fail, "it may not be listed")

    async def _end(self, outcome: FileOutcome) -> None:
        job = self._job(Kind.IMPORT_FILE)
        if job is not None and await self.database.write(imports.begin_file, job) is not None:
            await self.database.write(imports.finish_file, job, outcome)

    async def _import(self) -> None:
        await self._end(FileOutcome(FileStatus.IMPORTED, probe=PROBE, uri="fake://x"))

    async def _fail(self) -> None:
        await self._end(FileOutcome(FileStatus.FAILED, "media_unreadable", "it broke"))

    async def _skip(self) -> None:
        await self._end(FileOutcome(FileStatus.SKIPPED, ObjectChanged.code, "it changed"))

    async def _later(self) -> None:
        job = self._job(Kind.IMPORT_FILE)
        if job is not None and await self.database.write(imports.begin_file, job) is not None:
            await self.database.write(imports.retry_file, job, self.clock.now(), "it is away")

    async def _half(self) -> None:
        """The attempt is noted, and the process dies."""
        job = self._job(Kind.IMPORT_FILE)
        if job is not None:
            await self.database.write(imports.begin_file, job)

    async def _cancel(self) -> None:
        with suppress(Conflict):
            await self.database.write(cancellation.cancel, self.job_id)

    async def _tell(self) -> None:
        job = self._job(Kind.IMPORT_JOB)
        if job is not None:
            await self.database.write(cancellation.skip_files, job)

    async def _retry(self) -> None:
        row = await self.database.read(imports.get, self.job_id)
        if row.source_kind == imports.ATTACHMENTS:
            with suppress(Conflict):
                await self.database.write(attachments.retry, self.job_id, None)

    async def _retry_file(self) -> None:
        rows = await self.database.read(lambda tx: tx.all(sa.select(import_files.c.id)))
        if rows:
            with suppress(Conflict):
                chosen = str(self.random.choice(rows).id)
                await self.database.write(retrying.retry_file, self.job_id, chosen)

    async def _lose(self) -> None:
        """The process dies: what it held comes again."""
        jobs_of(self.database).jobs.clear()
        self.held.clear()
        self.listings.clear()
        self.clock.advance(60)
        await self.database.write(requeue_overdue, jobs_of(self.database), 5.0)
        for kind, whole_id in await self.database.read(fairness.list_starving):
            await self.database.write(fairness.feed_starving, kind, whole_id)


def _asked(tx: Tx, kind: str) -> str:
    prepare(tx, paused=True)
    if kind != imports.ATTACHMENTS:
        return str(one_time.create(tx, OneTimeSpec("conn_in", "idx_main", import_mode=kind)).id)
    files = [NewFile(f"{JOB_ID}/{n}", "", 0, origin={"file_id": str(n)}) for n in range(5)]
    imports.create_sealed(
        tx, job_id=JOB_ID, index_id="idx_main", connector_id="conn_in", source_kind=kind, files=files
    )
    return JOB_ID


async def _played(databases: Databases, kind: str, steps: Sequence[str], seed: int) -> None:
    clock = FakeClock()
    small = mock.patch.object(cancellation, "BATCH_FILES", 2), mock.patch.object(one_time, "MOST_LISTED", 1)
    with small[0], small[1], databases.fresh("sqlite", clock) as database:
        database.sink = RecordingSink()
        async with database.opened():
            stage = Stage(database, clock, Random(seed), await database.write(_asked, kind))
            for step in ("begin", "take", *steps):
                await stage.do(step)
                await _sound(stage)
            await _ended(stage)


async def _sound(stage: Stage) -> None:
    broken = [found for found in await stage.database.read(invariants.findings) if found.count]
    assert broken == []
    job = await stage.database.read(imports.get, stage.job_id)
    done = job.imported + job.failed + job.skipped
    assert done == job.total_files if job.status in TERMINAL else done <= job.total_files


async def _ended(stage: Stage) -> None:
    """Whatever happened, the job comes to an end, and its counts are those of its files."""
    for _ in range(30):
        await stage.do("lose")
        if not jobs_of(stage.database).jobs:
            break
        for step in ("begin", "seal", "tell", "tell", "import", "import", "import"):
            await stage.do(step)
    await _sound(stage)
    job = await stage.database.read(imports.get, stage.job_id)
    assert job.status in TERMINAL
    counted, claimed, known = await stage.database.read(_what_is_left, stage.job_id)
    assert counted.get("pending", 0) == 0
    assert [counted.get(name, 0) for name in ("imported", "failed")] == [job.imported, job.failed]
    assert counted.get("skipped", 0) + job.unlisted == job.skipped
    assert known <= claimed


def _what_is_left(tx: Tx, job_id: str) -> tuple[dict[str, int], set[Any], set[Any]]:
    rows = tx.all(sa.select(import_files).where(import_files.c.job_id == job_id))
    counted: dict[str, int] = {}
    for row in rows:
        counted[row.status] = counted.get(row.status, 0) + 1
    claimed = {(row.key, row.version) for row in rows if row.claimed and row.reason not in _STOPPED}
    known = {(row.key, row.version) for row in tx.all(sa.select(claims))}
    assert known <= {(row.key, row.version) for row in tx.all(sa.select(objects))}
    assert len(tx.all(sa.select(import_jobs))) == 1
    return counted, claimed, known


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(("all", "new_only", imports.ATTACHMENTS)),
    steps=st.lists(st.sampled_from(STEPS), min_size=4, max_size=24),
    seed=st.integers(0, 2**32),
)
def test_the_counts_of_an_import_job_add_up_whatever_happens(
    databases: Databases, kind: str, steps: list[str], seed: int
) -> None:
    anyio.run(_played, databases, kind, steps, seed)
