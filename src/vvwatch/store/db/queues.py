"""The queue of a piece of work: by its kind, what it needs, and the node that must do it.

It needs a processor or, for a file of another host, a download.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.ports import Kind
from vvwatch.store.schema import (
    connectors,
    exports,
    import_automations,
    import_files,
    import_jobs,
    media,
    prompt_runs,
    run_items,
    segment_retries,
)

FETCH: Final = "fetch"
"""The need of files still to be downloaded: a host that hangs holds up no other import."""

_ref: sa.BindParameter[str] = sa.bindparam("ref", type_=sa.Text)

_of_item = (
    sa.select(connectors.c.node, prompt_runs.c.processor)
    .join(media, media.c.connector_id == connectors.c.id)
    .join(run_items, run_items.c.media_id == media.c.id)
    .join(prompt_runs, prompt_runs.c.id == run_items.c.run_id)
)

_fetch = sa.case((sa.and_(import_files.c.origin.is_not(None), import_files.c.version == ""), FETCH), else_="")

# The node of the connector that the work reads from or writes to.
_NODES: Mapping[Kind, sa.Select[Any]] = {
    Kind.SCAN: sa.select(connectors.c.node)
    .join(import_automations, import_automations.c.connector_id == connectors.c.id)
    .where(import_automations.c.id == _ref),
    Kind.IMPORT_JOB: sa.select(connectors.c.node)
    .join(import_jobs, import_jobs.c.connector_id == connectors.c.id)
    .where(import_jobs.c.id == _ref),
    Kind.IMPORT_FILE: sa.select(connectors.c.node, _fetch)
    .join(import_jobs, import_jobs.c.connector_id == connectors.c.id)
    .join(import_files, import_files.c.job_id == import_jobs.c.id)
    .where(import_files.c.id == sa.cast(_ref, sa.BigInteger)),
    Kind.RUN_ITEM: _of_item.where(run_items.c.id == sa.cast(_ref, sa.BigInteger)),
    Kind.SEGMENT_RETRY: _of_item.join(segment_retries, segment_retries.c.run_item_id == run_items.c.id).where(
        segment_retries.c.id == _ref
    ),
    Kind.FACTS: sa.select(connectors.c.node)
    .join(media, media.c.connector_id == connectors.c.id)
    .where(media.c.id == _ref),
    Kind.EXPORT: sa.select(connectors.c.node)
    .join(exports, exports.c.destination_connector_id == connectors.c.id)
    .where(exports.c.id == _ref),
}


def queue_name(kind: Kind, need: str = "", node: str = "") -> str:
    """Return the queue of a kind; `need` and `node` narrow who serves it."""
    return kind.value + (f".{need}" if need else "") + (f"@{node}" if node else "")


def queue_of(conn: sa.Connection, kind: Kind, ref: str | int) -> str:
    """Return the queue of the entity `ref`, by its current connector and run."""
    if kind not in _NODES:
        return queue_name(kind)
    row = conn.execute(_NODES[kind], {"ref": str(ref)}).first()
    node, need = (*(row or ()), "", "")[:2]
    return queue_name(kind, need, node)
