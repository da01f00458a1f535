from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.api.asking import ADMIN_KEY, Api, client_of
from tests.api.story import INDEX, Story, deliver
from tests.clock import FakeClock
from tests.store.pipeline import jobs_of
from vvwatch.api.http.context import ApiContext
from vvwatch.core.deliveries import DeliveryStatus
from vvwatch.core.events import EVENT_TYPES
from vvwatch.core.networks import PRIVATE, AddressPolicy
from vvwatch.ports import Kind, Reply
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.delivery.events import announce
from vvwatch.store.models.delivery import Webhook
from vvwatch.store.schema import deliveries, webhooks

pytestmark = pytest.mark.anyio

NOW = "2026-09-21T14:13:20.000Z"
BODY = {"name": "n8n", "url": "https://example.com/hook", "events": ["export.ready"]}


async def test_the_secret_is_shown_once(api: Api, context: ApiContext) -> None:
    index = await api.index()
    metadata = {"n8n_workflow_id": "7", "nested": {"deep": [1, 2.5, None, "ü"]}}
    body = {**BODY, "index_ids": [index, index], "metadata": metadata}
    made = await api.post("/webhooks", body, status=201)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert made == {
        "webhook_id": made["webhook_id"],
        "name": "n8n",
        "url": "https://example.com/hook",
        "events": ["export.ready"],
        "index_ids": [index],
        "status": "active",
        "failure_count": 0,
        "last_failure_at": None,
        "last_success_at": None,
        "created_at": NOW,
        "updated_at": NOW,
        "metadata": metadata,
        "declared": False,
    }
    assert await api.get(f"/webhooks/{made['webhook_id']}") == made
    assert await api.get("/webhooks") == [made]
    stored = await context.database.read(lambda tx: tx.all(webhooks.select()))
    assert secret.encode() not in stored[0].secret
    assert context.box.open(stored[0].secret) == secret


async def test_without_indexes_it_hears_of_all(api: Api) -> None:
    made = await api.post("/webhooks", BODY, status=201)
    assert (made["index_ids"], made["metadata"]) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"url": "http://example.com"},
        {"url": "ftp://example.com"},
        {"url": "example.com"},
        {"url": "https://"},
        {"url": "https://user:pass@example.com"},
        {"url": "https://example.com/#part"},
        {"url": "https://exa mple.com"},
        {"url": "https://example.com:99999"},
        {"url": "https://[::1"},
        {"url": "https://localhost/hook"},
        {"url": "https://127.0.0.1/hook"},
        {"url": "https://169.254.169.254/latest"},
        {"url": "https://[::ffff:10.0.0.1]/"},
        {"url": "https://example.com/" + "x" * 3000},
        {"events": []},
        {"events": ["export.done"]},
        {"events": "export.ready"},
        {"index_ids": []},
        {"index_ids": "idx"},
        {"metadata": []},
        {"metadata": {"a": "x" * 16_384}},
        {"metadata": {"a": [[[]]] * 2} | {"b": json.loads("[" * 90 + "]" * 90)}},
        {"secret": "whsec_mine"},
    ],
)
async def test_what_cannot_be_is_refused(api: Api, change: dict[str, Any]) -> None:
    error = await api.error("POST", "/webhooks", 422, json={**BODY, **change})
    assert error["code"] == "validation_error"
    assert "pass@" not in json.dumps(error)
    assert await api.get("/webhooks") == []


async def test_its_indexes_must_exist(api: Api) -> None:
    error = await api.error("POST", "/webhooks", 404, json={**BODY, "index_ids": ["idx_none"]})
    assert error["code"] == "resource_index_not_found"


async def test_the_server_may_permit_what_is_not_public(context: ApiContext, api: Api) -> None:
    open_settings = replace(
        context.settings, webhook_policy=AddressPolicy(allow_http=True, allow_networks=PRIVATE)
    )
    headers = {"X-API-Key": ADMIN_KEY}
    async with client_of(replace(context, settings=open_settings), headers=headers) as client:
        body = {**BODY, "url": "http://127.0.0.1:9/hook"}
        assert (await client.post("/api/v2/webhooks", json=body)).status_code == 201


async def test_the_events_are_listed(api: Api) -> None:
    assert await api.get("/webhooks/events") == list(EVENT_TYPES)
    assert len(EVENT_TYPES) == 19


async def test_deliveries_are_logged_attempt_by_attempt(api: Api, story: Story) -> None:
    listed = await api.get(f"/webhooks/{story.webhook_id}/deliveries")
    assert [each["event_type"] for each in listed] == [
        "export.ready",
        "prompt_run.completed",
        "media.created",
        "import_job.started",
    ]
    newest = listed[0]
    moment = "2026-09-21T14:18:20.000Z"
    assert newest == {
        "delivery_id": newest["delivery_id"],
        "webhook_id": story.webhook_id,
        "event_type": "export.ready",
        "status": "delivered",
        "attempts": 1,
        "last_attempt_at": moment,
        "next_retry_at": None,
        "response_status_code": 200,
        "response_body": "ok",
        "error_message": None,
        "created_at": moment,
        "completed_at": moment,
        "payload": newest["payload"],
    }
    payload = newest["payload"]
    assert set(payload) == {"id", "event", "data", "api_version", "created_at", "metadata"}
    assert (payload["event"], payload["metadata"]) == ("export.ready", {"team": "red"})
    assert payload["data"]["export_id"] == story.export_id
    whole = await api.get(f"/webhooks/deliveries/{newest['delivery_id']}")
    assert whole.pop("attempt_log") == [
        {
            "attempt_id": f"{newest['delivery_id']}-1",
            "number": 1,
            "started_at": moment,
            "duration_seconds": 0.25,
            "response_status_code": 200,
            "response_body": "ok",
            "error_message": None,
        }
    ]
    assert whole == newest


async def test_deliveries_are_filtered(api: Api, story: Story) -> None:
    path = f"/webhooks/{story.webhook_id}/deliveries"
    assert len(await api.get(path, status="delivered", limit=2)) == 2
    assert len(await api.get(path, status="DELIVERED", limit=2)) == 2
    assert await api.get(path, status="failed") == []
    await api.error("GET", f"{path}?status=lost", 422)
    await api.error("GET", f"{path}?limit=101", 422)


async def test_a_failed_delivery_is_sent_once_more(
    api: Api, story: Story, database: Database, clock: FakeClock
) -> None:
    [first, *_] = await api.get(f"/webhooks/{story.webhook_id}/deliveries")
    path = f"/webhooks/deliveries/{first['delivery_id']}/retry"
    assert (await api.error("POST", path, 409))["message"].endswith("is delivered")
    await database.write(lambda tx: tx.update(deliveries, first["delivery_id"], status=DeliveryStatus.FAILED))
    clock.advance(60)
    retried = await api.post(path)
    assert (retried["status"], retried["completed_at"]) == ("pending", None)
    assert jobs_of(database).jobs[-1].kind is Kind.DELIVERY
    await deliver(database)
    again = await api.get(f"/webhooks/deliveries/{first['delivery_id']}")
    assert (again["status"], again["attempts"]) == ("delivered", 2)
    assert [attempt["number"] for attempt in again["attempt_log"]] == [1, 2]


async def test_nothing_is_sent_to_a_disabled_webhook(api: Api, story: Story, database: Database) -> None:
    [first, *_] = await api.get(f"/webhooks/{story.webhook_id}/deliveries")
    await database.write(lambda tx: tx.update(deliveries, first["delivery_id"], status=DeliveryStatus.FAILED))
    await database.write(lambda tx: tx.update(webhooks, story.webhook_id, status="disabled"))
    error = await api.error("POST", f"/webhooks/deliveries/{first['delivery_id']}/retry", 409)
    assert "disabled" in error["message"]


async def test_unknown_webhooks_and_deliveries_are_not_found(api: Api) -> None:
    for tail in ("", "/deliveries"):
        error = await api.error("GET", f"/webhooks/wh_none{tail}", 404)
        assert error["code"] == "resource_webhook_not_found"
    for method, tail in (("GET", ""), ("POST", "/retry")):
        error = await api.error(method, f"/webhooks/deliveries/del_none{tail}", 404)
        assert error["code"] == "resource_delivery_not_found"


async def test_no_secret_is_ever_answered(api: Api, story: Story) -> None:
    made = await api.post("/webhooks", {**BODY, "index_ids": [INDEX]}, status=201)
    planted = (made["secret"], "whsec_planted", ADMIN_KEY)
    [first, *_] = await api.get(f"/webhooks/{story.webhook_id}/deliveries")
    for path in (
        "/webhooks",
        f"/webhooks/{made['webhook_id']}",
        f"/webhooks/{story.webhook_id}/deliveries",
        f"/webhooks/deliveries/{first['delivery_id']}",
        "/api-keys",
        "/connectors",
        "/status",
    ):
        answer = json.dumps(await api.get(path))
        assert not any(secret in answer for secret in planted)


async def test_what_is_given_is_changed_and_nothing_else(api: Api, clock: FakeClock) -> None:
    index = await api.index()
    made = await api.post("/webhooks", {**BODY, "index_ids": [index], "metadata": {"a": 1}}, status=201)
    del made["secret"]
    path = f"/webhooks/{made['webhook_id']}"
    clock.advance(60)
    expected = {**made, "updated_at": "2026-09-21T14:14:20.000Z"}
    assert await api.ask("PATCH", path, json={}) == expected
    for change in (
        {"name": "other"},
        {"url": "https://example.org/"},
        {"events": ["media.created", "export.failed"]},
        {"status": "paused"},
        {"index_ids": None},
        {"metadata": None},
        {"status": "active", "index_ids": [index], "metadata": {"b": [2]}},
    ):
        expected |= change
        assert await api.ask("PATCH", path, json=change) == expected
        assert await api.get(path) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": None},
        {"url": None},
        {"url": "http://example.com"},
        {"url": "https://10.0.0.1/"},
        {"events": []},
        {"events": None},
        {"events": ["export.done"]},
        {"index_ids": []},
        {"status": "disabled"},
        {"status": "deleted"},
        {"status": None},
        {"metadata": []},
        {"secret": "whsec_mine"},
        {"failure_count": 0},
    ],
)
async def test_a_change_that_cannot_be_is_refused(api: Api, change: dict[str, Any]) -> None:
    made = await api.post("/webhooks", BODY, status=201)
    path = f"/webhooks/{made['webhook_id']}"
    error = await api.error("PATCH", path, 422, json=change)
    assert error["code"] == "validation_error"
    del made["secret"]
    assert await api.get(path) == made


async def test_what_the_file_declares_is_read_only(api: Api, story: Story) -> None:
    path = f"/webhooks/{story.webhook_id}"
    for method, tail in (("PATCH", ""), ("DELETE", ""), ("POST", "/rotate-secret")):
        error = await api.error(method, path + tail, 409, json={})
        assert error["message"].endswith("is read-only here")


async def test_activating_forgives_and_lets_go_on_what_waited(
    api: Api, database: Database, context: ApiContext
) -> None:
    made = await api.post("/webhooks", BODY, status=201)
    path = f"/webhooks/{made['webhook_id']}"

    def failed(tx: Tx) -> None:
        announce(tx, "export.ready", "exp_1", None, {"export_id": "exp_1"})
        tx.update(webhooks, made["webhook_id"], status="disabled", failure_count=20)

    await database.write(failed)
    jobs_of(database).jobs.clear()
    await database.write(lambda tx: tx.execute(deliveries.update().values(next_at=None)))
    active = await api.ask("PATCH", path, json={"status": "active"})
    assert (active["status"], active["failure_count"]) == ("active", 0)
    assert [job.kind for job in jobs_of(database).jobs] == [Kind.DELIVERY]


async def test_a_rotated_secret_is_shown_once_and_signs_from_then_on(api: Api, context: ApiContext) -> None:
    made = await api.post("/webhooks", BODY, status=201)
    path = f"/webhooks/{made['webhook_id']}"
    rotated = await api.post(f"{path}/rotate-secret")
    assert rotated == {"webhook_id": made["webhook_id"], "new_secret": rotated["new_secret"]}
    assert rotated["new_secret"].startswith("whsec_")
    assert rotated["new_secret"] != made["secret"]
    [stored] = await context.database.read(lambda tx: tx.all(webhooks.select()))
    assert context.box.open(stored.secret) == rotated["new_secret"]
    assert "secret" not in await api.get(path)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(204, "", None, 0.1), {"success": True, "status_code": 204, "error": None}),
        (
            Reply(500, "oops", None, 0.1),
            {"success": False, "status_code": 500, "error": "the receiver answered 500"},
        ),
        (
            Reply(None, "", "no answer within 10 s", 10.0),
            {"success": False, "status_code": None, "error": "no answer within 10 s"},
        ),
    ],
)
async def test_a_test_says_what_came_of_it(
    api: Api, context: ApiContext, reply: Reply, expected: dict[str, Any]
) -> None:
    made = await api.post("/webhooks", BODY, status=201)
    path = f"/webhooks/{made['webhook_id']}"
    tested: list[str] = []

    async def test(webhook: Webhook) -> Reply:
        tested.append(webhook.id)
        return reply

    headers = {"X-API-Key": ADMIN_KEY, "Idempotency-Key": "once"}
    async with client_of(replace(context, test_webhook=test), headers=headers) as client:
        answers = [await client.post(f"/api/v2{path}/test") for _ in range(2)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, expected)] * 2
    assert tested == [made["webhook_id"]], "the same key is the same test"
    assert await api.get(f"{path}/deliveries") == []
    del made["secret"]
    assert await api.get(path) == made


async def test_unknown_webhooks_cannot_be_changed(api: Api) -> None:
    for method, tail in (("PATCH", ""), ("POST", "/rotate-secret"), ("POST", "/test"), ("DELETE", "")):
        error = await api.error(method, f"/webhooks/wh_none{tail}", 404, json={})
        assert error["code"] == "resource_webhook_not_found"
