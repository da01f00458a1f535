"""Packs of pictures: durable before a row names them, and removed when nothing does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.store.footage import items, shot, started
from tests.workflow.conftest import Told
from vvwatch.config import PictureSettings
from vvwatch.core.media import Plan, ProcessingResult, Segment
from vvwatch.core.pictures import Picture, PictureContents, PicturePack
from vvwatch.ports import Job
from vvwatch.store.admin import retention
from vvwatch.store.db.database import Database
from vvwatch.store.runs import journal, runs
from vvwatch.store.runs.journal import Owner
from vvwatch.store.runs.pictures import load_packs
from vvwatch.store.schema import pictures as table
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.pictures import Pictures

pytestmark = pytest.mark.anyio

CONTENTS = PictureContents((Picture(0, 6, 8, 8, 0.5),), 0, (0,))


@pytest.fixture
def packs(database: Database, telemetry: Telemetry, tmp_path: Path) -> Pictures:
    made = Pictures(database, telemetry, tmp_path / "pictures", PictureSettings())
    made.prepare()
    return made


def files(tmp_path: Path) -> list[str]:
    folder = tmp_path / "pictures"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def kept(packs: Pictures, item_id: int, data: bytes = b"\xff\xd8\xffabc") -> PicturePack:
    async with packs.draft(item_id) as draft:
        assert draft is not None
        os.write(draft.fd, data)
        pack = await draft.keep(CONTENTS)
    assert pack is not None
    return pack


def result_with(pack: PicturePack | None) -> ProcessingResult:
    return ProcessingResult((Segment(0.0, 1.0, {}, ""),), {}, "", pictures=pack)


async def under_way(database: Database) -> Job:
    await shot(database, 1)
    await started(database)
    [job] = items(database)
    assert await database.write(runs.begin_item, job) is not None
    return job


async def test_a_draft_vanishes_unless_it_is_kept(packs: Pictures, tmp_path: Path) -> None:
    async with packs.draft(1) as draft:
        assert draft is not None
        assert len(files(tmp_path)) == 1
    assert files(tmp_path) == []
    pack = await kept(packs, 258)
    assert files(tmp_path) == [pack.file]
    assert pack.file.startswith("02/258.")
    assert packs.path(pack).read_bytes() == b"\xff\xd8\xffabc"
    assert (await kept(packs, 258)).file == pack.file
    assert files(tmp_path) == [pack.file]


async def test_what_a_dead_process_left_half_is_removed_at_the_start(packs: Pictures, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "x.part").write_bytes(b"half")
    (tmp_path / "pictures" / "folder.part").mkdir()
    packs.prepare()
    assert files(tmp_path) == []


async def test_without_pictures_or_without_room_there_is_no_draft(
    database: Database, telemetry: Telemetry, told: Told, tmp_path: Path
) -> None:
    off = Pictures(database, telemetry, tmp_path / "off", PictureSettings(enabled=False))
    async with off.draft(1) as draft:
        assert draft is None
    assert told == []
    (tmp_path / "blocked").write_text("a file, no folder")
    blocked = Pictures(database, telemetry, tmp_path / "blocked", PictureSettings())
    async with blocked.draft(1) as draft:
        assert draft is None
    assert [event for event, _ in told] == ["pictures.skipped"]


async def test_a_row_names_the_pack_of_the_item(database: Database, packs: Pictures, tmp_path: Path) -> None:
    job = await under_way(database)
    pack = await kept(packs, int(job.ref))
    assert await packs.remove_orphans() == 0, "the item is under way"
    await database.write(runs.finish_item, job, result_with(pack))
    assert await database.read(load_packs, [int(job.ref)]) == {int(job.ref): pack}
    older = await kept(packs, int(job.ref), b"\xff\xd8\xffolder")
    unknown = await kept(packs, 999_999)
    assert await packs.remove_orphans() == 2
    assert files(tmp_path) == [pack.file]
    assert older.file != pack.file != unknown.file
    named = Pictures(database, Telemetry("test"), tmp_path / "pictures", PictureSettings(), "a")
    assert await named.remove_orphans() == 0, "the only node got a name"


async def test_the_pack_of_another_node_is_not_needed_here(
    database: Database, telemetry: Telemetry, tmp_path: Path
) -> None:
    job = await under_way(database)
    one, other = (
        Pictures(database, telemetry, tmp_path / name, PictureSettings(), name) for name in ("a", "b")
    )
    pack = await kept(one, int(job.ref))
    await kept(other, int(job.ref))
    await database.write(runs.finish_item, job, result_with(pack))
    assert [await one.remove_orphans(), await other.remove_orphans()] == [0, 1]


async def test_pictures_go_with_the_results(database: Database, packs: Pictures, tmp_path: Path) -> None:
    job = await under_way(database)
    await database.write(runs.finish_item, job, result_with(await kept(packs, int(job.ref))))
    await database.write(retention.drop_results, retention.Portion((int(job.ref),)))
    assert await database.read(load_packs, [int(job.ref)]) == {}
    assert await packs.remove_orphans() == 1
    assert files(tmp_path) == []


async def test_a_plan_keeps_its_pack_while_the_item_may_be_tried_again(
    database: Database, packs: Pictures, tmp_path: Path
) -> None:
    job = await under_way(database)
    owner = Owner(job, "run", int(job.ref), "vid", "technical", 1)
    pack = await kept(packs, int(job.ref))
    plan = Plan(((0.0, 1.0),), pictures=pack)
    await database.write(journal.store_plan, owner, plan)
    assert await database.read(journal.read_plan, owner) == plan
    await database.write(runs.fail_item, job, "media_unreadable", "no")
    assert await packs.remove_orphans() == 0
    assert files(tmp_path) == [pack.file]


async def test_a_stale_worker_records_no_pictures(database: Database, packs: Pictures) -> None:
    job = await under_way(database)
    await database.write(runs.finish_item, job, result_with(None))
    assert await database.write(runs.finish_item, job, result_with(await kept(packs, int(job.ref)))) is None
    assert (
        await database.read(lambda tx: tx.execute(sa.select(sa.func.count()).select_from(table)).scalar())
        == 0
    )
    assert await packs.remove_orphans() == 1
