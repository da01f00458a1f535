"""The journal of one item: what survives a crash while a processor works on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vvwatch.core.budgets import NO_BUDGETS, Budgets
from vvwatch.core.media import Plan, Segment
from vvwatch.core.money import CallStatus, Usage
from vvwatch.errors import Superseded, VvwatchError
from vvwatch.ports.processing import Call, CallIntent, Journal
from vvwatch.store.db.database import Database
from vvwatch.store.runs import journal, llm_calls
from vvwatch.store.runs.journal import Owner
from vvwatch.store.runs.llm_calls import CallEnd, CallStart, StartResult
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.writes import Batcher, write_until_committed


class CallLedger:
    """Shared by the journals of all items: calls that begin or end at the same time share a transaction."""

    def __init__(self, database: Database, telemetry: Telemetry, budgets: Budgets = NO_BUDGETS) -> None:
        self.database = database
        self._telemetry = telemetry
        self._budgets = budgets
        self._turn = Batcher(self._process_batch)

    async def _process_batch(self, wanted: Sequence[CallStart | CallEnd]) -> Sequence[StartResult | None]:
        return await write_until_committed(
            self.database, self.database.clock, llm_calls.process_batch, wanted, self._budgets
        )

    async def begin(self, asked: CallStart) -> Call:
        """Store that a call is about to be made. Raises the error that forbids it."""
        begun = await self._turn(asked)
        if isinstance(begun, Call):
            return begun
        raise begun or Superseded("the call was not stored")

    async def end(self, ended: CallEnd) -> None:
        """Store how a call ended, and its segment. Raises Superseded."""
        refused = await self._turn(ended)
        if isinstance(refused, VvwatchError):
            raise refused
        if ended.call is not None:
            self._report_call(ended)

    def _report_call(self, ended: CallEnd) -> None:
        usage = ended.usage
        self._telemetry.emit(
            "processor.called",
            processor=ended.owner.processor,
            run=ended.owner.run_id,
            model=ended.model or "",
            status=ended.status.value,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=usage.cost_usd or 0.0,
        )


class ItemJournal:
    """Implements `Journal` on the database, fenced by the item's job. It waits while the database is unreachable."""

    def __init__(self, ledger: CallLedger, owner: Owner) -> None:
        self._ledger = ledger
        self._owner = owner
        self._database = ledger.database
        self._clock = ledger.database.clock

    async def plan(self) -> Plan | None:
        """Return the stored plan."""
        return await self._database.read(journal.read_plan, self._owner)

    async def keep_plan(self, plan: Plan) -> None:
        """Store the item's plan."""
        await write_until_committed(self._database, self._clock, journal.store_plan, self._owner, plan)

    async def segments(self) -> Mapping[int, Segment]:
        """Return the segments that have a result, by ordinal."""
        return await self._database.read(journal.read_segments, self._owner)

    async def keep_segment(self, ordinal: int, segment: Segment) -> None:
        """Store the result of one segment."""
        await self._ledger.end(CallEnd(self._owner, segment=(ordinal, segment)))

    async def begin_call(self, intent: CallIntent) -> Call:
        """Store that a call is about to be made."""
        intent = replace(intent, estimate=intent.estimate.clamp())
        return await self._ledger.begin(CallStart(self._owner, intent))

    async def end_call(
        self,
        call: Call,
        status: CallStatus,
        usage: Usage,
        *,
        answer: str | None = None,
        error: str | None = None,
        model: str | None = None,
        segment: tuple[int, Segment] | None = None,
    ) -> None:
        """Store how a call ended."""
        await self._ledger.end(
            CallEnd(
                self._owner,
                call,
                status,
                usage.clamp(),
                answer=answer,
                error=error,
                model=model,
                segment=segment,
            )
        )

    async def note(self, state: Mapping[str, Any]) -> None:
        """Store the processor's own small JSON object."""
        await write_until_committed(self._database, self._clock, journal.store_note, self._owner, state)

    async def noted(self) -> Mapping[str, Any]:
        """Return the last stored note."""
        return await self._database.read(journal.read_note, self._owner)


_: type[Journal] = ItemJournal
