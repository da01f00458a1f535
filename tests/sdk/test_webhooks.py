"""Webhooks: real deliveries to a real receiver, which believes nothing that is not signed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import videovector

from tests.daemon_process import wait_until
from tests.receiver import Receiver, is_signed
from tests.sdk.twins import Twin
from tests.sdk.world import World


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def made(sdk: Twin, world: World, receiver: Receiver, *events: str, **options: Any) -> Any:
    given = {"name": world.name("hook"), "url": receiver.url, "events": list(events) or ["export.ready"]}
    return sdk.webhooks.create(**{**given, **options})


def test_a_webhook_is_made_changed_paused_and_deleted(sdk: Twin, world: World, receiver: Receiver) -> None:
    metadata = {"desk": "night", "deep": {"n": [1, None]}}
    hook = made(sdk, world, receiver, index_ids=[world.index_id], metadata=metadata)
    assert (hook.url, hook.events, hook.index_ids) == (receiver.url, ["export.ready"], [world.index_id])
    assert (hook.metadata, hook.status, hook.failure_count) == (metadata, "active", 0)
    found = sdk.webhooks.retrieve(hook.webhook_id)
    assert found.model_dump() == hook.model_dump(exclude={"secret"})
    assert found in sdk.webhooks.list()
    changed = sdk.webhooks.update(hook.webhook_id, name="other", events=["export.failed"], status="paused")
    assert (changed.name, changed.events, changed.status) == ("other", ["export.failed"], "paused")
    assert changed.metadata == metadata
    assert sdk.webhooks.update(hook.webhook_id, metadata={"desk": "day"}).metadata == {"desk": "day"}
    assert sdk.webhooks.delete(hook.webhook_id).message
    with pytest.raises(videovector.NotFoundError) as caught:
        sdk.webhooks.retrieve(hook.webhook_id)
    assert caught.value.error_code == "resource_webhook_not_found"


def test_the_same_key_makes_one_webhook_with_one_secret(sdk: Twin, world: World, receiver: Receiver) -> None:
    key, name = world.name("key"), world.name("hook")
    first, again = [made(sdk, world, receiver, name=name, idempotency_key=key) for _ in range(2)]
    assert first == again
    assert first.secret
    with pytest.raises(videovector.ConflictError):
        made(sdk, world, receiver, name="another", idempotency_key=key)


def test_what_happens_is_told_and_signed(sdk: Twin, world: World, receiver: Receiver) -> None:
    hook = made(sdk, world, receiver, "export.ready", metadata={"desk": "night"})
    export = sdk.exports.create_prompt_run_export(world.run_id)

    def told() -> list[Any]:
        return [each for each in receiver.received if each.event["data"]["export_id"] == export.export_id]

    wait_until(lambda: bool(told()), "the delivery")
    [delivery] = told()
    assert is_signed(hook.secret, delivery.body, delivery.headers["X-Webhook-Signature"])
    assert (delivery.headers["X-Webhook-ID"], delivery.headers["X-Event-Type"]) == (
        hook.webhook_id,
        "export.ready",
    )
    assert delivery.event["metadata"] == {"desk": "night"}
    wait_until(lambda: all(each.status == "delivered" for each in deliveries_of(sdk, hook)), "the log")
    logged = next(
        each for each in deliveries_of(sdk, hook) if each.payload["data"]["export_id"] == export.export_id
    )
    assert (logged.delivery_id, logged.attempts) == (delivery.headers["X-Delivery-ID"], 1)
    assert (logged.response_status_code, logged.response_body) == (200, '{"received":true}')
    assert sdk.webhooks.get_delivery(logged.delivery_id).payload == delivery.event
    assert sdk.webhooks.retrieve(hook.webhook_id).last_success_at
    sdk.webhooks.delete(hook.webhook_id)


def deliveries_of(sdk: Twin, hook: Any, **options: Any) -> list[Any]:
    found: list[Any] = sdk.webhooks.list_deliveries(hook.webhook_id, **options)
    return found


def test_only_the_events_of_its_indexes_are_told(sdk: Twin, world: World, receiver: Receiver) -> None:
    elsewhere, prefix = world.index(), world.prefix()
    world.put(f"{prefix}picture.png", world.media["picture.png"])
    hook = made(sdk, world, receiver, "media.created", "import_job.completed", index_ids=[elsewhere])
    world.imported(world.index(), prefix)
    job = world.imported(elsewhere, prefix)
    wait_until(lambda: len(receiver.received) == 2, "both events")
    told = {each.event["event"]: each.event["data"] for each in receiver.received}
    assert told["media.created"]["video_id"] == job["video_ids"][0]
    assert told["import_job.completed"]["job_id"] == job["job_id"]
    assert {data["index_id"] for data in told.values()} == {elsewhere}
    sdk.webhooks.delete(hook.webhook_id)


def test_a_failed_delivery_is_sent_again(sdk: Twin, world: World) -> None:
    with Receiver(statuses=[503], body=b"busy") as receiver:
        index_id = world.index()
        hook = made(sdk, world, receiver, "import_job.completed", index_ids=[index_id])
        world.imported(index_id, world.prefix())
        wait_until(lambda: bool(deliveries_of(sdk, hook, status="failed")), "it has failed")
        [failed] = deliveries_of(sdk, hook, status="failed", limit=1)
        assert (failed.attempts, failed.response_status_code, failed.response_body) == (1, 503, "busy")
        assert sdk.webhooks.retrieve(hook.webhook_id).failure_count > 0
        again = sdk.webhooks.retry_delivery(failed.delivery_id)
        assert again.delivery_id == failed.delivery_id
        wait_until(lambda: sdk.webhooks.get_delivery(failed.delivery_id).status == "delivered", "it arrives")
        assert len({each.headers["X-Delivery-ID"] for each in receiver.received}) == 1
        assert len({each.body for each in receiver.received}) == 1
        with pytest.raises(videovector.ConflictError):
            sdk.webhooks.retry_delivery(failed.delivery_id)
        sdk.webhooks.delete(hook.webhook_id)


def test_a_test_is_sent_at_once_and_its_outcome_told(sdk: Twin, world: World) -> None:
    with Receiver(statuses=[200, 401]) as receiver:
        hook = made(sdk, world, receiver)
        tested = sdk.webhooks.test(hook.webhook_id, idempotency_key=hook.name)
        assert (tested.success, tested.status_code, tested.error) == (True, 200, None)
        assert sdk.webhooks.test(hook.webhook_id, idempotency_key=hook.name) == tested
        assert len(receiver.received) == 1
        refused = sdk.webhooks.test(hook.webhook_id)
        assert (refused.success, refused.status_code) == (False, 401)
        assert refused.error
        assert receiver.all_signed(hook.secret)
        assert all(each.event["id"].startswith("evt_test_") for each in receiver.received)
        sdk.webhooks.delete(hook.webhook_id)


def test_another_secret_signs_from_then_on(sdk: Twin, world: World, receiver: Receiver) -> None:
    hook = made(sdk, world, receiver)
    rotated = sdk.webhooks.rotate_secret(hook.webhook_id)
    assert rotated.webhook_id == hook.webhook_id
    assert rotated.new_secret != hook.secret
    assert sdk.webhooks.test(hook.webhook_id).success
    assert receiver.all_signed(rotated.new_secret)
    assert not receiver.all_signed(hook.secret)


def test_the_events_are_known(sdk: Twin) -> None:
    events = sdk.webhooks.list_events()
    assert len(events) == 19
    assert {
        "media.created",
        "prompt_run.progress",
        "import_job.partial_completed",
        "processor.paused",
    } <= set(events)


@pytest.mark.parametrize(
    "change", [{"url": "ftp://example.com"}, {"events": ["export.done"]}, {"events": []}, {"name": ""}]
)
def test_what_cannot_be_a_webhook_is_refused(
    sdk: Twin, world: World, receiver: Receiver, change: dict[str, Any]
) -> None:
    with pytest.raises(videovector.ValidationError):
        made(sdk, world, receiver, **change)
