"""The ledger of paid calls. A call is stored with its estimated cost before it is made, and settled when it ends.

The key of a call follows from its question, so the same question has the same key after a crash. Answers are kept
until the item ends. Calls that begin or end at the same time share a transaction, which locks items before spending.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core import budgets
from vvwatch.core.budgets import Budgets
from vvwatch.core.media import Segment
from vvwatch.core.money import CallStatus, Usage
from vvwatch.core.runs import TERMINAL, Results
from vvwatch.errors import RunStopped, VvwatchError
from vvwatch.ports.processing import Call, CallIntent
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.typed import columns, models_of
from vvwatch.store.runs import journal, processor_states, spending
from vvwatch.store.runs.journal import Holders, Owner
from vvwatch.store.runs.spending import Change
from vvwatch.store.schema import llm_calls, prompt_runs

_LOST: Final = "it ended without a stored answer; its estimated cost is counted"


@dataclass(frozen=True)
class CallStart:
    """A call about to be made: its owner and its intent."""

    owner: Owner
    intent: CallIntent

    @cached_property
    def step_key(self) -> str:
        """The key of the question, the same for all variants of the request."""
        owner, intent = self.owner, self.intent
        named = owner.run_id, owner.media_id, owner.generation, str(intent.ordinal), intent.purpose
        return _hash(*named, str(intent.step))

    @cached_property
    def key(self) -> str:
        """The idempotency key."""
        return f"vw-{_hash(self.step_key, self.intent.variant)}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:48]


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended, with the segment it completed; or a segment without a call."""

    owner: Owner
    call: Call | None = None
    status: CallStatus = CallStatus.COMPLETED
    usage: Usage = field(default_factory=Usage)
    answer: str | None = None
    error: str | None = None
    model: str | None = None
    segment: tuple[int, Segment] | None = None

    @property
    def is_paid(self) -> bool:
        """Whether the call got an answer."""
        return self.call is not None and self.status is CallStatus.COMPLETED


StartResult = Call | VvwatchError
"""A call that may be made, or the reason it may not."""


@by_locks
def process_batch(tx: Tx, wanted: Sequence[CallStart | CallEnd], limits: Budgets) -> list[StartResult | None]:
    """End calls, then start calls, in one transaction; return one result for each of `wanted`.

    A start gets its call or an error: Superseded, RunStopped, ProcessorPaused, BudgetReached. An end gets None or
    Superseded.
    """
    held = journal.find_holders(tx, [each.owner for each in wanted])
    ends = [each for each in wanted if isinstance(each, CallEnd)]
    begins = [each for each in wanted if isinstance(each, CallStart)]
    if ends:
        _end_all(tx, ends, held)
    begun = iter(_start_all(tx, begins, held, limits) if begins else ())
    return [next(begun) if isinstance(each, CallStart) else _end_error(each, held) for each in wanted]


def _end_error(ended: CallEnd, held: Holders) -> VvwatchError | None:
    return None if ended.owner in held.owners else journal.superseded_error(ended.owner)


def _start_all(tx: Tx, asked: Sequence[CallStart], held: Holders, limits: Budgets) -> list[StartResult]:
    opening = _StartBatch(tx, asked, held, limits)
    begun = [opening.begun(each) for each in asked]
    opening.store()
    return begun


class _StartBatch:
    """The view of one transaction on the calls that want to start, and the rows it will write."""

    def __init__(self, tx: Tx, asked: Sequence[CallStart], held: Holders, limits: Budgets) -> None:
        self._tx = tx
        self._held = held.owners
        self._limits = limits
        owners = [each.owner for each in asked]
        self._runs = {
            row.id: row for row in tx.execute(_select_runs, {"ids": sorted({o.run_id for o in owners})})
        }
        self._paused = processor_states.find_pauses(tx, {owner.processor for owner in owners})
        self._known = _read_known(tx, {each.step_key for each in asked})
        places = {scope for owner in owners for scope in budgets.list_scopes(owner.payer, tx.now)}
        self._spent = spending.lock_spent(tx, places)
        self._changes: dict[str, Change] = {}
        self._new: list[dict[str, Any]] = []
        self._again: list[dict[str, Any]] = []

    def begun(self, asked: CallStart) -> StartResult:
        """Return the call, or the reason it may not be made."""
        owner, known = asked.owner, self._known.setdefault(asked.step_key, {})
        if owner not in self._held:
            return journal.superseded_error(owner)
        for key, before in known.items():
            if before["answer"] is not None:
                return Call(before["id"], key, before["answer"])
        stopped = self._find_stop(owner)
        if stopped is not None:
            return stopped
        if owner.processor in self._paused:
            return self._paused[owner.processor]
        row = known.get(asked.key)
        if row is not None and row["status"] == CallStatus.STARTED:
            return Call(row["id"], asked.key)
        estimate = asked.intent.estimate.cost_usd
        refused = budgets.find_refusal(self._limits, owner.payer, self._tx.now, self._spent, estimate)
        return refused or self._reserve(asked, row, budgets.to_nanos(estimate))

    def _find_stop(self, owner: Owner) -> RunStopped | None:
        """Return why nothing new may begin, or None. A retry outlives its run, but not the run's results."""
        run = self._runs[owner.run_id]
        if run.has_stopped and not owner.generation:
            return RunStopped(f"prompt run {owner.run_id} was cancelled")
        if run.results != Results.KEPT:
            return RunStopped(f"the results of prompt run {owner.run_id} were deleted meanwhile")
        return None

    def _reserve(self, asked: CallStart, row: Mapping[str, Any] | None, estimate: int | None) -> Call:
        for scope in budgets.list_scopes(asked.owner.payer, self._tx.now):
            change = self._changes.setdefault(scope, Change())
            change.calls += 1
            change.reserved_nanousd += estimate or 0
            self._spent[scope].calls += 1
            self._spent[scope].reserved += estimate or 0
        started = {
            "status": CallStatus.STARTED,
            "reserved_nanousd": estimate,
            "model": asked.intent.model,
            "invoked_at": self._tx.now,
        }
        call_id = self._tx.new_id("call") if row is None else row["id"]
        if row is None:
            self._new.append({"id": call_id, **_to_row(asked), **started})
        else:
            self._again.append({"its_id": call_id, **started})
        self._known[asked.step_key][asked.key] = {
            "id": call_id,
            "answer": None,
            "status": CallStatus.STARTED,
        }
        return Call(call_id, asked.key)

    def store(self) -> None:
        """Write the calls and reserve their estimated costs."""
        spending.add_changes(self._tx, self._changes)
        if self._new:
            self._tx.execute(sa.insert(llm_calls), self._new)
        if self._again:
            self._tx.execute(_update_restarted, self._again)


_update_restarted = (
    sa.update(llm_calls)
    .where(llm_calls.c.id == sa.bindparam("its_id"))
    .values(
        **{
            name: sa.bindparam(name, type_=llm_calls.c[name].type)
            for name in ("status", "reserved_nanousd", "model", "invoked_at")
        },
        attempts=llm_calls.c.attempts + 1,
        completed_at=None,
        error=None,
    )
)


def _to_row(asked: CallStart) -> dict[str, Any]:
    owner, intent = asked.owner, asked.intent
    return {
        "key": asked.key,
        "step_key": asked.step_key,
        "run_id": owner.run_id,
        "run_item_id": owner.item_id,
        "media_id": owner.media_id,
        "processor": owner.processor,
        "generation": owner.generation,
        "ordinal": intent.ordinal,
        "purpose": intent.purpose,
        "step": intent.step,
        "variant": intent.variant,
        "start_time": intent.start_time,
        "end_time": intent.end_time,
    }


_select_runs = sa.select(
    prompt_runs.c.id,
    prompt_runs.c.results,
    sa.or_(prompt_runs.c.stop.is_not(None), prompt_runs.c.status.in_(sorted(TERMINAL))).label("has_stopped"),
).where(prompt_runs.c.id.in_(sa.bindparam("ids", expanding=True)))


_select_known = sa.select(
    llm_calls.c.step_key, llm_calls.c.key, llm_calls.c.id, llm_calls.c.status, llm_calls.c.answer
).where(llm_calls.c.step_key.in_(sa.bindparam("keys", expanding=True)))


def _read_known(tx: Tx, step_keys: Iterable[str]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the calls made before, by question and key."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in tx.execute(_select_known, {"keys": sorted(step_keys)}):
        found.setdefault(row.step_key, {})[row.key] = dict(row._mapping)
    return found


def _end_all(tx: Tx, ended: Sequence[CallEnd], held: Holders) -> None:
    """Settle calls and store their segments, for owners that hold their items.

    An answer is kept even if another worker holds the item now: that worker would have to pay for it again.
    """
    ours = [
        each for each in ended if each.owner in held.owners or (each.owner in held.outdated and each.is_paid)
    ]
    started = _read_started(tx, [each.call.id for each in ours if each.call is not None])
    settled = {}
    for each in ours:
        if each.call is not None and each.call.id in started:
            row = started[each.call.id]
            columns = {"status": each.status, "answer": each.answer, "error": each.error}
            columns["model"] = each.model or row.model
            settled[row.id] = _settled_columns(tx, row, each.usage, _cost_nanousd(each), **columns)
    _settle(tx, [started[call_id] for call_id in settled], list(settled.values()))
    segments = {(each.owner, each.segment[0]): each.segment[1] for each in ours if each.segment is not None}
    journal.store_segments(tx, [(owner, ordinal, segment) for (owner, ordinal), segment in segments.items()])


@dataclass(frozen=True, slots=True)
class _Call:
    """A call as it was before it ended."""

    id: str
    run_id: str
    run_item_id: int
    processor: str
    model: str
    status: str
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_nanousd: int | None
    reserved_nanousd: int | None
    invoked_at: float


_CALL: Final = columns(_Call, llm_calls)
_select_started = sa.select(*_CALL).where(
    llm_calls.c.id.in_(sa.bindparam("ids", expanding=True)), llm_calls.c.status == CallStatus.STARTED
)


def _read_started(tx: Tx, ids: Sequence[str]) -> Mapping[str, _Call]:
    """Return those of the calls that have not ended."""
    rows = tx.execute(_select_started, {"ids": ids}) if ids else ()
    return {row.id: row for row in models_of(_Call, rows)}


def _settled_columns(tx: Tx, row: _Call, usage: Usage, cost: int | None, **columns: Any) -> dict[str, Any]:
    """Return the columns of an ended call. Each attempt adds to the usage."""
    is_known = cost is not None and (row.attempts == 1 or row.cost_nanousd is not None)
    return {
        "its_id": row.id,
        "input_tokens": row.input_tokens + usage.input_tokens,
        "output_tokens": row.output_tokens + usage.output_tokens,
        "cost_nanousd": (row.cost_nanousd or 0) + (cost or 0) if is_known else None,
        "completed_at": tx.now,
        "model": row.model,
        **columns,
    }


def _cost_nanousd(ended: CallEnd) -> int | None:
    """Return the cost in billionths of a dollar; None: unknown. A call that failed before any usage costs nothing."""
    usage = ended.usage
    is_unused = not usage.input_tokens and not usage.output_tokens
    if usage.cost_usd is None and ended.status is CallStatus.FAILED and is_unused:
        return 0
    return budgets.to_nanos(usage.cost_usd)


_update_ended = (
    sa.update(llm_calls)
    .where(llm_calls.c.id == sa.bindparam("its_id"))
    .values(
        **{
            name: sa.bindparam(name, type_=llm_calls.c[name].type)
            for name in (
                "status",
                "input_tokens",
                "output_tokens",
                "cost_nanousd",
                "answer",
                "error",
                "model",
                "completed_at",
            )
        },
        reserved_nanousd=None,
    )
)


def _settle(tx: Tx, rows: Sequence[_Call], settled: Sequence[Mapping[str, Any]]) -> None:
    """Write how calls ended, and count their usage where their reservation was counted."""
    if not rows:
        return
    tx.execute(_update_ended, list(settled))
    changes: dict[str, Change] = {}
    for row, now in zip(rows, settled, strict=True):
        cost, was = now["cost_nanousd"], row.cost_nanousd
        for scope in budgets.list_scopes(_payer_of(row), row.invoked_at):
            change = changes.setdefault(scope, Change())
            change.input_tokens += now["input_tokens"] - row.input_tokens
            change.output_tokens += now["output_tokens"] - row.output_tokens
            change.cost_nanousd += (cost or 0) - (was or 0)
            change.unpriced_calls += (cost is None) - (was is None and row.attempts > 1)
            change.reserved_nanousd -= row.reserved_nanousd or 0
    spending.add_changes(tx, changes)


def _payer_of(row: _Call) -> budgets.Payer:
    return budgets.Payer(row.run_id, row.run_item_id, row.processor)


def close_calls(tx: Tx, item_id: int, generation: str = "") -> None:
    """Delete the answers of an ended item. Calls that never ended are counted at their estimated cost."""
    table = llm_calls
    its = table.c.run_item_id == item_id, table.c.generation == generation
    open_ = sa.or_(table.c.answer.is_not(None), table.c.status == CallStatus.STARTED)
    rows = models_of(_Call, tx.all(sa.update(table).where(*its, open_).values(answer=None).returning(*_CALL)))
    _settle_lost(tx, [row for row in rows if row.status == CallStatus.STARTED])


def _settle_lost(tx: Tx, lost: Sequence[_Call]) -> None:
    columns = {"status": CallStatus.FAILED, "answer": None, "error": _LOST}
    _settle(tx, lost, [_settled_columns(tx, row, Usage(), row.reserved_nanousd, **columns) for row in lost])


def delete_calls(tx: Tx, item_ids: Sequence[int]) -> None:
    """Delete the calls of items whose results are deleted; the run, the day and the month keep their costs.

    A retry may still be making some of them: these are counted at their estimated cost, so no budget stays reserved.
    """
    its = llm_calls.c.run_item_id.in_(item_ids)
    lost = sa.select(*_CALL).where(its, llm_calls.c.status == CallStatus.STARTED)
    _settle_lost(tx, models_of(_Call, tx.all(lost)))
    tx.execute(sa.delete(llm_calls).where(its))
    spending.delete_scopes(tx, map(budgets.item_scope, item_ids))
