"""The transcript of a processed item is looked for again: its captions came after its media.

It is a retry of the item with an ordinal of its own, so it waits, is fenced and ends like others.
"""

from __future__ import annotations

import sqlalchemy as sa

from vvwatch.core.filters import Reason
from vvwatch.core.identities import TRANSCRIPT
from vvwatch.core.runs import ItemStatus, Results, RetryStatus
from vvwatch.core.sidecars import list_media_stems, match_name
from vvwatch.core.transcripts import Transcript, TranscriptSource
from vvwatch.ports import Job, Kind
from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import model_or_none
from vvwatch.store.delivery import exports
from vvwatch.store.models.runs import SegmentRetry
from vvwatch.store.runs import runs, segment_retries, transcripts
from vvwatch.store.runs.segment_retries import RetryEnd, RetryWork
from vvwatch.store.schema import media, observations, run_items
from vvwatch.store.schema import segment_retries as table

_MOST = 50
_WEAKER = (TranscriptSource.SIDECAR, TranscriptSource.ENDPOINT, TranscriptSource.SPEECH)


def find_items(tx: Tx, connector_id: str, key: str) -> list[int]:
    """Return the newest run item of each media that these captions go with."""
    stems = list_media_stems(key)
    named = sa.or_(*(sa.and_(media.c.key > f"{stem}.", media.c.key < f"{stem}/") for stem in stems))
    there = media.c.connector_id == connector_id, media.c.status != "deleted"
    rows = tx.all(sa.select(media.c.id, media.c.key).where(*there, named).limit(_MOST))
    ids = [row.id for row in rows if match_name(row.key, key)]
    newest = sa.select(sa.func.max(run_items.c.id)).where(run_items.c.media_id.in_(ids))
    found = tx.execute(newest.group_by(run_items.c.media_id)).scalars().all() if ids else ()
    return [item_id for item_id in found if _is_wanted(tx, item_id)]


def _is_wanted(tx: Tx, item_id: int) -> bool:
    """Return whether the item should have a transcript that is made here."""
    item = tx.execute(sa.select(run_items).where(run_items.c.id == item_id)).one()
    run = runs.get(tx, item.run_id)
    info = tx.processors.infos.get(run.processor)
    return (
        item.status != ItemStatus.CANCELLED
        and run.results == Results.KEPT
        and bool((run.settings or {}).get("enable_transcription", True))
        and not (info and info.transcribes)
    )


def request(tx: Tx, item_id: int, at: float) -> None:
    """Look again for the item's transcript at `at`, unless that is planned."""
    retry_id = tx.new_id("retry")
    row = {"id": retry_id, "run_item_id": item_id, "ordinal": TRANSCRIPT, "created_at": tx.now}
    if tx.insert_new(table, [row]):
        tx.enqueue(Kind.SEGMENT_RETRY, retry_id, 0, at)


def finish(tx: Tx, job: Job, work: RetryWork, found: Transcript | str) -> RetryEnd | None:
    """Replace the transcript if `found` is another and no worse, and export the results again for an automation.

    A text says why there is none: it replaces the reason that was there.
    Looks once more if captions came meanwhile. None for a stale job, or if an export comes first.
    """
    row = model_or_none(SegmentRetry, tx.current(job))
    if row is None:
        return None
    run = runs.get(tx, work.work.run.id)
    if segment_retries.is_exported_now(tx, run):
        segment_retries.wait(tx, job)
        return None
    if _came_meanwhile(tx, work, row):
        again = tx.claim(job, status=RetryStatus.PENDING, started_at=None)
        if again is not None:
            tx.enqueue(Kind.SEGMENT_RETRY, row.id, again.revision, tx.now)
        return None
    segment_retries.end_retry(tx, job, RetryStatus.COMPLETED, error_message=None)
    item = work.work.item
    if isinstance(found, str) and run.results == Results.KEPT:
        transcripts.note_sidecar_reason(tx, item.id, found)
    if isinstance(found, str) or run.results != Results.KEPT or not _is_better(tx, item.id, found):
        return RetryEnd(row.id, run.id, None)
    before = transcripts.count_transcription(tx, item.id)
    transcripts.replace_transcript(tx, item.id, found)
    after = transcripts.count_transcription(tx, item.id)
    transcripts.recount_transcription(tx, run.id, item.media_id, before, after)
    export_id = exports.request_automatic(tx, runs.get(tx, run.id), again=True)
    return RetryEnd(row.id, run.id, None, export_id=export_id)


def _is_better(tx: Tx, item_id: int, found: Transcript) -> bool:
    row = transcripts.load_transcript(tx, item_id)
    before = None if row is None else transcripts.read_transcript(row)
    return before is None or (before.source in _WEAKER and before != found)


def _came_meanwhile(tx: Tx, work: RetryWork, row: SegmentRetry) -> bool:
    """Return whether captions of this name were seen after the attempt began."""
    start = work.work.media.key.rpartition(".")[0]
    named = observations.c.key > f"{start}.", observations.c.key < f"{start}/"
    since = observations.c.seen_at > (row.started_at or 0.0)
    its = observations.c.reason == Reason.SIDECAR, since, *named
    return tx.first(sa.select(observations.c.key).where(*its).limit(1)) is not None
