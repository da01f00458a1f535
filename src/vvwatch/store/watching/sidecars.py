"""Captions beside media, as the watchers of automations meet them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from vvwatch.core.filters import Reason
from vvwatch.core.selection import SkippedObject
from vvwatch.core.sidecars import SidecarName, match_name
from vvwatch.store.db.database import Tx
from vvwatch.store.runs import fact_updates, transcript_retries
from vvwatch.store.schema import import_automations, observations
from vvwatch.store.watching import ledger

_NO_JOB = ""
"""No import job reports captions as skipped."""

_MOST = 100


def record_sidecars(
    tx: Tx, automation_id: str, connector_id: str, seen: Sequence[SkippedObject], at: float
) -> None:
    """Record the sidecars that are new, and look again at `at` for the transcripts or the facts of their media."""
    tx.guard(import_automations, automation_id)  # see `fact_updates.request_if_observed`
    for each in ledger.record_observations(tx, automation_id, seen, reported_in=_NO_JOB):
        for media_id in fact_updates.find_media(tx, automation_id, each.key):
            fact_updates.request(tx, media_id, at)
        for item_id in transcript_retries.find_items(tx, connector_id, each.key):
            transcript_retries.request(tx, item_id, at)


def list_sidecars(tx: Tx, connector_id: str, media_key: str) -> list[SidecarName]:
    """Return the captions that were seen beside the media, the best first."""
    start = media_key.rpartition(".")[0]
    its = import_automations.c.connector_id == connector_id
    named = observations.c.key > f"{start}.", observations.c.key < f"{start}/"
    chosen = (
        sa.select(observations.c.key)
        .join(import_automations, import_automations.c.id == observations.c.automation_id)
        .where(its, observations.c.reason == Reason.SIDECAR, *named)
        .limit(_MOST)
    )
    found = (match_name(media_key, row.key) for row in tx.all(chosen))
    return sorted(set(filter(None, found)))
