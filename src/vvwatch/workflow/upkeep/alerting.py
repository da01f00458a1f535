"""Alerts people of what needs attention: messages are stored first, then sent until they are accepted or given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from vvwatch.core.alerts import AlertPolicy, Message
from vvwatch.core.retries import delivery_delay
from vvwatch.ports import Clock, Finding, Reply
from vvwatch.store.admin import alerts
from vvwatch.store.admin.alerts import Sighting
from vvwatch.store.db.database import Database
from vvwatch.store.models.admin import AlertMessage
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.writes import write_until_committed

DELAYS: Final = (30.0, 120.0, 600.0, 3600.0, 21_600.0)
"""The pauses before a message is sent again; after the last it is given up."""

Send = Callable[[Message, str], Awaitable[Reply]]
Reach = Callable[[], Awaitable[str | None]]
"""Returns why a receiver cannot be reached; None if it can. Nobody hears of it."""


async def _assume_reachable() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is alerted: what it hears of, and how to reach it with a message and its id.

    `digest` tells receivers of the same name apart that nodes lead elsewhere: each of them hears of everything.
    """

    send: Send
    policy: AlertPolicy
    kinds: frozenset[str] = field(default_factory=frozenset)
    digest: str = ""
    reach: Reach = _assume_reachable

    def key_of(self, name: str) -> str:
        """Return what the database calls this receiver."""
        return f"{name}#{self.digest}" if self.digest else name

    def select(self, sighting: Sighting) -> Sighting:
        """Return the problems of its kinds; all, if it names none."""
        if not self.kinds:
            return sighting
        return replace(sighting, problems=[each for each in sighting.problems if each.kind in self.kinds])


class Alerts:
    """Looks for problems and alerts the receivers, which a reload may replace.

    `is_shared`: other nodes use the same database, and may have other receivers.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        receivers: Mapping[str, Receiver],
        sample: Callable[[], float],
        *,
        is_shared: bool = False,
    ) -> None:
        self.receivers = receivers
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._sample = sample
        self._is_shared = is_shared

    @property
    def keys(self) -> dict[str, str]:
        """What the database calls each receiver, by name."""
        return {name: receiver.key_of(name) for name, receiver in self.receivers.items()}

    async def run(self, find: Callable[[], Awaitable[Sequence[Sighting]]]) -> None:
        """Look once, and send what is due. Raises StoreUnavailable: without a database nobody is alerted."""
        receivers = self.receivers
        found = await find() if receivers else ()
        for name, receiver in receivers.items():
            mine = [receiver.select(each) for each in found]
            await self._database.write(alerts.record, receiver.key_of(name), mine, receiver.policy)
        knows_some = await self._database.read(alerts.has_any)
        if knows_some:
            keys = tuple(each.key_of(name) for name, each in receivers.items())
            await self._database.write(alerts.forget_others, keys, shared=self._is_shared)
        await self._send_due()

    async def _send_due(self) -> None:
        names = {key: name for name, key in self.keys.items()}
        while await self._database.read(alerts.has_due, tuple(names)):
            for message in await self._database.write(alerts.begin, tuple(names)):
                await self._send(message, names[message.receiver])

    async def _send(self, stored: AlertMessage, name: str) -> None:
        receiver = self.receivers.get(name)
        if receiver is None:  # a reload took it: it is forgotten
            return
        reply = await receiver.send(Message.of(stored.body), stored.id)
        error = describe_refusal(reply)
        wait = None if error is None else delivery_delay(stored.attempts, self._sample(), None, DELAYS)
        outcome = await write_until_committed(self._database, self._clock, alerts.finish, stored, error, wait)
        self._telemetry.emit(
            f"alert.{outcome}",
            alert=stored.id,
            receiver=name,
            attempt=stored.attempts,
            error=reply.error or error or "",
        )

    async def test(self, name: str) -> Reply:
        """Send a test message to the receiver now; it is not stored. Raises KeyError for an unknown one."""
        return await self.receivers[name].send(Message(), f"alr_test_{int(self._clock.now())}")

    async def list_newest(self) -> dict[str, AlertMessage]:
        """Return the newest message to each receiver that got one, by name."""
        keys = self.keys
        found = await self._database.read(alerts.list_newest, list(keys.values()))
        return {name: found[key] for name, key in keys.items() if key in found}

    async def examine(self, name: str) -> Sequence[Finding]:
        """Return whether the receiver can be reached, and what became of the newest message to it."""
        error = await self.receivers[name].reach()
        last = (await self.list_newest()).get(name)
        try_it = f"vvwatch alerts test {name}"
        if error is not None:
            return [Finding("access", "problem", f"cannot be reached: {error}", try_it)]
        if last is None or last.error is None:
            return [Finding("access", "ok", "can be reached")]
        state = "warning" if last.status == "sent" else "problem"  # sent to some
        return [Finding("last alert", state, f"{Message.of(last.body).title}: {last.error}", try_it)]


def describe_refusal(reply: Reply) -> str | None:
    """Return why the receiver did not accept the message; None if it did."""
    if reply.status_code is not None and 200 <= reply.status_code < 300:
        return None
    return reply.error or f"the receiver answered {reply.status_code}"
