"""Alerts are stored before they are sent, sent again until accepted, and forgotten with their receiver."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.clock import FakeClock
from tests.workflow.conftest import Told
from vvwatch.core.alerts import AlertPolicy, Message, Problem
from vvwatch.ports import Reply
from vvwatch.store.admin import alerts as queries
from vvwatch.store.admin.alerts import LEASE_SECONDS, Sighting
from vvwatch.store.db.database import Database
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.alerting import DELAYS, Alerts, Receiver

pytestmark = pytest.mark.anyio

LOST = Problem("node:two", "node", "two sent no heartbeat")
FAILED = Problem("import_job:x", "import_job", "clip.mp4: is damaged")
POLICY = AlertPolicy(after=0, every=300)


class Phone:
    """Accepts, or answers with `replies`, the last one for ever."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies) or [Reply(200, "", None, 0.1)]
        self.heard: list[tuple[str, Message]] = []

    async def __call__(self, message: Message, alert_id: str) -> Reply:
        self.heard.append((alert_id, message))
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def alerting(database: Database, telemetry: Telemetry, **receivers: Receiver) -> Alerts:
    return Alerts(database, FakeClock(), telemetry, receivers, lambda: 0.5)


async def look(alerts: Alerts, *problems: Problem, node: Sequence[Problem] = ()) -> None:
    async def find() -> Sequence[Sighting]:
        return [Sighting("", problems), Sighting("one", node)]

    await alerts.run(find)


def advance(database: Database, seconds: float) -> None:
    database.clock.advance(seconds)  # type: ignore[attr-defined]


async def test_shared_and_own_problems_come_in_one_message_and_end(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    phone = Phone()
    alerts = alerting(database, telemetry, oncall=Receiver(phone, POLICY))
    await look(alerts, FAILED, node=[LOST])
    await look(alerts, FAILED, node=[LOST])
    advance(database, 301)
    await look(alerts)
    assert [message.title for _, message in phone.heard] == [
        "vvwatch: 2 new problems",
        "vvwatch: 2 recovered",
    ]
    assert told.names().count("alert.sent") == 2


async def test_a_receiver_hears_only_of_its_kinds(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    some, everything = Phone(), Phone()
    alerts = alerting(
        database,
        telemetry,
        some=Receiver(some, POLICY, frozenset({"node"})),
        everything=Receiver(everything, POLICY),
    )
    await look(alerts, FAILED)
    assert (len(some.heard), len(everything.heard)) == (0, 1)


async def test_what_is_not_accepted_is_sent_again_with_its_id_until_it_is_given_up(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    phone = Phone(Reply(500, "", None, 0.1))
    alerts = alerting(database, telemetry, oncall=Receiver(phone, POLICY))
    await look(alerts, FAILED)
    for delay in DELAYS:
        await look(alerts, FAILED)
        advance(database, delay * 1.3)
        await look(alerts, FAILED)
    advance(database, 3600.0)
    await look(alerts, FAILED)
    first = [alert_id for alert_id, _ in phone.heard][: len(DELAYS) + 1]
    assert len(set(first)) == 1
    assert told.names().count("alert.failed") == 1
    newest = (await database.read(queries.list_newest, ["oncall"]))["oncall"]
    assert newest.error == "the receiver answered 500"


async def test_a_message_whose_sender_died_is_sent_again_and_no_second_one_is_made(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    phone = Phone()
    alerts = alerting(database, telemetry, oncall=Receiver(phone, POLICY))
    await database.write(queries.record, "oncall", [Sighting("", [FAILED])], POLICY)
    [taken] = await database.write(queries.begin, ["oncall"])  # and now it dies
    await look(alerts, FAILED)
    assert phone.heard == []
    advance(database, LEASE_SECONDS + 1)
    await look(alerts, FAILED)
    await look(alerts, FAILED)
    assert [alert_id for alert_id, _ in phone.heard] == [taken.id]


async def test_a_receiver_that_is_gone_is_forgotten(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    alerts = alerting(database, telemetry, oncall=Receiver(Phone(Reply(500, "", None, 0.1)), POLICY))
    await look(alerts, FAILED)
    alerts.receivers = {}
    await look(alerts, FAILED)
    assert not await database.read(queries.has_any)


async def test_nodes_with_other_receivers_forget_none_of_each_others(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    """Each node knew its own alone, and deleted what the others had told theirs, so that all was told again."""
    ours, theirs = Phone(Reply(500, "", None, 0.1), Reply(200, "", None, 0.1)), Phone()
    clock = FakeClock()
    here, there = (
        Alerts(database, clock, telemetry, {name: Receiver(phone, POLICY)}, lambda: 0.5, is_shared=True)
        for name, phone in (("ours", ours), ("theirs", theirs))
    )
    for _ in range(4):
        await look(here, FAILED)
        await look(there, FAILED)
        advance(database, 301)
    assert [message.title for _, message in theirs.heard] == ["vvwatch: 1 new problem"]
    assert [alert_id for alert_id, _ in ours.heard] == [ours.heard[0][0]] * 2, "the same one, sent again"
    advance(database, 40 * 86_400.0)
    await look(there)
    known = await database.read(queries.list_newest, ["ours", "theirs"])
    assert list(known) == ["theirs"], "a month later ours is one that was removed"


async def test_receivers_of_one_name_that_lead_elsewhere_hear_of_everything(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    phones = Phone(), Phone()
    for number, phone in enumerate((*phones, *phones)):
        receiver = Receiver(phone, POLICY, digest=f"{number % 2}")
        alerts = Alerts(database, FakeClock(), telemetry, {"oncall": receiver}, lambda: 0.5, is_shared=True)
        await look(alerts, FAILED)
        assert list(await alerts.list_newest()) == ["oncall"]
    assert [len(phone.heard) for phone in phones] == [1, 1]
    assert {fields["receiver"] for name, fields in told if name == "alert.sent"} == {"oncall"}


async def test_the_examination_says_whether_a_receiver_can_be_reached_and_what_became_of_the_last_alert(
    database: Database, telemetry: Telemetry, told: Told
) -> None:
    errors: list[str | None] = [None, "the host name does not resolve", None]

    async def reach() -> str | None:
        return errors.pop(0)

    phone = Phone(Reply(404, "", None, 0.1))
    alerts = alerting(database, telemetry, oncall=Receiver(phone, POLICY, reach=reach))
    [fine] = await alerts.examine("oncall")
    assert (fine.subject, fine.state) == ("access", "ok")
    await look(alerts, FAILED)
    [away] = await alerts.examine("oncall")
    assert (away.state, away.fix) == ("problem", "vvwatch alerts test oncall")
    assert away.detail == "cannot be reached: the host name does not resolve"
    [refused] = await alerts.examine("oncall")
    assert (refused.subject, refused.state) == ("last alert", "problem")
    assert refused.detail == "vvwatch: 1 new problem: the receiver answered 404"
    assert [message.title for _, message in phone.heard] == ["vvwatch: 1 new problem"], "nobody hears of it"


async def test_a_test_message_is_not_stored(database: Database, telemetry: Telemetry, told: Told) -> None:
    phone = Phone()
    alerts = alerting(database, telemetry, oncall=Receiver(phone, POLICY))
    assert (await alerts.test("oncall")).status_code == 200
    assert [message.title for _, message in phone.heard] == ["vvwatch: this is a test alert"]
    assert not await database.read(queries.has_any)
