"""Transcripts of run items: stored whole, read whole, replaced by a better one.

The run's tally counts the items with and without one, from the end of each item on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.processors import Transcription
from vvwatch.core.runs import ItemStatus
from vvwatch.core.tallies import TRANSCRIBED, UNTRANSCRIBED, count_in_tally
from vvwatch.core.transcripts import (
    Cue,
    CueFinder,
    Transcript,
    TranscriptSource,
    Word,
    describe_cues,
    replace_sidecar_reason,
)
from vvwatch.store.db.database import Tx, upsert
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.typed import model_of, models_of
from vvwatch.store.models.runs import Run, StoredTranscript
from vvwatch.store.runs import search_documents
from vvwatch.store.runs.batches import update_run
from vvwatch.store.runs.journal import Owner, require_owner
from vvwatch.store.schema import media, prompt_runs, run_items, transcripts

_SEARCHABLE: Final = ItemStatus.COMPLETED, ItemStatus.PARTIAL


@by_locks
def keep_transcript(tx: Tx, owner: Owner, found: Transcript | None, error: str | None) -> None:
    """Store the transcript that the owner of an item found, or why there is none. Raises Superseded."""
    require_owner(tx, owner)
    before = count_transcription(tx, owner.item_id)
    replace_transcript(tx, owner.item_id, found, error)
    if owner.generation:  # the item has ended, and was counted then
        recount_transcription(
            tx, owner.run_id, owner.media_id, before, count_transcription(tx, owner.item_id)
        )


def replace_transcript(tx: Tx, item_id: int, found: Transcript | None, error: str | None = None) -> None:
    """Store the transcript as `store_transcript`; if the item can be searched, by the new one."""
    status = tx.execute(sa.select(run_items.c.status).where(run_items.c.id == item_id)).scalar()
    is_searchable = status in _SEARCHABLE
    if is_searchable:
        search_documents.unindex_items(tx, [item_id])
    store_transcript(tx, item_id, found, error)
    if is_searchable:
        search_documents.index_item(tx, item_id)


def count_transcription(tx: Tx, item_id: int) -> dict[str, int]:
    """Return what the item adds to its run's tally; nothing without a transcription."""
    chosen = sa.select(transcripts.c.error.is_(None)).where(transcripts.c.run_item_id == item_id)
    is_found = tx.execute(chosen).scalar()
    return {} if is_found is None else {TRANSCRIBED if is_found else UNTRANSCRIBED: 1}


def recount_transcription(
    tx: Tx, run_id: str, media_id: str, before: Mapping[str, int], now: Mapping[str, int]
) -> None:
    """Correct the tally of a run in which an item has ended."""
    more = {name: now.get(name, 0) - before.get(name, 0) for name in (TRANSCRIBED, UNTRANSCRIBED)}
    if any(more.values()):
        locked = sa.select(prompt_runs).where(prompt_runs.c.id == run_id).with_for_update()
        run = model_of(Run, tx.execute(locked).one())
        kind = tx.execute(sa.select(media.c.media_type).where(media.c.id == media_id)).scalar_one()
        update_run(tx, run, tally=count_in_tally(run.tally, kind, **more))


def store_transcript(tx: Tx, item_id: int, found: Transcript | None, error: str | None = None) -> None:
    """Store what is said in the item; with None, `error` says why there is no transcript.

    The words of an ended item are searchable from then on.
    """
    search_documents.unindex_items(tx, [item_id])
    values = {
        "source": found.source if found else "",
        "origin": found.origin if found else "",
        "language": found.language if found else None,
        "error": error,
        "cues": [_pack_cue(cue) for cue in found.cues] if found else None,
        "updated_at": tx.now,
    }
    statement = upsert(tx.conn.dialect.name, transcripts).values(run_item_id=item_id, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=[transcripts.c.run_item_id], set_=values))
    search_documents.index_item(tx, item_id)


def note_sidecar_reason(tx: Tx, item_id: int, reason: str) -> None:
    """Store why the captions beside the media give no transcript, if the item has none."""
    row = load_transcript(tx, item_id)
    if row is not None and row.error is not None:
        values = {"error": replace_sidecar_reason(row.error, reason), "updated_at": tx.now}
        tx.execute(sa.update(transcripts).where(transcripts.c.run_item_id == item_id).values(**values))


def load_transcripts(tx: Tx, item_ids: Sequence[int]) -> dict[int, StoredTranscript]:
    """Return the rows of those of the items that have one, by item."""
    chosen = sa.select(transcripts).where(transcripts.c.run_item_id.in_(item_ids))
    return {row.run_item_id: row for row in models_of(StoredTranscript, tx.all(chosen))}


def load_transcript(tx: Tx, item_id: int) -> StoredTranscript | None:
    """Return the row of the item; None if nobody looked for a transcript."""
    return load_transcripts(tx, [item_id]).get(item_id)


@dataclass(frozen=True)
class Said:
    """What is said in an item: the transcript, or the reason for none. Neither: nobody looked for one."""

    transcript: Transcript | None = None
    outcome: Transcription | None = None

    def between(self, start_time: float, end_time: float) -> dict[str, Any] | None:
        """Return what a segment says; None without a transcript."""
        if self.transcript is None:
            return None
        return describe_cues(self.transcript, self._finder.find(start_time, end_time))

    @cached_property
    def _finder(self) -> CueFinder:
        """Made once: an item may have tens of thousands of segments, and as many cues."""
        return CueFinder(() if self.transcript is None else self.transcript.cues)


NOTHING_KNOWN: Final = Said()


def load_said(tx: Tx, item_ids: Sequence[int]) -> dict[int, Said]:
    """Return what is said in those of the items for which somebody looked."""
    rows = load_transcripts(tx, item_ids)
    return {
        item_id: Said(read_transcript(row), Transcription(row.error is None, row.error))
        for item_id, row in rows.items()
    }


def read_transcript(row: StoredTranscript) -> Transcript | None:
    """Return the transcript of a row; None if it only says why there is none."""
    if row.cues is None:
        return None
    cues = tuple(map(_unpack_cue, row.cues))
    return Transcript(TranscriptSource(row.source), row.origin, row.language, cues)


def _pack_cue(cue: Cue) -> list[Any]:
    words = [[word.start_time, word.end_time, word.text] for word in cue.words]
    return [cue.start_time, cue.end_time, cue.text, words]


def _unpack_cue(packed: Sequence[Any]) -> Cue:
    start, end, text, words = packed
    return Cue(start, end, text, tuple(Word(*word) for word in words))
