"""Alerts people of what needs attention: messages are stored first, then sent until they are accepted or given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from vvwatch.core.alerts import AlertPolicy, Message
from vvwatch.core.retries import delivery_delay
from vvwatch.ports import Clock, Reply
from vvwatch.store.admin import alerts
from vvwatch.store.admin.alerts import Sighting
from vvwatch.store.db.database import Database
from vvwatch.store.models.admin import AlertMessage
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.writes import write_until_committed

DELAYS: Final = (30.0, 120.0, 600.0, 3600.0, 21_600.0)
"""The pauses before a message is sent again; after the last it is given up."""

Send = Callable[[Message, str], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is alerted: what it hears of, and how to reach it with a message and its id."""

    send: Send
    policy: AlertPolicy
    kinds: frozenset[str] = field(default_factory=frozenset)

    def select(self, sighting: Sighting) -> Sighting:
        """Return the problems of its kinds; all, if it names none."""
        if not self.kinds:
            return sighting
        return replace(sighting, problems=[each for each in sighting.problems if each.kind in self.kinds])


class Alerts:
    """Looks for problems and alerts the receivers, which a reload may replace."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        receivers: Mapping[str, Receiver],
        sample: Callable[[], float],
    ) -> None:
        self.receivers = receivers
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._sample = sample

    async def run(self, find: Callable[[], Awaitable[Sequence[Sighting]]]) -> None:
        """Look once, and send what is due. Raises StoreUnavailable: without a database nobody is alerted."""
        receivers = self.receivers
        found = await find() if receivers else ()
        for name, receiver in receivers.items():
            mine = [receiver.select(each) for each in found]
            await self._database.write(alerts.record, name, mine, receiver.policy)
        knows_some = await self._database.read(alerts.has_any)
        if knows_some:
            await self._database.write(alerts.forget_others, tuple(receivers))
        await self._send_due()

    async def _send_due(self) -> None:
        while await self._database.read(alerts.has_due):
            for message in await self._database.write(alerts.begin):
                await self._send(message)

    async def _send(self, stored: AlertMessage) -> None:
        receiver = self.receivers.get(stored.receiver)
        if receiver is None:  # another node has it, or a reload took it: the lease ends, or it is forgotten
            return
        reply = await receiver.send(Message.of(stored.body), stored.id)
        error = describe_refusal(reply)
        wait = None if error is None else delivery_delay(stored.attempts, self._sample(), None, DELAYS)
        outcome = await write_until_committed(self._database, self._clock, alerts.finish, stored, error, wait)
        self._telemetry.emit(
            f"alert.{outcome}",
            alert=stored.id,
            receiver=stored.receiver,
            attempt=stored.attempts,
            error=reply.error or error or "",
        )

    async def test(self, name: str) -> Reply:
        """Send a test message to the receiver now; it is not stored. Raises KeyError for an unknown one."""
        return await self.receivers[name].send(Message(), f"alr_test_{int(self._clock.now())}")


def describe_refusal(reply: Reply) -> str | None:
    """Return why the receiver did not accept the message; None if it did."""
    if reply.status_code is not None and 200 <= reply.status_code < 300:
        return None
    return reply.error or f"the receiver answered {reply.status_code}"
