"""The queues of connectors over the API: whose they may be, and what was put aside of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.api.asking import Api, client_of
from tests.api.routes.test_cloud_connectors import AZURE, GCS, S3, file
from tests.providers.gcs.gcs_places import service_account
from tests.store.pipeline import jobs_of
from vvwatch.api.http.context import ApiContext
from vvwatch.ports import Kind
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec
from vvwatch.store.schema import connectors
from vvwatch.store.watching import quarantine
from vvwatch.store.watching.quarantine import RefusedMessage

pytestmark = pytest.mark.anyio

SQS = "https://sqs.eu-central-1.amazonaws.com/123456789012/rushes"
QUEUES = {
    "s3": SQS,
    "gcs": "projects/studio/subscriptions/stage",
    "azure": "https://studiofootage.queue.core.windows.net/footage",
}
BODIES = {"s3": S3, "gcs": GCS, "azure": AZURE}
USUAL = {"mode": "exclusive", "sweep_seconds": 3600.0, "late_seconds": 60.0}


async def made(api: Api, provider: str, events: Any, *, status: int = 201) -> Any:
    body = {**BODIES[provider], "events": events}
    if provider != "gcs":
        return await api.post(f"/connectors/{provider}", body, status=status)
    form = {**body, "events": json.dumps(events)}
    content = file(service_account())
    return await api.ask("POST", "/connectors/gcs", status=status, data=form, files=content)


@pytest.fixture
async def emulated(context: ApiContext) -> AsyncIterator[Api]:
    """A server whose stores are emulators."""
    hosts = {"s3": "127.0.0.1", "azure": "azurite.local"}
    other = replace(context, settings=replace(context.settings, store_hosts=hosts))
    async with client_of(other) as client:
        yield await Api.prepared(client, other)


@pytest.mark.parametrize("provider", QUEUES)
async def test_a_connector_is_made_with_its_queue(api: Api, provider: str) -> None:
    answer = await made(api, provider, {"queue": QUEUES[provider]})
    assert answer["events"] == {"queue": QUEUES[provider], **USUAL}
    [row] = await api.context.database.read(catalog.list_connectors)
    assert row.events == answer["events"]


async def test_events_are_changed_and_taken_away(api: Api) -> None:
    connector = (await made(api, "s3", None))["connector_id"]
    index = await api.index()
    preset = {"prompt_id": await api.prompt()}
    body = {"connector_id": connector, "prompt_preset": preset, "debounce_interval": "5m"}
    await api.put(f"/indexes/{index}/automations/import", body)
    jobs_of(api.context.database).jobs.clear()
    path = f"/connectors/{connector}"
    wanted = {"queue": SQS, "mode": "shared", "sweep_seconds": 900, "late_seconds": 0}
    answer = await api.ask("PATCH", path, json={"events": wanted})
    assert answer["events"] == wanted
    assert len(jobs_of(api.context.database).take(Kind.SCAN)) == 1
    assert (await api.ask("PATCH", path, json={"name": "other"}))["events"] == wanted
    assert (await api.ask("PATCH", path, json={"events": None}))["events"] is None
    assert len(jobs_of(api.context.database).take(Kind.SCAN)) == 1


@pytest.mark.parametrize(
    ("provider", "queue"),
    [
        ("s3", "http://sqs.eu-central-1.amazonaws.com/123456789012/rushes"),
        ("s3", "https://sqs.eu-central-1.amazonaws.com.evil.org/123456789012/rushes"),
        ("s3", "https://evil.org/123456789012/rushes"),
        ("s3", "https://169.254.169.254/123456789012/rushes"),
        ("s3", "https://sqs.eu-central-1.amazonaws.com:8443/123456789012/rushes"),
        ("s3", "https://evil.org/sqs.eu-central-1.amazonaws.com/123456789012/rushes"),
        ("s3", "https://sqs.eu.central.amazonaws.com/123456789012/rushes"),
        ("s3", "http://127.0.0.1:4566/000000000000/rushes"),
        ("azure", "http://studiofootage.queue.core.windows.net/footage"),
        ("azure", "https://studiofootage.queue.core.windows.net.evil.org/footage"),
        ("azure", "https://[::1]/footage"),
        ("azure", "https://studiofootage.queue.core.windows.net:99999/footage"),
    ],
)
async def test_a_queue_elsewhere_is_no_business_of_a_key(api: Api, provider: str, queue: str) -> None:
    refused = await made(api, provider, {"queue": queue}, status=422)
    assert "events.queue" in json.dumps(refused)
    connector = (await made(api, provider, None))["connector_id"]
    await api.error("PATCH", f"/connectors/{connector}", 422, json={"events": {"queue": queue}})


@pytest.mark.parametrize(
    ("provider", "queue"),
    [
        ("s3", "http://127.0.0.1:4566/000000000000/rushes"),
        ("s3", "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/rushes"),
        ("azure", "http://azurite.local:10001/devstoreaccount1/footage"),
    ],
)
async def test_a_queue_at_the_host_of_the_configured_store_is_as_trusted(
    emulated: Api, provider: str, queue: str
) -> None:
    assert (await made(emulated, provider, {"queue": queue}))["events"]["queue"] == queue
    await made(emulated, "azure", {"queue": "http://127.0.0.1:10001/devstoreaccount1/q-1"}, status=422)


@pytest.mark.parametrize(
    "events",
    [
        {},
        {"queue": ""},
        {"queue": "arn:aws:sqs:eu-central-1:123456789012:rushes"},
        {"queue": QUEUES["gcs"]},
        {"queue": SQS, "endpoint_url": "http://127.0.0.1:1"},
        {"queue": SQS, "mode": "both"},
        {"queue": SQS, "sweep_seconds": 0},
        {"queue": SQS, "late_seconds": -1},
        {"queue": SQS, "sweep_seconds": "1h"},
        SQS,
    ],
)
async def test_what_cannot_be_events_is_refused(api: Api, events: Any) -> None:
    await made(api, "s3", events, status=422)


async def test_a_folder_has_no_events(api: Api) -> None:
    connector = await api.connector()
    error = await api.error("PATCH", f"/connectors/{connector}", 422, json={"events": {"queue": SQS}})
    assert "a local folder needs no queue" in json.dumps(error)
    assert (await api.ask("PATCH", f"/connectors/{connector}", json={"events": None}))["events"] is None


async def test_one_queue_is_not_consumed_for_two_connectors(api: Api) -> None:
    await made(api, "s3", {"queue": SQS})
    await made(api, "s3", {"queue": SQS, "mode": "shared"}, status=409)
    other = (await made(api, "s3", None))["connector_id"]
    await api.error("PATCH", f"/connectors/{other}", 409, json={"events": {"queue": SQS}})


async def test_the_identity_of_the_machine_is_lent_to_no_queue(api: Api) -> None:
    spec = ConnectorSpec("lake", "s3", {"bucket": "lake", "region": "eu-1", "ambient": True})
    row = await api.context.database.write(catalog.create_connector, spec)
    await api.error("PATCH", f"/connectors/{row.id}", 409, json={"events": {"queue": SQS}})


async def test_the_quarantine_is_shown_latest_first(api: Api) -> None:
    connector = (await made(api, "s3", {"queue": SQS}))["connector_id"]
    hostile = RefusedMessage("m1", "malformed", "it is no JSON", "<script>\0")
    database = api.context.database
    await database.write(quarantine.keep_messages, connector, [hostile], deleted=True)
    api.context.clock.advance(1)  # type: ignore[attr-defined]
    await database.write(
        quarantine.keep_messages, connector, [RefusedMessage("m2", "foreign", "other", "{}")], deleted=False
    )
    found = await api.get(f"/connectors/{connector}/quarantine")
    assert [each["message_id"] for each in found] == ["m2", "m1"]
    assert (found[1]["times"], found[1]["deleted"], found[0]["deleted"]) == (1, True, False)
    assert found[1]["excerpt"].startswith("<script>")
    assert len(await api.get(f"/connectors/{connector}/quarantine", limit=1)) == 1
    await api.error("GET", f"/connectors/{connector}/quarantine", 422, params={"limit": 0})
    await api.error("GET", "/connectors/conn_none/quarantine", 404)


async def test_a_deleted_connector_leaves_no_messages(api: Api) -> None:
    connector = (await made(api, "s3", {"queue": SQS}))["connector_id"]
    await api.context.database.write(
        quarantine.keep_messages, connector, [RefusedMessage("m1", "foreign", "", "{}")], deleted=True
    )
    await api.ask("DELETE", f"/connectors/{connector}")
    assert await api.context.database.read(quarantine.list_messages, connector, 10) == []
    row = await api.context.database.read(lambda tx: tx.require(connectors, "connector", connector))
    assert row.events is None
