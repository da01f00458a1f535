"""The tables. Moments are epoch seconds (float), sizes bytes, documents JSON text.

Each entity with work to do carries `revision` (the fence: only the job made for the current revision may
change it) and `next_at` (when it is next due; NULL when nothing is left to do).
"""

from __future__ import annotations

import sqlalchemy as sa

from vvwatch.store.schema.alerting import alert_messages, alert_problems
from vvwatch.store.schema.catalogue import api_keys, audit, connectors, deletions, facts, indexes, prompts
from vvwatch.store.schema.columns import metadata
from vvwatch.store.schema.engine import jobs, nodes
from vvwatch.store.schema.journal import (
    item_journals,
    llm_calls,
    processor_states,
    retried_segments,
    spending,
)
from vvwatch.store.schema.outbox import deliveries, delivery_attempts, events, receipts, webhooks
from vvwatch.store.schema.processing import processor_leases, processor_quotas
from vvwatch.store.schema.results import (
    exports,
    fact_updates,
    import_files,
    import_jobs,
    media,
    outputs,
    pictures,
    prompt_runs,
    run_items,
    segment_results,
    segment_retries,
    transcripts,
)
from vvwatch.store.schema.searching import SEARCH_TEXT, search_documents, search_vectors
from vvwatch.store.schema.watching import (
    absences,
    claims,
    export_automations,
    import_automations,
    ledger_scopes,
    objects,
    observations,
    quarantine,
    reconciles,
    tombstones,
    troubles,
    windows,
)


def tables_of(dialect: str) -> list[sa.Table]:
    """The tables to be made, each after those that it refers to.

    On PostgreSQL the engine brings its own queue; on SQLite `create_search` makes what is searched.
    """
    other = search_documents if dialect == "sqlite" else jobs
    return [table for table in metadata.sorted_tables if table is not other]


def create_search(conn: sa.Connection) -> None:
    """Make what is searched by words: on SQLite a virtual table, on PostgreSQL `search_documents`, unless it exists."""
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql(SEARCH_TEXT)
    else:
        search_documents.create(conn, checkfirst=True)


__all__ = [
    "absences",
    "alert_messages",
    "alert_problems",
    "api_keys",
    "audit",
    "claims",
    "connectors",
    "create_search",
    "deletions",
    "deliveries",
    "delivery_attempts",
    "events",
    "export_automations",
    "exports",
    "fact_updates",
    "facts",
    "import_automations",
    "import_files",
    "import_jobs",
    "indexes",
    "item_journals",
    "jobs",
    "ledger_scopes",
    "llm_calls",
    "media",
    "metadata",
    "nodes",
    "objects",
    "observations",
    "outputs",
    "pictures",
    "processor_leases",
    "processor_quotas",
    "processor_states",
    "prompt_runs",
    "prompts",
    "quarantine",
    "receipts",
    "reconciles",
    "retried_segments",
    "run_items",
    "search_documents",
    "search_vectors",
    "segment_results",
    "segment_retries",
    "spending",
    "tables_of",
    "tombstones",
    "transcripts",
    "troubles",
    "webhooks",
    "windows",
]
