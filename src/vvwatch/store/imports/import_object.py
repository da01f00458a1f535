"""Import one object of a connector at once, on a person's request."""

from __future__ import annotations

import sqlalchemy as sa

from vvwatch.core.objects import StorageObject
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import imports, one_time
from vvwatch.store.imports.imports import NewFile
from vvwatch.store.models.imports import ImportJob
from vvwatch.store.schema import import_files
from vvwatch.store.watching import claims, ledger


def create(tx: Tx, index_id: str, connector_id: str, obj: StorageObject, title: str) -> ImportJob:
    """Create an import job of one object, which no automation of the index imports again; return the job.

    It is imported even if it was before. Raises NotFound, InvalidInput or Conflict for the connector or the index.
    """
    one_time.require_usable(tx, connector_id, index_id)
    job_id, scope_id = tx.new_id("job"), ledger.ensure_scope(tx, index_id, connector_id)
    claimed = claims.claim_versions(tx, scope_id, job_id, [(obj.key, obj.version)])
    job = imports.create_sealed(
        tx,
        job_id=job_id,
        index_id=index_id,
        connector_id=connector_id,
        source_kind="register",
        files=[NewFile(obj.key, obj.version, obj.size_bytes, obj.modified_at, title=title)],
    )
    tx.execute(sa.update(import_files).where(import_files.c.job_id == job.id).values(claimed=bool(claimed)))
    return job
