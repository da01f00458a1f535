"""Transcripts of run items: stored whole, read whole, replaced by a better one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource, Word
from vvwatch.store.db.database import Tx, upsert
from vvwatch.store.db.typed import models_of
from vvwatch.store.models.runs import StoredTranscript
from vvwatch.store.schema import transcripts


def store_transcript(tx: Tx, item_id: int, found: Transcript | None, error: str | None = None) -> None:
    """Store what is said in the item; with None, `error` says why there is no transcript."""
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


def load_transcripts(tx: Tx, item_ids: Sequence[int]) -> dict[int, StoredTranscript]:
    """Return the rows of those of the items that have one, by item."""
    chosen = sa.select(transcripts).where(transcripts.c.run_item_id.in_(item_ids))
    return {row.run_item_id: row for row in models_of(StoredTranscript, tx.all(chosen))}


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
