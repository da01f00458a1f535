"""Reports of sweeps: one for each that says something new, and no more than are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.store.pipeline import prepare
from vvwatch.store.db.database import Database
from vvwatch.store.models.watching import ImportAutomation, ScanReport
from vvwatch.store.watching import scans

pytestmark = pytest.mark.anyio

QUIET = ScanReport(
    id="rec_1",
    started_at=1.0,
    finished_at=2.0,
    complete=True,
    proof=True,
    remark="",
    listed=3,
    matched=2,
    known=2,
    created=0,
    changed=0,
    gone=0,
    recovered=0,
    list_calls=1,
    cost_usd=0.5,
    duration_seconds=1.0,
    left_out={},
    odd=(),
)


@pytest.fixture
async def row(database: Database) -> ImportAutomation:
    return await database.write(prepare)


async def kept(database: Database, row: ImportAutomation, *reports: ScanReport) -> list[ScanReport]:
    """What is told after a sweep a second came to each of these, the latest first."""
    for number, report in enumerate(reports):
        numbered = replace(report, id=f"rec_{number:04}", started_at=float(number))
        await database.write(scans.record_report, row, numbered)
    found = await database.read(scans.list_reports, row.id, 1_000)
    return [ScanReport(**{name: getattr(each, name) for name in ScanReport.__slots__}) for each in found]


async def test_a_sweep_without_news_takes_the_place_of_the_one_before(
    database: Database, row: ImportAutomation
) -> None:
    reports = await kept(database, row, QUIET, QUIET, replace(QUIET, listed=4))
    assert [(each.started_at, each.listed) for each in reports] == [(2.0, 4)]


@pytest.mark.parametrize("news", ["created", "changed", "gone", "recovered"])
async def test_news_keep_their_report(database: Database, row: ImportAutomation, news: str) -> None:
    told = replace(QUIET, **{news: 1})  # type: ignore[arg-type]
    assert len(await kept(database, row, QUIET, told, told, QUIET, QUIET)) == 4


async def test_what_is_no_proof_is_told_once_until_it_is_over(
    database: Database, row: ImportAutomation
) -> None:
    away = replace(QUIET, complete=False, proof=False, remark="the store is away")
    reports = await kept(database, row, QUIET, away, away, QUIET)
    assert [each.remark for each in reports] == ["", "the store is away", ""]


async def test_a_sweep_that_missed_something_is_kept(database: Database, row: ImportAutomation) -> None:
    missing = replace(QUIET, remark="1 known objects were not listed: the next full scan decides")
    assert len(await kept(database, row, missing, missing)) == 2


async def test_the_last_200_are_kept(database: Database, row: ImportAutomation) -> None:
    reports = await kept(database, row, *[replace(QUIET, created=1)] * 203)
    assert [each.started_at for each in reports] == [float(number) for number in range(202, 2, -1)]
