"""Why an object is where it is, when a rule alone does not tell it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.api.asking import Api, client_of
from tests.api.routes.test_explain import explained
from tests.api.story import CONNECTOR, INDEX, Story
from tests.clock import FakeClock
from tests.fakes import FakeStorage
from vvwatch.api.http.context import ApiContext
from vvwatch.api.routes import object_state
from vvwatch.core.filters import Reason
from vvwatch.core.locations import Address
from vvwatch.core.objects import StorageObject
from vvwatch.core.selection import SkippedObject
from vvwatch.errors import AccessDenied, CredentialsRefused, StorageUnavailable
from vvwatch.ports import Capabilities
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.imports import import_object
from vvwatch.store.schema import (
    absences,
    connectors,
    import_automations,
    import_files,
    import_jobs,
    objects,
    reconciles,
    tombstones,
)
from vvwatch.store.watching import automations, ledger, windows

pytestmark = pytest.mark.anyio

PATH = f"/indexes/{INDEX}/automations/import"


async def gather(database: Database, obj: StorageObject) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.accept_objects, row.id, row.generation, [obj])


async def set_automation(database: Database, **values: Any) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(lambda tx: tx.update(import_automations, row.id, **values))


def bury(tx: Tx, key: str, proof: str) -> None:
    """Every version of the key goes the way of what is gone."""
    for row in tx.all(objects.select().where(objects.c.key == key)):
        tx.insert(tombstones, **row._mapping, gone_at=tx.now, proof=proof)
    tx.execute(objects.delete().where(objects.c.key == key))


async def test_a_held_window_is_named(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    await gather(database, storage.put("d.mp4", b"d"))
    await api.post(f"{PATH}/window/hold")
    found = await explained(api, "d.mp4")
    assert found["conclusion"].endswith("which is held until a person releases or fires it")
    assert found["versions"][0]["window_held"] is True


@pytest.mark.parametrize(
    ("change", "state"), [({"paused": True}, "paused"), ({"enabled": False}, "disabled")]
)
async def test_an_automation_that_stands_still_is_named(
    api: Api,
    story: Story,
    storage: FakeStorage,
    database: Database,
    change: dict[str, bool],
    state: str,
) -> None:
    await gather(database, storage.put("d.mp4", b"d"))
    storage.put("new.mp4", b"n")
    await set_automation(database, **change)
    assert (await explained(api, "d.mp4"))["conclusion"].endswith(f", and the automation is {state}")
    assert (await explained(api, "new.mp4"))["conclusion"] == f"it matches, but the automation is {state}"


@pytest.mark.parametrize(("proof", "words"), [("sweeps", "two full scans"), ("event", "an event reported")])
async def test_what_is_gone_tells_since_when_and_by_which_proof(
    api: Api, story: Story, storage: FakeStorage, database: Database, proof: str, words: str
) -> None:
    storage.remove("a.mp4")
    await database.write(bury, "a.mp4", proof)
    found = await explained(api, "a.mp4")
    assert found["conclusion"].startswith(f"gone since 2026-09-21T14:18:20.000Z: {words}")
    assert story.video_id in found["conclusion"], "what it was before is still told"
    [version] = found["versions"]
    assert (version["gone_proof"], version["is_current"]) == (proof, False)
    assert version["gone_at"] == "2026-09-21T14:18:20.000Z"


async def test_delete_recreate_same_bytes_is_new_and_its_grave_is_told(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    """Trap 8: the same version found again is new, in import mode new_only it stays declined."""
    await database.write(bury, "a.mp4", "sweeps")
    found = await explained(api, "a.mp4")
    assert found["conclusion"].startswith("it matches and is new")
    assert [each["is_current"] for each in found["versions"]] == [False]
    await set_automation(database, import_mode_override="new_only")
    assert "new_only" in (await explained(api, "a.mp4"))["conclusion"]


async def test_what_a_sweep_missed_is_not_gone_yet(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    gone = storage._objects["a.mp4"][0]
    storage.remove("a.mp4")
    row = await database.read(automations.get_import, INDEX)

    def missed(tx: Tx) -> None:
        tx.insert(reconciles, id="rec_1", automation_id=row.id, started_at=tx.now)
        key = {"scope_id": row.scope_id, "key": gone.key, "version": gone.version}
        tx.insert(absences, **key, reconcile_id="rec_1")

    await database.write(missed)
    found = await explained(api, "a.mp4")
    assert "the full scan of 2026-09-21T14:18:20.000Z did not find it" in found["conclusion"]
    assert found["versions"][0]["absent_since"] == "2026-09-21T14:18:20.000Z"


async def test_a_later_version_under_new_only_says_so(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(
        windows.acknowledge_objects, row.id, row.generation, [storage.put("a.mp4", b"again")]
    )
    assert (await explained(api, "a.mp4"))["conclusion"].startswith("not imported: import mode new_only")


async def test_what_was_there_before_the_automation_says_so(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    row = await database.read(automations.get_import, INDEX)
    await database.write(windows.acknowledge_objects, row.id, row.generation, [storage.put("old.mp4", b"o")])
    await set_automation(database, process_existing=False)
    conclusion = (await explained(api, "old.mp4"))["conclusion"]
    assert conclusion.endswith("before the automation began, and process_existing is false")


async def test_what_was_observed_of_another_version_explains_nothing(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    row = await database.read(automations.get_import, INDEX)
    seen = SkippedObject("e.mp4", "v1", 0, Reason.ZERO_BYTE, "it is empty")
    await database.write(ledger.record_observations, row.id, [seen])
    storage.put("e.mp4", b"now it has content")
    assert (await explained(api, "e.mp4"))["conclusion"].startswith("it matches and is new")


async def post(database: Database, obj: StorageObject) -> str:
    """Import the object as `POST /videos` does; return the job."""
    job = await database.write(import_object.create, INDEX, CONNECTOR, obj, "title")
    return str(job.id)


async def last_version(api: Api, storage: FakeStorage, key: str) -> tuple[str, str]:
    """The version that explains an object whose storage fails, and the conclusion."""
    storage.broken = AccessDenied("permission denied")
    found = await explained(api, key)
    storage.broken = None
    return found["versions"][-1]["version"], found["conclusion"]


async def test_a_newer_version_by_post_videos_is_named_also_when_its_job_is_pruned(
    api: Api, story: Story, storage: FakeStorage, database: Database, clock: FakeClock
) -> None:
    await gather(database, storage.put("d.mp4", b"old"))
    clock.advance(60)
    newer = storage.put("d.mp4", b"newer")
    job_id = await post(database, newer)
    version, conclusion = await last_version(api, storage, "d.mp4")
    assert version == newer.version
    assert conclusion == f"import job {job_id} will import it"
    for table, column in ((import_files, import_files.c.job_id), (import_jobs, import_jobs.c.id)):
        await database.write(lambda tx, t=table, c=column: tx.execute(t.delete().where(c == job_id)))  # type: ignore[misc]
    version, conclusion = await last_version(api, storage, "d.mp4")
    assert version == newer.version
    assert conclusion.startswith(f"import job {job_id} created no media item of it")


async def test_a_version_that_joined_a_window_after_a_post_videos_is_the_newer_one(
    api: Api, story: Story, storage: FakeStorage, database: Database, clock: FakeClock
) -> None:
    """The window was open before."""
    await gather(database, storage.put("other.mp4", b"x"))
    clock.advance(60)
    await post(database, storage.put("d.mp4", b"old"))
    clock.advance(60)
    storage.moment = clock.now()
    newer = storage.put("d.mp4", b"newer")
    await gather(database, newer)
    version, conclusion = await last_version(api, storage, "d.mp4")
    assert version == newer.version
    assert conclusion.startswith("it waits in window")


async def test_a_scan_that_fails_is_the_reason(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    storage.put("new.mp4", b"n")
    await set_automation(database, last_error="access is denied")
    assert (await explained(api, "new.mp4"))["conclusion"].endswith("the last scan failed: access is denied")


async def test_a_disabled_connector_is_the_reason(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    storage.put("new.mp4", b"n")
    await database.write(lambda tx: tx.update(connectors, CONNECTOR, status="disabled"))
    assert (await explained(api, "new.mp4"))["conclusion"] == "it matches, but the connector is disabled"


async def test_what_nobody_can_look_at_is_not_called_new(
    api: Api, story: Story, storage: FakeStorage
) -> None:
    storage.broken = StorageUnavailable("the store is away")
    found = await explained(api, "new.mp4")
    assert found["conclusion"].endswith("whether it exists is unknown: the store is away")


class Local(FakeStorage):
    """Files, of which one may be open in a writer."""

    capabilities = Capabilities(atomic_writes=False)
    writing: frozenset[str] = frozenset()

    async def in_use(self, keys: Any) -> set[str]:
        return self.writing & set(keys)  # type: ignore[return-value]


async def test_a_file_that_still_settles_says_so(
    api: Api, story: Story, context: ApiContext, clock: FakeClock
) -> None:
    there = Local()
    there.moment = clock.now() - 1
    there.put("young.mp4", b"x")
    there.moment = clock.now() - 60
    there.put("old.mp4", b"x")
    there.put("open.mp4", b"x")
    there.writing = frozenset({"open.mp4"})
    local = replace(context, storages=lambda _row: there)
    async with client_of(local, headers=api.client.headers) as client:

        async def conclusion(key: str) -> str:
            answer = await client.get("/api/v2/explain", params={"connector_id": CONNECTOR, "key": key})
            return str(answer.json()["places"][0]["indexes"][0]["conclusion"])

        assert (await conclusion("young.mp4")).startswith("not imported yet: it may still be written to")
        assert (await conclusion("open.mp4")).startswith("not imported yet: a writer has it open")
        assert (await conclusion("old.mp4")).startswith("it matches and is new")


async def test_what_can_be_no_object_is_called_what_it_is(
    api: Api, story: Story, context: ApiContext, tmp_path: Path
) -> None:
    folder = tmp_path / "media"
    (folder / "link.mp4").symlink_to("/etc/hosts")
    os.mkfifo(folder / "pipe.mp4")
    local = LocalStorage(folder, allowed_roots=[tmp_path])
    async with client_of(replace(context, storages=lambda _: local), headers=api.client.headers) as client:
        for key, what in (("link.mp4", "a symbolic link"), ("pipe.mp4", "a named pipe")):
            answer = await client.get("/api/v2/explain", params={"connector_id": CONNECTOR, "key": key})
            [place] = answer.json()["places"]
            assert place["indexes"][0]["conclusion"].startswith("not imported: it is a link, device, pipe")
            assert what in place["standing"]["error"]


async def test_a_store_that_hangs_is_given_up(
    api: Api, story: Story, context: ApiContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(FakeStorage):
        async def stat(self, key: str) -> StorageObject:
            await anyio.sleep_forever()
            raise AssertionError

    monkeypatch.setattr(object_state, "_MAX_SECONDS", 0.05)
    async with client_of(replace(context, storages=lambda _: Stuck()), headers=api.client.headers) as client:
        answer = await client.get("/api/v2/explain", params={"connector_id": CONNECTOR, "key": "a.mp4"})
    found = answer.json()["places"][0]["standing"]
    assert (found["exists"], found["error"]) == (None, "the store did not respond within 0.05 seconds")


async def test_a_store_that_cannot_be_opened_leaves_what_is_known(
    api: Api, story: Story, context: ApiContext
) -> None:
    def refused(_row: object) -> FakeStorage:
        raise CredentialsRefused("it has no credentials")

    away = replace(context, storages=refused, addresses=lambda _: (Address("s3://bucket/", encoded=False),))
    async with client_of(away, headers=api.client.headers) as client:
        answer = await client.get("/api/v2/explain", params={"uri": "s3://bucket/a.mp4"})
    [place] = answer.json()["places"]
    assert (place["uri"], place["standing"]["error"]) == ("s3://bucket/a.mp4", "it has no credentials")
    assert story.video_id in place["indexes"][0]["conclusion"]


async def test_every_index_that_watches_it_is_told(
    api: Api, story: Story, storage: FakeStorage, database: Database
) -> None:
    other = await api.index()
    body = {
        "connector_id": CONNECTOR,
        "source_prefix": "elsewhere/",
        "debounce_interval": "5m",
        "prompt_preset": {"prompt_id": catalog.DEFAULT_PROMPT_ID},
    }
    await api.put(f"/indexes/{other}/automations/import", body)
    [place] = (await api.get("/explain", uri=storage.uri("a.mp4")))["places"]
    told = {each["index_id"]: each["conclusion"] for each in place["indexes"]}
    assert story.video_id in told[INDEX]
    assert told[other] == "not imported: its key does not start with the source prefix (elsewhere/)"


async def test_what_no_automation_watches_is_still_looked_at(
    api: Api, story: Story, storage: FakeStorage
) -> None:
    lonely = await api.connector("import", name="lonely")
    storage.put("x.mp4", b"x")
    [place] = (await api.get("/explain", connector_id=lonely, key="x.mp4"))["places"]
    assert (place["standing"]["exists"], place["indexes"]) == (True, [])


@pytest.mark.parametrize(
    ("rules", "key", "reason"),
    [
        ({"source_prefix": "in/"}, "out/a.mp4", "outside_prefix"),
        ({"source_prefix": "in/", "recursive": False}, "in/deep/a.mp4", "not_direct_child"),
        ({"file_pattern": "*.mov"}, "a.mp4", "pattern_mismatch"),
        ({"source_prefix": ""}, "a.mp4.part", "temporary_name"),
        ({"source_prefix": ""}, "a.docx", "unsupported_media_type"),
        ({"source_prefix": ""}, "in/#recycle/a.mp4", "housekeeping"),
        ({"exclude_patterns": ["in/**", "*_proxy.mp4"]}, "in/a.mp4", "excluded"),
        ({"min_size_bytes": 2}, "a.mp4", "too_small"),
        ({"max_size_bytes": 0}, "a.mp4", "too_large"),
    ],
)
async def test_each_rule_is_named(
    api: Api,
    story: Story,
    storage: FakeStorage,
    database: Database,
    rules: dict[str, Any],
    key: str,
    reason: str,
) -> None:
    await set_automation(database, **rules)
    storage.put(key, b"x")
    found = await explained(api, key)
    assert found["verdict"]["reason"] == reason
    assert found["conclusion"].startswith("not imported: ")


async def test_what_waits_to_be_restored_says_so(api: Api, story: Story, storage: FakeStorage) -> None:
    cold = storage.put("cold.mp4", b"x")._replace(archived=True)
    storage._objects["cold.mp4"] = (cold, b"x")
    assert "waits to be restored" in (await explained(api, "cold.mp4"))["conclusion"]


HOSTILE = (
    "a b+c%2F%00.mp4",
    "\x1b[31mred\r\n.mp4",
    "é/e\u0301.mp4",
    "🎬'\"; DROP TABLE objects; --.mp4",
    "a//b.mp4",
    "-rf.mp4",
    "%s{0}.mp4",
    "x" * 1000 + ".mp4",
    "\u202egpm.4pm.mp4",
)


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
async def test_hostile_keys_are_told_like_any_other(
    api: Api, story: Story, context: ApiContext, tmp_path: Path, key: str
) -> None:
    folder = tmp_path / "media" / "hostile"
    folder.mkdir()
    storages = (FakeStorage(), LocalStorage(folder, allowed_roots=[tmp_path]))
    for storage in storages:
        there = replace(context, storages=lambda _row, storage=storage: storage)  # type: ignore[misc]
        async with client_of(there, headers=api.client.headers) as client:
            query = {"connector_id": CONNECTOR, "key": key}
            answer = await client.get("/api/v2/explain", params=query)
            assert answer.status_code in {200, 422}, answer.text
            if answer.status_code == 200:
                assert answer.json()["places"][0]["key"] == key
