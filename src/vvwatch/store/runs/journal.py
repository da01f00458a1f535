"""Journals of items under way: their plan, finished segments, and the processor's own note.

Every write is fenced by the job that works on the item. Results of a retry are stored apart until it ends, so the
results of an ended item do not change while they are exported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.budgets import Payer
from vvwatch.core.media import Plan, Probe, Segment
from vvwatch.core.pictures import PicturePack, parse_contents
from vvwatch.errors import Superseded
from vvwatch.ports import Job, Kind
from vvwatch.store.db.database import Tx, upsert
from vvwatch.store.db.locking import by_locks
from vvwatch.store.schema import (
    item_journals,
    pictures,
    retried_segments,
    run_items,
    segment_results,
    segment_retries,
    transcripts,
)

_SEGMENT_FIELDS: Final = tuple(field.name for field in fields(Segment))


@dataclass(frozen=True, slots=True)
class Owner:
    """The worker of an item: `job` processes an item of a run, in the retry named by `generation` if there is one.

    `attempt` numbers the attempts: the queue gives a silent node's job to another node, and only the latest attempt
    owns the item. `only` is the one segment to retry.
    """

    job: Job
    run_id: str
    item_id: int
    media_id: str
    processor: str
    attempt: int
    generation: str = ""
    only: int | None = None

    @property
    def payer(self) -> Payer:
        """The run, item and processor that pay for its calls."""
        return Payer(self.run_id, self.item_id, self.processor)


SegmentToStore = tuple[Owner, int, Segment]
"""A segment to store: its owner, its ordinal, the result."""


@dataclass(frozen=True, slots=True)
class Holders:
    """Owners that may still write, and owners whose item another worker has begun again and not ended."""

    owners: frozenset[Owner]
    outdated: frozenset[Owner]


def find_holders(tx: Tx, owners: Sequence[Owner]) -> Holders:
    """Return which of these owners hold their items; nobody takes those items before this transaction ends."""
    attempts: dict[tuple[Kind, str, int], int] = {}
    for kind, table in ((Kind.RUN_ITEM, run_items), (Kind.SEGMENT_RETRY, segment_retries)):
        refs = sorted({owner.job.ref for owner in owners if owner.job.kind is kind})
        ids: list[Any] = list(map(int, refs)) if kind is Kind.RUN_ITEM else list(refs)
        attempts |= {(kind, *fence): attempt for fence, attempt in _read_attempts(tx, table, ids).items()}
    now = {owner: attempts.get((owner.job.kind, owner.job.ref, owner.job.revision)) for owner in owners}
    return Holders(
        frozenset(owner for owner, attempt in now.items() if attempt == owner.attempt),
        frozenset(owner for owner, attempt in now.items() if attempt not in (None, owner.attempt)),
    )


def _read_attempts(tx: Tx, table: sa.Table, ids: Sequence[Any]) -> dict[tuple[str, int], int]:
    """Return the attempts of these items, by id and revision.

    They count as written, so that a serializable transaction that takes the items runs again.
    """
    rows = tx.execute(_attempts_query(table, tx.conn.dialect.name), {"ids": ids}) if ids else ()
    return {(str(row.id), row.revision): row.attempts for row in rows}


@cache
def _attempts_query(table: sa.Table, dialect: str) -> sa.Executable:
    wanted, columns = (
        table.c.id.in_(sa.bindparam("ids", expanding=True)),
        (table.c.id, table.c.revision, table.c.attempts),
    )
    if dialect == "postgresql":
        return sa.update(table).where(wanted).values(revision=table.c.revision).returning(*columns)
    return sa.select(*columns).where(wanted)


def require_owner(tx: Tx, owner: Owner) -> None:
    """Raise Superseded unless the owner still holds its item."""
    if owner not in find_holders(tx, [owner]).owners:
        raise superseded_error(owner)


def _require_current(tx: Tx, owner: Owner) -> None:
    row = tx.current(owner.job)
    if row is None or row.attempts != owner.attempt:
        raise superseded_error(owner)


def superseded_error(owner: Owner) -> Superseded:
    """Return the error that stops a processor at once."""
    return Superseded(f"item {owner.item_id} of run {owner.run_id} has another worker, or has ended")


def read_plan(tx: Tx, owner: Owner) -> Plan | None:
    """Return the item's plan, in a retry that of the first processing. Raises Superseded."""
    _require_current(tx, owner)
    plan = _read_journal(tx, item_journals.c.plan, owner, "")
    return None if plan is None else _parse_plan(plan)


def _read_journal(tx: Tx, column: sa.Column[Any], owner: Owner, generation: str) -> Mapping[str, Any] | None:
    table = item_journals.c
    its = table.run_item_id == owner.item_id, table.generation == generation
    found: Mapping[str, Any] | None = tx.execute(sa.select(column).where(*its)).scalar()
    return found


def _parse_plan(stored: Mapping[str, Any]) -> Plan:
    probe = stored["probe"]
    return Plan(
        spans=tuple((start, end) for start, end in stored["spans"]),
        damage=tuple(stored["damage"]),
        warnings=tuple(stored["warnings"]),
        probe=None if probe is None else Probe(**{**probe, "damage": tuple(probe["damage"])}),
        shots=tuple(stored["shots"]),
        sound_track=stored["sound_track"],
        pictures=_parse_pack(stored.get("pictures")),
    )


def _parse_pack(stored: Mapping[str, Any] | None) -> PicturePack | None:
    return (
        None if stored is None else PicturePack(**{**stored, "contents": parse_contents(stored["contents"])})
    )


@by_locks
def store_plan(tx: Tx, owner: Owner, plan: Plan) -> None:
    """Store the item's plan. Raises Superseded."""
    require_owner(tx, owner)
    _upsert_journal(tx, owner, "", plan=asdict(plan))


def _upsert_journal(tx: Tx, owner: Owner, generation: str, **values: Any) -> None:
    row = {"run_item_id": owner.item_id, "generation": generation, **values}
    keys = list(item_journals.primary_key)
    tx.execute(tx.upsert(item_journals).values(row).on_conflict_do_update(index_elements=keys, set_=values))


def read_note(tx: Tx, owner: Owner) -> Mapping[str, Any]:
    """Return the processor's note; a retry without one gets that of the first processing. Raises Superseded."""
    _require_current(tx, owner)
    for generation in dict.fromkeys((owner.generation, "")):
        note = _read_journal(tx, item_journals.c.note, owner, generation)
        if note is not None:
            return note
    return {}


@by_locks
def store_note(tx: Tx, owner: Owner, state: Mapping[str, Any]) -> None:
    """Replace the processor's note. Raises Superseded."""
    require_owner(tx, owner)
    _upsert_journal(tx, owner, owner.generation, note=dict(state))


def read_segments(tx: Tx, owner: Owner) -> dict[int, Segment]:
    """Return the segments that have a result, by ordinal. Raises Superseded.

    The retry of one segment leaves that segment out; the retry of a whole item leaves out those that failed before it.
    """
    _require_current(tx, owner)
    found = read_results(tx, owner.item_id)
    if owner.generation:
        found = {ordinal: each for ordinal, each in found.items() if owner.only is not None or not each.error}
        found |= read_retried(tx, owner.item_id, owner.generation)
    if owner.only is not None:
        found.pop(owner.only, None)
    return found


def read_results(tx: Tx, item_id: int) -> dict[int, Segment]:
    """Return the item's results by ordinal."""
    table = segment_results
    return _read_segments(tx, table, table.c.run_item_id == item_id)


def read_retried(tx: Tx, item_id: int, generation: str) -> dict[int, Segment]:
    """Return what retries of the item found, without what failed in earlier retries."""
    table = retried_segments
    counts = sa.or_(table.c.retry_id == generation, table.c.error.is_(None))
    return _read_segments(tx, table, table.c.run_item_id == item_id, counts)


def _read_segments(tx: Tx, table: sa.Table, *wanted: sa.ColumnElement[bool]) -> dict[int, Segment]:
    rows = tx.all(sa.select(table).where(*wanted).order_by(table.c.ordinal))
    return {row.ordinal: Segment(**{name: row._mapping[name] for name in _SEGMENT_FIELDS}) for row in rows}


def store_segments(tx: Tx, kept: Sequence[SegmentToStore]) -> None:
    """Store segment results; their owners must hold the items."""
    first = [_to_row(owner.item_id, ordinal, each) for owner, ordinal, each in kept if not owner.generation]
    retried = [
        {**_to_row(owner.item_id, ordinal, each), "retry_id": owner.generation}
        for owner, ordinal, each in kept
        if owner.generation
    ]
    _upsert_segments(tx, segment_results, first)
    _upsert_segments(tx, retried_segments, retried)


def _to_row(item_id: int, ordinal: int, segment: Segment) -> dict[str, Any]:
    return {
        "run_item_id": item_id,
        "ordinal": ordinal,
        **{name: getattr(segment, name) for name in _SEGMENT_FIELDS},
    }


def _upsert_segments(tx: Tx, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        tx.execute(_upsert_query(table, tx.conn.dialect.name), rows)


@cache
def _upsert_query(table: sa.Table, dialect: str) -> sa.Executable:
    statement = upsert(dialect, table)
    keys = list(table.primary_key)
    new = {column.name: statement.excluded[column.name] for column in table.c if column not in keys}
    stored: sa.Executable = statement.on_conflict_do_update(index_elements=keys, set_=new)
    return stored


def replace_results(tx: Tx, item_id: int, found: Sequence[Segment]) -> None:
    """Replace the item's results with `found`. Unchanged segments are not written again."""
    before = read_results(tx, item_id)
    now = dict(enumerate(found))
    gone = [ordinal for ordinal in before if ordinal not in now]
    if gone:
        table = segment_results
        tx.execute(sa.delete(table).where(table.c.run_item_id == item_id, table.c.ordinal >= min(gone)))
    rows = [
        _to_row(item_id, ordinal, segment)
        for ordinal, segment in now.items()
        if before.get(ordinal) != segment
    ]
    if before:
        _upsert_segments(tx, segment_results, rows)
    elif rows:
        tx.execute(sa.insert(segment_results), rows)


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """How many segments of an item have a result, and how many of these failed."""

    segments: int = 0
    failed: int = 0

    @property
    def good(self) -> int:
        """The number of segments that did not fail."""
        return self.segments - self.failed

    @property
    def columns(self) -> dict[str, int]:
        """The counts as columns of the item's row."""
        return {"segment_count": self.segments, "failed_segment_count": self.failed}


def count_segments(tx: Tx, item_id: int) -> SegmentCounts:
    """Count the results of an item."""
    table = segment_results
    chosen = sa.select(sa.func.count(), sa.func.count(table.c.error)).where(table.c.run_item_id == item_id)
    return SegmentCounts(*map(int, tx.execute(chosen).one()))


def delete_retried(tx: Tx, item_id: int, ordinal: int | None = None) -> None:
    """Delete what retries found for the item, or for one of its segments."""
    table = retried_segments
    wanted = [table.c.run_item_id == item_id]
    wanted += [] if ordinal is None else [table.c.ordinal == ordinal]
    tx.execute(sa.delete(table).where(*wanted))


def delete_journals(tx: Tx, item_ids: Sequence[int]) -> None:
    """Delete the journals, transcripts and pictures of items whose results are deleted."""
    for table in (item_journals, retried_segments, transcripts, pictures):
        tx.execute(sa.delete(table).where(table.c.run_item_id.in_(item_ids)))
