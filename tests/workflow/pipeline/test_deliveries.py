from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier

from tests.clock import FakeClock
from tests.receiver import is_signed
from tests.store.pipeline import jobs_of
from tests.workflow.conftest import Told
from vvwatch.core.deliveries import PROBED_FROM, DeliveryStatus
from vvwatch.core.events import canonical_json
from vvwatch.core.networks import PUBLIC_ONLY
from vvwatch.errors import MachineShortage
from vvwatch.ports import Kind, Reply
from vvwatch.store.admin.invariants import INVARIANTS
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.db.idempotency import Claim
from vvwatch.store.delivery import webhooks
from vvwatch.store.delivery.deliveries import (
    SHARE,
    UNTRIED_SHARE,
    AttemptResult,
    EndedAttempt,
    FinishResult,
    begin_all,
    finish_all,
)
from vvwatch.store.delivery.events import announce
from vvwatch.store.delivery.webhooks import WebhookSpec
from vvwatch.store.imports import retrying
from vvwatch.store.models.delivery import Webhook
from vvwatch.store.schema import deliveries, delivery_attempts
from vvwatch.store.schema import webhooks as table
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.deliveries import Deliveries, DeliveryPolicy

pytestmark = pytest.mark.anyio

BOX = SecretBox(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
DELAYS = (30.0, 120.0, 600.0, 3_600.0, 21_600.0)
EVENTS = ("media.created", "media.processing.started", "media.processing.completed", "export.ready")
OK = Reply(200, "ok", None, 0.1)
BROKEN = Reply(500, "oops", None, 0.1)
SILENT = Reply(None, "", "no answer within 10 s", 10.0)
HOUR = 3_600.0


@dataclass
class Post:
    url: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def told(self) -> tuple[str, str]:
        """The type of the event and the object that it tells of."""
        event = json.loads(self.body)
        return event["event"], event["data"]["video_id"]


@dataclass
class FakeSender:
    """Answers as `answers` says for an address, and keeps what it was given."""

    answers: Callable[[Post], Reply] = lambda _: OK
    posts: list[Post] = field(default_factory=list)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        post = Post(url, body, headers)
        self.posts.append(post)
        return self.answers(post)

    def to(self, name: str) -> list[tuple[str, str]]:
        """What was posted to the webhook of this name, tries too."""
        return [post.told for post in self.posts if post.url == url(name)]


def url(name: str) -> str:
    return f"https://{name}.example/hook"


@dataclass
class Office:
    """Webhooks, and who delivers to them as time goes by."""

    database: Database
    clock: FakeClock
    sender: FakeSender
    worker: Deliveries

    async def hook(self, name: str, **changes: Any) -> str:
        spec = WebhookSpec(name, url(name), EVENTS, **changes)
        row, secret, _ = await self.database.write(webhooks.create, BOX, spec, PUBLIC_ONLY)
        self.secret = secret
        return str(row.id)

    async def tell(self, event_type: str, *objects: str) -> None:
        def told(tx: Tx) -> None:
            for name in objects:
                announce(tx, event_type, f"{name}:{tx.now}", None, {"video_id": name})

        await self.database.write(told)

    async def work(self, seconds: float = 0.0) -> None:
        """Do what is due until that much time has passed."""
        end = self.clock.now() + seconds
        while True:
            sink = jobs_of(self.database)
            due = [job for job in sink.jobs if job.run_at <= self.clock.now()]
            sink.jobs = [job for job in sink.jobs if job.run_at > self.clock.now()]
            for job in sorted(due, key=lambda job: job.run_at):
                await self.worker.deliver(job)
            if due:
                continue
            later = [job.run_at for job in sink.jobs if job.run_at <= end]
            if not later:
                self.clock.advance(end - self.clock.now())
                return
            self.clock.advance(min(later) - self.clock.now())

    async def statuses(self, webhook_id: str) -> list[str]:
        chosen = sa.select(deliveries.c.status).where(deliveries.c.webhook_id == webhook_id)
        ordered = chosen.order_by(deliveries.c.place, deliveries.c.id)
        return list(await self.database.read(lambda tx: tx.execute(ordered).scalars().all()))

    async def webhook(self, webhook_id: str) -> Webhook:
        return await self.database.read(webhooks.get, webhook_id)

    async def change(self, webhook_id: str, **values: Any) -> None:
        await self.database.write(webhooks.change, webhook_id, values, PUBLIC_ONLY)

    async def is_sound(self) -> bool:
        now = {"now": self.clock.now()}
        return await self.database.read(
            lambda tx: not any(tx.execute(each.broken, now).first() for each in INVARIANTS)
        )


@pytest.fixture
def sender() -> FakeSender:
    return FakeSender()


@pytest.fixture
def office(database: Database, clock: FakeClock, telemetry: Telemetry, sender: FakeSender) -> Office:
    policy = DeliveryPolicy(DELAYS, 20)
    return Office(
        database, clock, sender, Deliveries(database, clock, telemetry, sender, BOX, policy, lambda: 0.5)
    )


async def test_a_delivery_is_signed_over_the_very_bytes_that_are_sent(office: Office) -> None:
    webhook_id = await office.hook("a", metadata={"ü": [1]})
    await office.tell("media.created", "vid_1")
    await office.work()
    [post] = office.sender.posts
    assert is_signed(office.secret, post.body, post.headers["X-Webhook-Signature"])
    event = json.loads(post.body)
    assert canonical_json(event) == post.body
    assert set(event) == {"id", "event", "data", "api_version", "created_at", "metadata"}
    delivery_id = post.headers["X-Delivery-ID"]
    assert {name: value for name, value in post.headers.items() if "signature" not in name.lower()} == {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(office.clock.now())),
        "Content-Type": "application/json",
        "X-Webhook-ID": webhook_id,
        "X-Event-Type": "media.created",
        "X-Delivery-ID": delivery_id,
        "X-Delivery-Attempt-Id": f"{delivery_id}-1",
        "Idempotency-Key": delivery_id,
    }


async def test_each_attempt_has_the_signature_that_standard_webhooks_computes(office: Office) -> None:
    await office.hook("a")
    office.sender.answers = lambda _: BROKEN if len(office.sender.posts) == 1 else OK
    await office.tell("media.created", "vid_1")
    await office.work()
    await office.work(60)
    first, second = office.sender.posts
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 30
    for post in (first, second):
        sent_at = datetime.fromtimestamp(int(post.headers["webhook-timestamp"]), UTC)
        wanted = Verifier(office.secret).sign(post.headers["webhook-id"], sent_at, post.body.decode())
        assert post.headers["webhook-signature"] == wanted


async def test_a_try_keeps_its_delivery_id_and_signs_with_the_newest_secret(office: Office) -> None:
    webhook_id = await office.hook("a")
    office.sender.answers = lambda _: BROKEN if len(office.sender.posts) == 1 else OK
    await office.tell("media.created", "vid_1")
    await office.work()
    secret = await office.database.write(webhooks.rotate_secret, BOX, webhook_id)
    await office.work(60)
    first, second = office.sender.posts
    assert first.headers["X-Delivery-ID"] == second.headers["X-Delivery-ID"]
    assert first.headers["X-Delivery-Attempt-Id"] != second.headers["X-Delivery-Attempt-Id"]
    assert first.body == second.body
    assert not is_signed(secret, first.body, first.headers["X-Webhook-Signature"])
    assert is_signed(secret, second.body, second.headers["X-Webhook-Signature"])


async def test_each_attempt_is_logged(office: Office) -> None:
    await office.hook("a")
    office.sender.answers = lambda _: SILENT if len(office.sender.posts) == 1 else OK
    await office.tell("media.created", "vid_1")
    await office.work(60)
    rows = await office.database.read(
        lambda tx: tx.all(sa.select(delivery_attempts).order_by(delivery_attempts.c.number))
    )
    assert [
        (row.number, row.response_status_code, row.error_message, row.duration_seconds) for row in rows
    ] == [
        (1, None, "no answer within 10 s", 10.0),
        (2, 200, None, 0.1),
    ]


async def test_after_the_last_delay_a_delivery_has_failed(office: Office) -> None:
    webhook_id = await office.hook("a")
    office.sender.answers = lambda _: BROKEN
    await office.tell("media.created", "vid_1")
    await office.work(24 * HOUR)
    assert len(office.sender.posts) == len(DELAYS) + 1
    assert await office.statuses(webhook_id) == ["failed"]


@pytest.mark.parametrize("reply", [Reply(302, "", None, 0.1), Reply(404, "", None, 0.1), SILENT])
async def test_a_redirect_a_refusal_and_silence_are_tried_again(office: Office, reply: Reply) -> None:
    webhook_id = await office.hook("a")
    office.sender.answers = lambda _: reply
    await office.tell("media.created", "vid_1")
    await office.work()
    assert await office.statuses(webhook_id) == ["retrying"]


async def test_what_this_machine_cannot_send_is_no_attempt(office: Office, told: Told) -> None:
    webhook_id = await office.hook("a")
    shortage = MachineShortage("this process has no file descriptor left")
    well_at = office.clock.now() + HOUR / 4
    office.sender.answers = lambda _: (
        OK if office.clock.now() >= well_at else Reply(None, "", shortage.message, 0.0, shortage=shortage)
    )
    await office.tell("media.created", *(f"vid_{number}" for number in range(SHARE)))
    await office.work(60)
    assert await office.is_sound()
    assert set(await office.statuses(webhook_id)) <= {"retrying", "pending"}
    reasons = await office.database.read(lambda tx: tx.all(sa.select(deliveries.c.error_message).distinct()))
    assert shortage.message in {row.error_message for row in reasons}

    await office.work(HOUR)
    assert await office.statuses(webhook_id) == ["delivered"] * SHARE
    rows = await office.database.read(lambda tx: tx.all(sa.select(delivery_attempts)))
    assert {(row.number, row.response_status_code) for row in rows} == {(1, 200)}
    assert office.sender.posts[-1].headers["X-Delivery-Attempt-Id"].endswith("-1")
    hook = await office.webhook(webhook_id)
    assert (hook.status, hook.failure_count, hook.last_failure_at) == ("active", 0, None)
    assert "machine.shortage" in told.names()
    assert "delivery.retried" not in told.names()


async def test_who_is_gone_is_told_nothing_more(office: Office, told: Told) -> None:
    webhook_id = await office.hook("a")
    office.sender.answers = lambda _: Reply(410, "", None, 0.1)
    await office.tell("media.created", "vid_1", "vid_2")
    await office.work(HOUR)
    assert len(office.sender.posts) == 1
    assert (await office.webhook(webhook_id)).status == "disabled"
    assert ("webhook.disabled", {"webhook": webhook_id, "name": "a"}) in told


async def test_an_hour_of_errors_loses_nothing(office: Office) -> None:
    webhook_id = await office.hook("a")
    well_at = office.clock.now() + HOUR
    office.sender.answers = lambda _: OK if office.clock.now() >= well_at else BROKEN
    objects = [f"vid_{number}" for number in range(100)]
    await office.tell("media.created", *objects)
    await office.work(HOUR)
    assert len(office.sender.posts) < 20, "a receiver that fails is asked now and then only"
    assert await office.is_sound()
    await office.work(HOUR)
    assert await office.statuses(webhook_id) == ["delivered"] * 100
    hook = await office.webhook(webhook_id)
    assert (hook.status, hook.failure_count, hook.probe_at) == ("active", 0, None)


async def test_days_of_errors_disable_it_and_what_waits_goes_on_when_it_is_enabled(office: Office) -> None:
    webhook_id = await office.hook("a")
    office.sender.answers = lambda _: BROKEN
    await office.tell("media.created", *(f"vid_{number}" for number in range(30)))
    await office.work(2 * HOUR)
    assert (await office.webhook(webhook_id)).status == "active"
    await office.work(48 * HOUR)
    hook = await office.webhook(webhook_id)
    assert (hook.status, hook.failure_count) == ("disabled", 20)
    assert len(office.sender.posts) == 20
    await office.tell("media.created", "while_it_was_disabled")
    office.sender.answers = lambda _: OK
    await office.change(webhook_id, status="active")
    assert (await office.webhook(webhook_id)).failure_count == 0
    await office.work()
    statuses = await office.statuses(webhook_id)
    assert set(statuses) <= {"delivered", "failed"}
    assert statuses.count("delivered") >= 30 - 20 // len(DELAYS), "few used up their attempts"
    assert "while_it_was_disabled" not in dict.fromkeys(name for _, name in office.sender.to("a"))


async def test_during_a_pause_nothing_is_sent_and_what_happens_is_dropped(office: Office) -> None:
    webhook_id = await office.hook("a")
    await office.tell("media.created", *(f"vid_{number}" for number in range(SHARE + 2)))
    await office.change(webhook_id, status="paused")
    await office.work(HOUR)
    await office.tell("media.created", "in_the_pause")
    await office.work(HOUR)
    assert office.sender.posts == []
    assert await office.statuses(webhook_id) == ["pending"] * (SHARE + 2)
    assert await office.is_sound()
    await office.change(webhook_id, status="active")
    await office.work()
    assert sorted(name for _, name in office.sender.to("a")) == sorted(
        f"vid_{number}" for number in range(SHARE + 2)
    )


async def test_a_dead_receiver_has_few_in_hand_and_holds_up_nobody(office: Office) -> None:
    dead, alive = await office.hook("dead"), await office.hook("alive")
    office.sender.answers = lambda post: SILENT if post.url == url("dead") else OK
    await office.tell("media.created", *(f"vid_{number}" for number in range(300)))
    held = [job for job in jobs_of(office.database).jobs if job.kind is Kind.DELIVERY]
    assert len(held) == 2 * UNTRIED_SHARE
    await office.work()
    assert set(await office.statuses(alive)) == {"delivered"}
    assert len(office.sender.to("dead")) <= UNTRIED_SHARE + PROBED_FROM
    assert (await office.statuses(dead)).count("pending") > 280
    assert await office.is_sound()


async def test_what_fails_together_counts_as_one_failure(office: Office) -> None:
    webhook_id = await office.hook("a")
    await office.tell("media.created", "vid_0")
    await office.work()
    await office.tell("media.created", *(f"vid_{number}" for number in range(1, SHARE + 1)))
    jobs = jobs_of(office.database).take(Kind.DELIVERY)
    assert len(jobs) == SHARE
    works = await office.database.write(begin_all, jobs)
    office.clock.advance(10)
    silence = AttemptResult(None, "", "no answer", 10.0)
    for job in jobs:
        ended = EndedAttempt(job, 1, silence, DeliveryStatus.RETRYING, office.clock.now() + 30)
        await office.database.write(finish_all, [ended], 20, DELAYS)
    hook = await office.webhook(webhook_id)
    assert (len(works), hook.status, hook.failure_count) == (SHARE, "active", 1)


async def test_one_event_that_is_never_taken_holds_up_no_other_object(office: Office) -> None:
    webhook_id = await office.hook("a")
    office.sender.answers = lambda post: BROKEN if post.told[1] == "vid_0" else OK
    for number in range(40):
        await office.tell("media.created", f"vid_{number}")
        await office.work(1)
    assert (await office.statuses(webhook_id)).count("delivered") == 39
    await office.work(24 * HOUR)
    assert (await office.webhook(webhook_id)).status == "active"


async def test_a_later_event_of_an_object_never_overtakes_an_earlier_one(office: Office) -> None:
    webhook_id = await office.hook("a")
    well_at = office.clock.now() + 100
    office.sender.answers = lambda post: (
        BROKEN if post.told == ("media.created", "vid_1") and office.clock.now() < well_at else OK
    )
    for event_type in EVENTS[:3]:
        await office.tell(event_type, "vid_1", "vid_2")
    await office.work(1)
    assert [name for name, about in office.sender.to("a") if about == "vid_2"] == list(EVENTS[:3])
    assert [name for name, about in office.sender.to("a") if about == "vid_1"] == ["media.created"]
    assert await office.is_sound()
    await office.work(HOUR)
    told = [name for name, about in office.sender.to("a") if about == "vid_1"]
    assert told == ["media.created"] * 3 + list(EVENTS[1:3])
    assert set(await office.statuses(webhook_id)) == {"delivered"}


async def test_what_was_given_up_holds_up_the_next_no_longer(office: Office) -> None:
    webhook_id = await office.hook("a")
    office.sender.answers = lambda post: BROKEN if post.told[0] == "media.created" else OK
    await office.tell("media.created", "vid_1")
    await office.tell("media.processing.started", "vid_1")
    await office.work(7 * HOUR)
    assert await office.statuses(webhook_id) == ["retrying", "pending"]
    await office.work(HOUR)
    assert await office.statuses(webhook_id) == ["failed", "delivered"]


async def test_the_order_of_one_webhook_is_nothing_to_another(office: Office) -> None:
    await office.hook("a")
    await office.hook("b")
    office.sender.answers = lambda post: BROKEN if post.url == url("a") else OK
    for event_type in EVENTS[:3]:
        await office.tell(event_type, "vid_1")
    await office.work()
    assert [name for name, _ in office.sender.to("b")] == list(EVENTS[:3])
    assert [name for name, _ in office.sender.to("a")] == ["media.created"]


async def test_what_a_person_tries_again_does_not_wait_for_a_failing_receiver(office: Office) -> None:
    webhook_id = await office.hook("a")
    office.sender.answers = lambda _: BROKEN
    await office.tell("media.created", "vid_1")
    await office.work(24 * HOUR)
    await office.tell("media.created", *(f"vid_{number}" for number in range(2, 9)))
    await office.work()
    hook = await office.webhook(webhook_id)
    assert (hook.probe_at or 0.0) > office.clock.now()
    office.sender.answers = lambda _: OK
    [failed] = await office.database.read(
        lambda tx: tx.all(sa.select(deliveries).where(deliveries.c.status == "failed"))
    )
    await office.database.write(retrying.retry_delivery, failed.id)
    await office.work()
    assert set(await office.statuses(webhook_id)) == {"delivered"}, "and the others go on at once"


async def test_what_was_deleted_is_sent_nothing(office: Office) -> None:
    webhook_id = await office.hook("a")
    await office.tell("media.created", *(f"vid_{number}" for number in range(20)))
    await office.database.write(webhooks.delete, BOX, webhook_id)
    await office.work(HOUR)
    assert office.sender.posts == []
    assert set(await office.statuses(webhook_id)) == {"failed"}
    assert await office.is_sound()


async def test_what_is_tried_again_when_its_webhook_was_made_anew_waits_for_nobody(office: Office) -> None:
    made = BOX, WebhookSpec("a", url("a"), EVENTS), PUBLIC_ONLY, Claim("f" * 64, "")
    webhook, _, _ = await office.database.write(webhooks.create, *made)
    for event_type in EVENTS[:2]:
        await office.tell(event_type, "vid_1")
    await office.database.write(webhooks.delete, BOX, webhook.id)
    await office.database.write(webhooks.create, *made)
    last = sa.select(deliveries.c.id).order_by(deliveries.c.place.desc()).limit(1)
    delivery_id = await office.database.read(lambda tx: tx.execute(last).scalar_one())
    office.sender.answers = lambda _: BROKEN
    await office.database.write(retrying.retry_delivery, delivery_id)
    await office.work()
    office.sender.answers = lambda _: OK
    await office.change(webhook.id, status="active")
    await office.work()
    assert await office.statuses(webhook.id) == ["failed", "delivered"]


async def test_an_attempt_cut_short_by_a_crash_is_made_again(office: Office) -> None:
    webhook_id = await office.hook("a")
    await office.tell("media.created", "vid_1")
    [job] = jobs_of(office.database).jobs
    await office.database.write(begin_all, [job])
    await office.work()
    assert await office.statuses(webhook_id) == ["delivered"]
    assert office.sender.posts[0].headers["X-Delivery-Attempt-Id"].endswith("-2")


async def test_a_stale_job_that_comes_along_neither_gets_nor_ends_what_another_was_put_for(
    office: Office,
) -> None:
    await office.hook("one")
    await office.tell("media.created", "a")
    [job] = jobs_of(office.database).take(Kind.DELIVERY)
    stale = replace(job, revision=job.revision - 1)
    works = await office.database.write(begin_all, [stale, replace(job), job])
    assert [work is not None for work in works] == [False, False, True]
    taken = AttemptResult(200, "ok", None, 0.1)
    ended = [EndedAttempt(each, 1, taken, DeliveryStatus.DELIVERED) for each in (stale, replace(job), job)]
    noted = await office.database.write(finish_all, ended, 20, DELAYS)
    assert noted == [FinishResult.STALE, FinishResult.STALE, FinishResult.KEPT]


async def test_a_test_is_signed_and_counts_for_nothing(office: Office, told: Told) -> None:
    webhook_id = await office.hook("a", metadata={"team": "red"})
    await office.change(webhook_id, status="paused")
    office.sender.answers = lambda _: BROKEN
    hook = await office.webhook(webhook_id)
    reply = await office.worker.test(hook)
    assert reply == BROKEN
    [post] = office.sender.posts
    event = json.loads(post.body)
    assert event.pop("id").startswith("evt_test_")
    assert event == {
        "event": "test",
        "data": {"webhook_id": webhook_id},
        "api_version": "2024-01",
        "created_at": "2026-09-21T14:13:20.000Z",
        "metadata": {"team": "red"},
    }
    assert is_signed(office.secret, post.body, post.headers["X-Webhook-Signature"])
    assert (post.headers["X-Webhook-ID"], post.headers["X-Event-Type"]) == (webhook_id, "test")
    assert "X-Delivery-ID" not in post.headers
    assert await office.webhook(webhook_id) == hook
    assert told == []


async def test_a_secret_that_cannot_be_opened_is_told_and_nothing_is_sent(office: Office) -> None:
    webhook_id = await office.hook("a")
    await office.database.write(lambda tx: tx.update(table, webhook_id, secret=b"spoilt"))
    reply = await office.worker.test(await office.webhook(webhook_id))
    assert reply.status_code is None
    assert "cannot be opened" in str(reply.error)
    assert office.sender.posts == []
