"""Dry runs: what would newly match, and nothing changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from tests.api.asking import Api
from tests.api.story import CONNECTOR, INDEX, Story
from tests.fakes import FakeStorage
from tests.store.pipeline import POLICY, count, jobs_of
from vvwatch.core.filters import ObjectFilter
from vvwatch.errors import AccessDenied
from vvwatch.ports import Irregularity, Page
from vvwatch.store.db.database import Database
from vvwatch.store.schema import import_automations, ledger_scopes, objects, observations
from vvwatch.store.watching import automations, dry_run, ledger
from vvwatch.store.watching.automations import ImportSpec
from vvwatch.workflow.watching.preview import PreviewLimits, preview_import
from vvwatch.workflow.watching.watch_state import WatchState

pytestmark = pytest.mark.anyio

PATH = f"/indexes/{INDEX}/automations/import"
BODY = {
    "connector_id": CONNECTOR,
    "debounce_interval": "5m",
    "prompt_preset": {"prompt_id": "prompt_technical"},
}


def numbers(found: dict[str, Any]) -> tuple[int, int, int, int]:
    return found["listed"], found["matched"], found["new"], found["known"]


def declined(found: dict[str, Any]) -> dict[str, int]:
    return {each["reason"]: each["count"] for each in found["declined"]}


async def everything(database: Database) -> list[Any]:
    """All that an edit or a scan would change."""
    tables = (import_automations, objects, observations, ledger_scopes)
    return [
        [tuple(row) for row in await database.read(lambda tx, t=table: tx.all(sa.select(t)))]  # type: ignore[misc]
        for table in tables
    ]


async def test_a_preview_tells_what_a_scan_would_find(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    for key in ("new.mp4", "deep/new.mov", "c.txt", ".hidden.mp4", "up.mp4.part", "results/ours.mp4"):
        storage.put(key, b"x")
    storage.put("empty.mp4", b"")
    await database.write(ledger.claim_outputs, [storage.uri("results/ours.mp4")], story.export_id)
    before = await everything(database)
    found = await api.get(f"{PATH}/preview")
    assert numbers(found) == (9, 4, 2, 2)
    assert found["new_keys"] == ["new.mp4", "deep/new.mov"]
    assert declined(found) == {
        "unsupported_media_type": 1,
        "temporary_name": 2,
        "own_output": 1,
        "zero_byte": 1,
    }
    assert all(each["explanation"] for each in found["declined"])
    assert (found["complete"], found["stopped_because"]) == (True, None)
    assert await everything(database) == before


async def test_filter_widened_is_foretold_by_a_dry_run_that_changes_nothing(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    """Trap 38: old objects that newly match are named before they are imported."""
    narrow = {**BODY, "file_pattern": "*.mp4"}
    await api.put(PATH, narrow)
    for key in ("old.mov", "old.mp4"):
        storage.put(key, b"x")
    jobs_of(database).jobs.clear()
    before = await everything(database)
    assert (await api.get(f"{PATH}/preview"))["new_keys"] == ["old.mp4"]
    found = await api.put(f"{PATH}?dry_run=true", {**BODY, "file_pattern": "*.{mp4,mov}"})
    assert (found["dry_run"], found["file_pattern"]) == (True, "*.{mp4,mov}")
    assert found["new_keys"] == ["old.mov", "old.mp4"]
    assert await everything(database) == before
    assert jobs_of(database).jobs == []


async def test_what_is_left_out_is_counted_by_its_rule_and_comes_when_the_rule_goes(
    api: Api, story: Story, storage: FakeStorage
) -> None:
    for key, size in (
        ("b.mp4", 50),
        ("proxies/b.mp4", 50),
        ("tiny.mp4", 9),
        ("huge.mp4", 101),
        ("@eaDir/b.jpg", 5),
    ):
        storage.put(key, b"x" * size)
    left_out = {"exclude": ["proxies/**"], "min_size_bytes": 10, "max_size_bytes": 100}
    found = await api.put(f"{PATH}?dry_run=true", {**BODY, **left_out})
    assert {name: found[name] for name in left_out} == left_out
    assert found["new_keys"] == ["b.mp4"]
    assert declined(found) == {"excluded": 1, "too_small": 2, "too_large": 1, "housekeeping": 1}
    await api.put(PATH, {**BODY, **left_out})
    found = await api.put(f"{PATH}?dry_run=true", BODY)
    assert sorted(found["new_keys"]) == ["b.mp4", "huge.mp4", "proxies/b.mp4", "tiny.mp4"]
    assert declined(found) == {"housekeeping": 1}


async def test_a_dry_run_of_the_first_automation_leaves_none(
    api: Api, storage: FakeStorage, database: Database
) -> None:
    index, connector, prompt = await api.index(), await api.connector("import"), await api.prompt()
    storage.put("a.mp4", b"x")
    body = {"connector_id": connector, "debounce_interval": "5m", "prompt_preset": {"prompt_id": prompt}}
    path = f"/indexes/{index}/automations/import"
    assert numbers(await api.put(f"{path}?dry_run=true", body)) == (1, 1, 1, 0)
    await api.error("GET", path, 404)
    assert await database.read(count, ledger_scopes) == 0


async def test_a_dry_run_refuses_what_the_real_one_refuses(
    api: Api, story: Story, database: Database
) -> None:
    path = f"{PATH}?dry_run=true"
    await api.error("PUT", path, 422, json={**BODY, "file_pattern": "[a"})
    await api.error("PUT", path, 404, json={**BODY, "connector_id": "conn_none"})
    spec = ImportSpec(CONNECTOR, "", "*", True, "3s", POLICY, 1.0, 1.0, BODY["prompt_preset"], declared=True)  # type: ignore[arg-type]
    await database.write(automations.save_import, INDEX, spec)
    error = await api.error("PUT", path, 409, json=BODY)
    assert "configuration file" in error["details"]["hint"]


async def test_the_import_mode_counts(api: Api, story: Story, storage: FakeStorage) -> None:
    storage.put("a.mp4", b"another version")
    found = await api.get(f"{PATH}/preview")
    assert (found["new"], found["known"], found["import_mode"]) == (1, 1, "all")
    found = await api.put(f"{PATH}?dry_run=true", {**BODY, "import_mode_override": "new_only"})
    assert (found["new"], declined(found)) == (0, {"new_only_known_key": 1})


async def test_a_location_that_cannot_be_listed_says_so(api: Api, story: Story, storage: FakeStorage) -> None:
    storage.broken = AccessDenied("permission denied", "allow s3:ListBucket")
    error = await api.error("GET", f"{PATH}/preview", 502)
    assert error["details"]["hint"] == "allow s3:ListBucket"
    index = await api.index()
    await api.error("GET", f"/indexes/{index}/automations/import/preview", 404)


async def watched(database: Database, storage: FakeStorage) -> WatchState:
    row, connector = await database.read(dry_run.get_saved_import, INDEX)
    rules = ObjectFilter(row.source_prefix, row.file_pattern, row.recursive)
    return WatchState(row, connector, storage, rules, new_only=False)


async def test_a_preview_of_very_much_stops_and_says_so(
    story: Story, storage: FakeStorage, database: Database
) -> None:
    for number in range(2_500):
        storage.put(f"{number:04}.mp4", b"x")
    found = await preview_import(database, await watched(database, storage), PreviewLimits(objects=1_500))
    assert (found.listed, found.stopped) == (2_000, "2,000 objects were listed")
    assert len(found.new_keys) == 100


class Stuck(FakeStorage):
    """A store that answers once and never again."""

    async def list(
        self, prefix: str, *, recursive: bool, after: str = "", skips: Callable[[str], bool] | None = None
    ) -> AsyncIterator[Page]:
        yield Page([self.put("a.mp4", b"x")], [Irregularity("pipe.mp4", "not_a_regular_file", "a pipe")])
        await anyio.sleep_forever()


async def test_a_store_that_hangs_is_not_waited_for(story: Story, database: Database) -> None:
    found = await preview_import(database, await watched(database, Stuck()), PreviewLimits(seconds=2))
    assert (found.listed, found.new, found.stopped) == (1, 1, "2 seconds were over")
    assert found.declined == {"not_a_regular_file": 1}


async def test_what_was_there_before_is_told_apart(
    story: Story, storage: FakeStorage, database: Database
) -> None:
    there = await watched(database, storage)
    storage.put("old.mp4", b"x")
    storage.moment = there.row.created_at + 60
    storage.put("young.mp4", b"x")
    values = {"process_existing": False, "baseline_done": False}
    await database.write(lambda tx: tx.update(import_automations, there.row.id, **values))
    found = await preview_import(database, await watched(database, storage))
    assert (found.new_keys, found.declined["existing"]) == (["young.mp4"], 1)
