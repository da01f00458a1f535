"""The rules of intake ask the database and the storage as little as they can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.fakes import FakeStorage
from tests.store.pipeline import prepare
from vvwatch.core.filters import ObjectFilter, Reason
from vvwatch.store.db.database import Database
from vvwatch.store.watching import ledger
from vvwatch.workflow.watching.selection import Selection, pick_some

pytestmark = pytest.mark.anyio


class Counting:
    """A database that counts reads by function."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads: list[str] = []

    async def read(self, function: Callable[..., Any], *args: Any) -> Any:
        self.reads.append(function.__name__)
        return await self._database.read(function, *args)


def selection(database: Any, storage: FakeStorage, **more: Any) -> Selection:
    def pick(keys: Sequence[str]) -> Sequence[str]:
        return pick_some(0.0, keys)

    return Selection(database, storage, ObjectFilter("", "*.{mp4,json}", True), pick, **more)


async def test_a_page_of_unwanted_names_costs_no_query(database: Database) -> None:
    storage, counting = FakeStorage(), Counting(database)
    found = [storage.put(f"{number}.mov", b"x") for number in range(5)]
    row = await database.write(prepare)
    selected = await selection(counting, storage, automation=row, new_only=True).select(found)
    assert {each.reason for each in selected.choices} == {Reason.PATTERN_MISMATCH}
    assert counting.reads == []


async def test_first_versions_are_asked_for_before_outputs_and_archived_objects(database: Database) -> None:
    storage, counting = FakeStorage(), Counting(database)
    row = await database.write(prepare)
    await selection(counting, storage, automation=row, new_only=True).select([storage.put("a.mp4", b"x")])
    assert counting.reads == ["find_known_keys", "find_outputs", "find_observed"]


async def test_our_own_reports_are_own_outputs_and_not_worth_knowing(database: Database) -> None:
    storage = FakeStorage()
    await database.write(ledger.claim_outputs, [storage.uri("report.json")], "exp_x")
    found = [storage.put(key, b"x") for key in ("report.json", "other.json")]
    selected = await selection(database, storage).select(found)
    assert [each.reason for each in selected.choices] == [
        Reason.OWN_OUTPUT,
        Reason.UNSUPPORTED_MEDIA_TYPE,
    ]
    assert [each.key for each in selected.list_skipped()] == ["other.json"]


async def test_of_many_archived_objects_some_are_asked_about(database: Database) -> None:
    storage = FakeStorage()
    found = [storage.put(f"{number:02}.mp4", b"x")._replace(archived=True) for number in range(40)]
    storage.thawed = {obj.key for obj in found}
    selected = await selection(database, storage).select(found)
    assert [each.key for each in selected.list_wanted()] == [f"{number:02}.mp4" for number in range(16)]


def test_another_sample_asks_about_other_objects() -> None:
    keys = [str(number) for number in range(32)]
    assert [*pick_some(0.5, keys)] == keys[16:]
    assert [*pick_some(0.75, keys)] == keys[24:] + keys[:8]
