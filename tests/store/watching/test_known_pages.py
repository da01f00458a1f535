"""A page that came before is compared with the ledger by digests, and by its objects where these differ."""

from __future__ import annotations

import pytest

from tests.store.pipeline import obj, prepare
from vvwatch.core.known_pages import KnownPage, PageFacts, digest_pairs
from vvwatch.core.ledger import Diff
from vvwatch.core.objects import StorageObject
from vvwatch.core.presence import SeenKeys
from vvwatch.store.db.database import Database
from vvwatch.store.models.watching import ImportAutomation
from vvwatch.store.watching import ledger, windows

pytestmark = pytest.mark.anyio

LISTED = [obj(f"a/{number}.mp4") for number in range(5)]


@pytest.fixture
async def row(database: Database) -> ImportAutomation:
    row = await database.write(prepare)
    await database.write(windows.accept_objects, row.id, 0, LISTED)
    return row


class Parsed:
    """A known page that counts how often its objects are needed."""

    def __init__(self, objects: list[StorageObject]) -> None:
        self.times = 0
        self._objects = objects
        digest = digest_pairs(each[:2] for each in objects)
        facts = PageFacts(len(objects), objects[0].key, objects[-1].key, digest)
        self.page = KnownPage(facts, self._parse)

    def _parse(self) -> list[StorageObject]:
        self.times += 1
        return self._objects


async def compare(database: Database, row: ImportAutomation, page: KnownPage) -> tuple[Diff, SeenKeys]:
    seen = SeenKeys(10, 1)
    found = await database.read(ledger.compare_pages, row.scope_id, [page], seen)
    return found.diff, seen


async def test_a_known_page_that_the_ledger_has_is_not_parsed(
    database: Database, row: ImportAutomation
) -> None:
    known = Parsed(LISTED)
    difference, seen = await compare(database, row, known.page)
    assert difference == Diff([], [], len(LISTED))
    assert seen.at_least() == len(LISTED)
    assert seen.absent(each.key for each in LISTED) == set()
    assert known.times == 0


async def test_a_known_page_finds_again_what_the_ledger_forgot(
    database: Database, row: ImportAutomation
) -> None:
    await database.write(ledger.forget_version, "idx_main", "conn_in", "a/2.mp4", "v1")
    difference, seen = await compare(database, row, Parsed(LISTED).page)
    assert difference == Diff([LISTED[2]], [], len(LISTED) - 1)
    assert seen.at_least() == len(LISTED) - 1


async def test_a_known_page_differs_from_a_ledger_with_other_versions_or_more_keys(
    database: Database, row: ImportAutomation
) -> None:
    changed = [*LISTED[:3], obj("a/3.mp4", "v2"), LISTED[4]]
    assert (await compare(database, row, Parsed(changed).page))[0] == Diff([], [changed[3]], 4)
    fewer = [LISTED[0], *LISTED[2:]]
    difference, seen = await compare(database, row, Parsed(fewer).page)
    assert difference == Diff([], [], 4)
    assert seen.absent([LISTED[1].key]) == {LISTED[1].key}
