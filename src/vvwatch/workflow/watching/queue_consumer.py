"""From a connector's queue to the ledger: received, matched, committed, and only then acknowledged.

Messages are matched with the automations as they are after the receipt. Unwanted messages may go: an automation that is
created, edited or resumed later begins with a listing, which finds the object. A message is acknowledged only when all
that it reports is committed; until then it comes again, and the ledger knows the repetition. While one batch is
committed, the next one is received, and no more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectSendStream

from vvwatch.core.changes import Order
from vvwatch.core.retries import backoff_seconds
from vvwatch.errors import CredentialsRefused, StorageError, VvwatchError
from vvwatch.ports import Clock, EventQueue, Hint, Message, SourceHealth
from vvwatch.store.catalog import subscribers
from vvwatch.store.db.database import Database
from vvwatch.store.watching import quarantine
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.watching.matching import MatchedBatch, match_messages

_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_LONGEST_IDLE_SECONDS: Final = 10.0
"""The longest pause between fruitless batches: released messages come back at once."""
_QUIET_RECEIPTS: Final = 5
"""After so many empty receipts in a row others took the released messages: they would have come again."""
_CLOSING_SECONDS: Final = 5.0

_RECEIVING: Final = "receiving"
_TAKING: Final = "taking"
_ACKNOWLEDGING: Final = "acknowledging"

Batches = MemoryObjectSendStream[Sequence[Message]]


class QueueConsumer:
    """Consumes the queue of a connector. `open_queue` opens it, and may block; `sample` varies pauses.

    `notice` follows a hint for an automation and returns whether all of it is committed. `exclusive`: nobody else
    reads the queue, so messages that no automation takes are deleted too, once they are in the quarantine.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        notice: Callable[[str, Hint], Awaitable[bool]],
        sample: Callable[[], float],
        connector_id: str,
        open_queue: Callable[[], EventQueue],
        *,
        exclusive: bool,
    ) -> None:
        self.health = SourceHealth("starting", since=clock.now())
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._notice = notice
        self._sample = sample
        self._connector_id = connector_id
        self._open_queue = open_queue
        self._exclusive = exclusive
        self._order = Order()
        self._troubles: dict[str, VvwatchError] = {}
        self._in_hand: dict[str, Message] = {}

    async def run(self) -> None:
        """Consume until cancelled; survives its own failures and says so in `health`."""
        failures = 0
        while True:
            try:
                await self._consume(await anyio.to_thread.run_sync(self._open_queue))
            except VvwatchError as error:
                self._note_trouble(_RECEIVING, error)
            except Exception as error:  # noqa: BLE001  # one queue must not end a daemon that works
                self._note_trouble(
                    _RECEIVING, VvwatchError("consuming broke off", "the log has the error: task.failed")
                )
                self._telemetry.emit("task.failed", task="queue", error=error)
            await self._pause(failures, _LONGEST_PAUSE_SECONDS)
            failures += 1

    async def _consume(self, queue: EventQueue) -> None:
        batches, received = anyio.create_memory_object_stream[Sequence[Message]](0)
        try:
            async with batches, received, anyio.create_task_group() as tasks:
                tasks.start_soon(self._receive, queue, batches)
                fruitless = 0
                async for messages in received:
                    if await self._forward(queue, messages):
                        fruitless = 0
                    else:
                        await self._pause(fruitless, _LONGEST_IDLE_SECONDS)
                        fruitless += 1
        finally:
            await self._close(queue)

    async def _receive(self, queue: EventQueue, batches: Batches) -> None:
        failures = quiet = 0
        while True:
            try:
                messages = await queue.receive()
            except StorageError as error:
                self._note_trouble(_RECEIVING, error)
                await self._pause(failures, _LONGEST_PAUSE_SECONDS)
                failures += 1
                continue
            failures = 0
            self._clear_trouble(_RECEIVING)
            quiet = 0 if messages else quiet + 1
            if quiet >= _QUIET_RECEIPTS:
                self._clear_trouble(_TAKING, _ACKNOWLEDGING)
            if messages:
                self._in_hand |= {message.receipt: message for message in messages}
                await batches.send(messages)

    async def _forward(self, queue: EventQueue, messages: Sequence[Message]) -> bool:
        """Commit the messages and acknowledge or release each; return whether all went well and any is done."""
        started = self._clock.monotonic()
        try:
            batch, done = await self._commit(messages)
        except VvwatchError as error:
            self._note_trouble(_TAKING, error)
            batch, done = MatchedBatch(), []
        await self._acknowledge(queue, done)
        left = [message for message in messages if message.receipt in self._in_hand]
        await self._release(queue, left)
        self._telemetry.emit(
            "queue.batch_taken",
            connector=self._connector_id,
            messages=len(messages),
            acknowledged=len(messages) - len(left),
            quarantined=len(batch.refused),
            lag_seconds=self._lag_seconds(done),
            duration_seconds=round(self._clock.monotonic() - started, 3),
        )
        return not self._troubles and len(left) < len(messages)

    async def _commit(self, messages: Sequence[Message]) -> tuple[MatchedBatch, list[Message]]:
        """Commit the messages; return how they matched, and those that need not come again."""
        places = await self._database.read(subscribers.list_watched_prefixes, self._connector_id)
        batch = match_messages(messages, places, self._order)
        await self._quarantine(batch)
        behind = {name for name, hint in batch.hints.items() if not await self._notice(name, hint)}
        if behind:
            what = f"events of the queue could not be recorded for {', '.join(sorted(behind))}"
            self._note_trouble(
                _TAKING, _NotCommitted(what, "the log says why: hint.failed; it is tried again automatically")
            )
        else:
            self._clear_trouble(_TAKING)
        done = [message for message, wanting in batch.wanted if not wanting & behind]
        return batch, done + ([message for message, _ in batch.refused] if self._exclusive else [])

    async def _quarantine(self, batch: MatchedBatch) -> None:
        if not batch.refused:
            return
        refused = [each for _, each in batch.refused]
        new = await self._database.write(
            quarantine.keep_messages, self._connector_id, refused, deleted=self._exclusive
        )
        if new:
            first = refused[0]
            self._telemetry.emit(
                "queue.quarantined",
                connector=self._connector_id,
                messages=new,
                reason=first.reason,
                detail=first.detail,
            )

    async def _acknowledge(self, queue: EventQueue, done: Sequence[Message]) -> None:
        """Delete them from the queue; if that fails they come again, and the ledger knows them."""
        if not done:
            return
        try:
            await queue.acknowledge(done)
        except StorageError as error:
            self._note_trouble(_ACKNOWLEDGING, error)
        else:
            self._clear_trouble(_ACKNOWLEDGING)
            self._let_go(done)

    async def _release(self, queue: EventQueue, left: Sequence[Message]) -> None:
        if left:
            with suppress(StorageError):  # they come again all the same, a little later
                await queue.release(left)
            self._let_go(left)

    def _let_go(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._in_hand.pop(message.receipt, None)

    async def _close(self, queue: EventQueue) -> None:
        """Release the messages in hand, also when cancelled; those that take too long come again later."""
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
            await self._release(queue, list(self._in_hand.values()))
        self._in_hand.clear()
        with anyio.move_on_after(_CLOSING_SECONDS, shield=True), suppress(StorageError):
            await queue.aclose()

    async def _pause(self, failures: int, longest_seconds: float) -> None:
        sample = self._sample()
        await self._clock.sleep(
            backoff_seconds(failures, base_seconds=_PAUSE_SECONDS, cap_seconds=longest_seconds, sample=sample)
        )

    def _lag_seconds(self, done: Sequence[Message]) -> float | None:
        """Return the age of the oldest by our clock; None if none has a time."""
        sent = [message.sent_at for message in done if message.sent_at is not None]
        return max(self._clock.now() - min(sent), 0.0) if sent else None

    def _note_trouble(self, step: str, error: VvwatchError) -> None:
        self._troubles[step] = error
        self._update_health()

    def _clear_trouble(self, *steps: str) -> None:
        for step in steps:
            self._troubles.pop(step, None)
        self._update_health()

    def _update_health(self) -> None:
        """Update the health: healthy without trouble, failed if only a person can help, else degraded."""
        state, reason, hint = "healthy", "", ""
        for error in sorted(self._troubles.values(), key=_is_temporary)[:1]:
            state = "degraded" if _is_temporary(error) else "failed"
            reason, hint = error.message, error.hint
        since = self.health.since if state == self.health.state else self._clock.now()
        self.health = SourceHealth(state, reason, hint, since)


def _is_temporary(error: VvwatchError) -> bool:
    """Return whether the trouble may end without a person."""
    return error.transient and not isinstance(error, CredentialsRefused)


class _NotCommitted(VvwatchError):
    """A message is not committed yet."""

    transient = True
