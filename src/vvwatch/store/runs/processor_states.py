"""Which processors are paused, why, and until when, for all nodes.

A pause without an end lasts until the processor's configuration changes or somebody resumes it. Then everything
that waited for it is due at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from vvwatch.core.budgets import day_scope
from vvwatch.core.events import to_iso
from vvwatch.core.processors import SPEECH_ENDPOINT
from vvwatch.core.runs import ItemStatus
from vvwatch.errors import BudgetReached, ProcessorPaused, ProcessorUnavailable
from vvwatch.ports import Kind
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import models_of
from vvwatch.store.delivery.events import announce
from vvwatch.store.models.runs import PausedProcessor, ScopeSpending, WaitingRun
from vvwatch.store.runs import quotas, spending
from vvwatch.store.schema import processor_states, prompt_runs, run_items, segment_retries

_MOST_NUDGED: Final = 500
_MOST_WAITING: Final = 50
_WAIT_CODES: Final = (BudgetReached.code, ProcessorUnavailable.code)
"""Error codes of waiting items. Items of a paused processor are reported with the pause."""
_TABLE: Final = processor_states.c


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a processor is paused, and the `hint` that fixes it. `until` is epoch seconds; None: until somebody fixes it.

    `fingerprint` identifies the processor's configuration.
    """

    code: str
    message: str
    hint: str = ""
    until: float | None = None
    fingerprint: str = ""


_select_pauses: Final = sa.select(processor_states).where(
    _TABLE.name.in_(sa.bindparam("names", expanding=True)),
    _TABLE.paused_at.is_not(None),
    sa.or_(_TABLE.until.is_(None), _TABLE.until > sa.bindparam("now", type_=sa.Float)),
)


def find_pauses(tx: Tx, names: Iterable[str]) -> dict[str, ProcessorPaused]:
    """Return the processors that are paused now, with the reason."""
    found = tx.execute(_select_pauses, {"names": sorted(names), "now": tx.now})
    return {row.name: ProcessorPaused(row.message, row.hint, row.until) for row in found}


def find_pause(tx: Tx, name: str) -> ProcessorPaused | None:
    """Return why the processor is paused, or None."""
    return find_pauses(tx, [name]).get(name)


def list_paused(tx: Tx) -> Sequence[PausedProcessor]:
    """Return the processors that are paused now, by name."""
    chosen = sa.select(processor_states).where(*_is_paused(tx.now)).order_by(_TABLE.name)
    return models_of(PausedProcessor, tx.all(chosen))


def _is_paused(now: float) -> tuple[sa.ColumnElement[bool], ...]:
    return _TABLE.paused_at.is_not(None), sa.or_(_TABLE.until.is_(None), _TABLE.until > now)


def pause(tx: Tx, name: str, why: Pause) -> bool:
    """Pause the processor and announce it. Return False, and keep the first reason, if it is paused already."""
    if find_pause(tx, name) is not None:
        return False
    columns = {
        "paused_at": tx.now,
        "until": why.until,
        "code": why.code,
        "message": why.message,
        "hint": why.hint,
        "fingerprint": why.fingerprint,
    }
    insert = tx.upsert(processor_states).values(name=name, **columns)
    tx.execute(insert.on_conflict_do_update(index_elements=["name"], set_=columns))
    until = None if why.until is None else to_iso(why.until)
    data = {"code": why.code, "message": why.message, "hint": why.hint, "until": until}
    announce(tx, "processor.paused", f"{name}:{tx.now}", None, {"processor": name, "scope": "all", **data})
    return True


def resume(tx: Tx, name: str) -> bool:
    """End the pause and announce it; False if it is not paused. Call `retry_waiting` afterwards."""
    ended = sa.update(processor_states).where(_TABLE.name == name, _TABLE.paused_at.is_not(None))
    row = tx.first(ended.values(paused_at=None).returning(processor_states))
    if row is None:
        return False
    announce(tx, "processor.resumed", f"{name}:{tx.now}", None, {"processor": name})
    return True


def resume_reconfigured(tx: Tx, fingerprints: Mapping[str, str]) -> list[str]:
    """End the pauses of processors whose configuration changed or is gone; return their names.

    A removed processor cannot be fixed or resumed: its items must learn that it is gone.
    """
    changed = [row.name for row in list_paused(tx) if row.fingerprint != fingerprints.get(row.name)]
    return [name for name in changed if resume(tx, name)]


def retry_waiting(tx: Tx, name: str) -> int:
    """Make items and retries that wait for this processor due; return how many. 0: nothing is left.

    The endpoint that transcribes works for all processors: everything that waits is due.
    """
    theirs = sa.true() if name == SPEECH_ENDPOINT else prompt_runs.c.processor == name
    items = (
        sa.select(run_items)
        .join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
        .where(theirs, *_is_waiting(run_items, tx.now))
    )
    retries = (
        sa.select(segment_retries)
        .join(run_items, run_items.c.id == segment_retries.c.run_item_id)
        .join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
        .where(theirs, *_is_waiting(segment_retries, tx.now))
    )
    waiting = [(Kind.RUN_ITEM, row) for row in tx.all(items.limit(_MOST_NUDGED))]
    waiting += [(Kind.SEGMENT_RETRY, row) for row in tx.all(retries.limit(_MOST_NUDGED))]
    for kind, row in waiting:
        tx.nudge(kind, row, tx.now)
    return len(waiting)


def _is_waiting(table: sa.Table, now: float) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for work that waits because its processor is away, paused or out of budget."""
    return table.c.next_at > now, table.c.waits > 0, table.c.completed_at.is_(None)


@dataclass(frozen=True, slots=True)
class Figures:
    """By processor: its pause, its calls today, its calls in flight; `spent` is by scope."""

    paused: Mapping[str, PausedProcessor]
    today: Mapping[str, ScopeSpending]
    in_flight: Mapping[str, int]
    spent: Mapping[str, ScopeSpending]


def read_figures(tx: Tx, names: Iterable[str], scopes: Iterable[str]) -> Figures:
    """Return the figures of these processors, and what was spent in these scopes."""
    days = {day_scope(tx.now, name): name for name in names}
    spent = spending.read_spending(tx, {*days, *scopes})
    return Figures(
        paused={row.name: row for row in list_paused(tx)},
        today={name: spent[scope] for scope, name in days.items() if scope in spent},
        in_flight=quotas.count_in_flight(tx),
        spent=spent,
    )


@dataclass(frozen=True, slots=True)
class Blocked:
    """Paused processors, and runs that wait for a processor."""

    paused: Sequence[PausedProcessor]
    waiting: Sequence[WaitingRun]


def read_blocked(tx: Tx) -> Blocked:
    """Return what processors hold up. Runs of a paused processor are not listed again."""
    paused = list_paused(tx)
    item, names = run_items.c, [row.name for row in paused]
    waiting = (
        sa.select(
            item.run_id,
            prompt_runs.c.processor,
            item.error_code.label("code"),
            sa.func.min(item.error_message).label("message"),
            sa.func.count().label("items"),
            sa.func.min(item.next_at).label("next_at"),
        )
        .join(prompt_runs, prompt_runs.c.id == item.run_id)
        .where(item.next_at > tx.now, item.status == ItemStatus.PENDING, item.error_code.in_(_WAIT_CODES))
        .where(prompt_runs.c.processor.not_in(names))
        .group_by(item.run_id, prompt_runs.c.processor, item.error_code)
    )
    rows = tx.all(waiting.order_by(item.run_id).limit(_MOST_WAITING))
    return Blocked(paused, models_of(WaitingRun, rows))
