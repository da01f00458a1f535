"""What the team knows about a file comes with its media: from its path, a sidecar and its object, never in its way."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.fakes import FakeStorage
from tests.store.pipeline import prepare
from tests.workflow.pipeline.test_import_retries import Place
from vvwatch.core.outputs import Written
from vvwatch.errors import AccessDenied, StorageUnavailable
from vvwatch.ports import ObjectFacts
from vvwatch.store.db.database import Database
from vvwatch.store.schema import events, import_automations, import_files, media, outputs
from vvwatch.store.watching import own_files
from vvwatch.telemetry import Telemetry

pytestmark = pytest.mark.anyio

EVERYTHING = {"path": "{show}/{camera}_{*}.mp4", "sources": ["sidecar", "metadata"]}
KEY = "harbour/A_001.mp4"


@pytest.fixture
async def place(database: Database, clock: FakeClock, telemetry: Telemetry, storage: FakeStorage) -> Place:
    await database.write(prepare, facts=EVERYTHING, file_pattern="*.mp4")
    return Place(database, clock, telemetry, storage)


async def known(place: Place) -> Any:
    [row] = await place.rows(media)
    return row.facts


async def message(place: Place) -> str:
    [row] = await place.rows(import_files)
    assert row.status == "imported"
    return str(row.message or "")


async def test_everything_that_is_known_is_gathered_and_announced(place: Place) -> None:
    place.storage.put("harbour/A_001.json", b'{"director": "Ada", "takes": [1, 2]}')
    place.storage.known[KEY] = ObjectFacts({"owner": "news"}, {"rights": "cleared"})
    await place.drop(KEY)
    await place.work(1)
    expected = {
        "path": {"show": "harbour", "camera": "A"},
        "sidecar": {"key": "harbour/A_001.json", "fields": {"director": "Ada", "takes": [1, 2]}},
        "metadata": {"owner": "news"},
        "tags": {"rights": "cleared"},
    }
    assert await known(place) == expected
    assert await message(place) == ""
    [event] = [row for row in await place.rows(events) if row.type == "media.created"]
    assert event.data["facts"] == expected


async def test_what_is_not_wanted_costs_no_request_and_says_nothing(place: Place) -> None:
    await place.database.write(lambda tx: tx.execute(sa.update(import_automations).values(facts=None)))
    place.storage.put("harbour/A_001.json", b"{}")
    await place.drop(KEY)
    await place.work(1)
    assert await known(place) is None
    assert place.storage.reads["harbour/A_001.json"] == 0
    [event] = [row for row in await place.rows(events) if row.type == "media.created"]
    assert "facts" not in event.data


async def test_what_cannot_be_used_is_a_warning_on_the_file(place: Place) -> None:
    key = "deep/er/clip.mp4"
    place.storage.put("deep/er/clip.json", b"[not json")
    place.storage.put("deep/er/clip.xmp", b"<x/>")
    place.storage.refused["deep/er/clip.xmp"] = AccessDenied("no right to read it")
    place.storage.known[key] = ObjectFacts({}, {}, ("its tags cannot be read: denied",))
    await place.drop(key)
    await place.work(1)
    assert await known(place) is None
    said = await message(place)
    assert "the path 'deep/er/clip.mp4' does not fit path_fields" in said
    assert "the sidecar 'deep/er/clip.json' cannot be used: it is not JSON" in said
    assert "the sidecar 'deep/er/clip.xmp' cannot be used: no right to read it" in said
    assert "its tags cannot be read: denied" in said


async def test_an_xmp_is_read_where_json_is_unusable_or_ours(place: Place) -> None:
    sidecar = "harbour/A_001.json"
    place.storage.put(sidecar, b'{"our": "own"}')
    packet = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    packet += (
        b'<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="video/mp4"/></rdf:RDF>'
    )
    place.storage.put("harbour/A_001.xmp", packet)
    row = {"uri": place.storage.uri(sidecar), "export_id": "exp_1", "created_at": 0.0}
    await place.database.write(lambda tx: tx.insert(outputs, **row))
    await place.drop(KEY)
    await place.work(1)
    assert (await known(place))["sidecar"] == {
        "key": "harbour/A_001.xmp",
        "fields": {"dc:format": "video/mp4"},
    }


async def test_our_document_that_a_person_edited_is_a_sidecar(place: Place) -> None:
    ours = b'{"export_id": "exp_1"}'
    content = Written(len(ours), hashlib.sha256(ours).hexdigest())
    uris = [place.storage.uri(f"harbour/{name}.json") for name in ("A_001", "A_002")]
    for uri in uris:
        await place.database.write(own_files.claim_file, uri, "exp_1", content)
    place.storage.put("harbour/A_001.json", ours)
    place.storage.put("harbour/A_002.json", ours.replace(b"1", b"2"))
    for name in ("A_001", "A_002"):
        await place.drop(f"harbour/{name}.mp4")
    await place.work(1)
    found = {row.key: row.facts.get("sidecar") for row in await place.rows(media)}
    assert found["harbour/A_001.mp4"] is None
    assert found["harbour/A_002.mp4"]["fields"] == {"export_id": "exp_2"}


async def test_a_huge_sidecar_is_not_read(place: Place) -> None:
    place.storage.put("harbour/A_001.json", b" " * (2 << 20))
    await place.drop(KEY)
    await place.work(1)
    assert "larger than 1 MiB" in await message(place)
    assert (await known(place)) == {"path": {"show": "harbour", "camera": "A"}}


async def test_a_store_that_is_away_is_asked_again_and_nothing_known_is_lost(place: Place) -> None:
    sidecar = "harbour/A_001.json"
    place.storage.put(sidecar, b'{"director": "Ada"}')
    await place.drop(KEY)
    place.storage.refused[sidecar] = StorageUnavailable("the store answered 503")
    await place.work(1)
    assert await place.rows(media) == []
    del place.storage.refused[sidecar]
    await place.work(120)
    assert (await known(place))["sidecar"]["fields"] == {"director": "Ada"}
