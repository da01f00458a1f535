"""Create, cancel and retry import jobs."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Response
from pydantic import Field

from vvwatch.api.http.auth import extension, require, resource_router
from vvwatch.api.http.context import Context
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.idempotency import Idempotent
from vvwatch.api.http.wire import Body, Resource
from vvwatch.api.routes.attachments import require_addresses
from vvwatch.api.routes.automations import check_prefix
from vvwatch.api.routes.import_jobs import ImportJob, to_response
from vvwatch.api.routes.left_out import LeftOutBody
from vvwatch.core.keys import Scope
from vvwatch.options.fields import KeyPrefix, Pattern
from vvwatch.options.tables import ImportMode
from vvwatch.store.db.database import Tx
from vvwatch.store.imports import attachments, cancellation, job_queries, one_time, retrying
from vvwatch.store.imports.imports import ATTACHMENTS
from vvwatch.store.imports.one_time import OneTimeSpec

router = resource_router("import jobs")

_MAX_REFRESHED: Final = 1_000


class ImportJobBody(LeftOutBody):
    """What to import once. `source_prefix` may be a whole key; `import_mode_override` null: the connector's mode."""

    connector_id: Annotated[str, Field(min_length=1)]
    index_id: Annotated[str, Field(min_length=1)]
    source_prefix: Annotated[KeyPrefix, Field(max_length=1024)] = ""
    file_pattern: Pattern = "*"
    recursive: bool = True
    import_mode_override: ImportMode | None = None


class RefreshedFile(Body):
    """The new URL of an attachment."""

    file_id: Annotated[str, Field(min_length=1, max_length=512)]
    download_url: Annotated[str, Field(min_length=1, max_length=4096)]
    file_name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    mime_type: Annotated[str, Field(max_length=255)] | None = None


class RetryBody(Body):
    """Attachments with a new URL; other failed ones are fetched from their old one."""

    files: Annotated[list[RefreshedFile], Field(max_length=_MAX_REFRESHED)] = Field(default_factory=list)


class Retried(Resource):
    """The result of a retry."""

    job_id: str
    file_id: str
    path: str
    status: str
    message: str


@router.post("/import-jobs", status_code=202, response_model=ImportJob, **require(Scope.WRITE))
async def create_import_job(context: Context, once: Idempotent, body: ImportJobBody) -> Response:
    """List a connector once and import what matches.

    Unlike an automation, a job with the mode `all` also imports what was imported before; with `new_only` it skips
    every key that has a version in the index. Automations of the index do not import its files again. It waits up
    to a minute for files that are being written and then skips them.
    """
    if (given := await once.find_earlier_response()) is not None:
        return given
    connector = await context.database.read(one_time.require_usable, body.connector_id, body.index_id)
    check_prefix(await context.open_storage(connector), body.source_prefix)
    wanted = OneTimeSpec(
        connector_id=body.connector_id,
        index_id=body.index_id,
        source_prefix=body.source_prefix,
        file_pattern=body.file_pattern,
        recursive=body.recursive,
        import_mode=body.import_mode_override,
        exclude=body.exclude or (),
        min_size_bytes=body.min_size_bytes,
        max_size_bytes=body.max_size_bytes,
    )
    return await once(lambda tx: _read_job(tx, one_time.create(tx, wanted).id))


def _read_job(tx: Tx, job_id: str) -> ImportJob:
    return to_response(job_queries.get_view(tx, job_id))


@router.post("/import-jobs/{job_id}/cancel", response_model=ImportJob, **require(Scope.WRITE))
async def cancel_import_job(context: Context, once: Idempotent, job_id: str) -> Response:
    """Cancel a job. Imported media stay, all other files are skipped with the reason `cancelled`, and no run starts.

    The files of an automation's job stay known: scans do not import them again, retrying the file does. Those of a
    one-time job are as new as before: another job or automation may import them.
    """

    def cancel(tx: Tx) -> ImportJob:
        cancellation.cancel(tx, job_id)
        return _read_job(tx, job_id)

    def tell(cancelled: ImportJob) -> None:
        counts = cancelled.progress.model_dump(include={"imported", "failed", "skipped"})
        context.telemetry.emit("import.cancelled", import_job=job_id, **counts)

    return await once(cancel, tell)


@router.post(
    "/import-jobs/{job_id}/retry",
    response_model=ImportJob,
    **require(Scope.WRITE, errors=("import_job_not_retryable",)),
)
async def retry_import_job(
    context: Context, once: Idempotent, job_id: str, body: RetryBody | None = None
) -> Response:
    """Retry the failed files of an attachment job. Retry files of connectors one by one."""
    refreshed = [file.model_dump() for file in body.files] if body is not None else []
    require_addresses(context, refreshed)

    def retry(tx: Tx) -> ImportJob:
        _require_attachments(job_queries.get(tx, job_id).source_kind, job_id)
        attachments.retry(
            tx, job_id, [attachments.seal_refreshed(tx, context.box, file) for file in refreshed]
        )
        return _read_job(tx, job_id)

    return await once(retry)


def _require_attachments(source_kind: str, job_id: str) -> None:
    if source_kind != ATTACHMENTS:
        raise ApiError(
            400,
            "import_job_not_retryable",
            f"a retry requires an attachment job; the source of this one is {source_kind!r}",
            f"retry single files: POST /api/v2/import-jobs/{job_id}/files/{{file_id}}/retry",
        )


@router.post(
    "/import-jobs/{job_id}/files/{file_id}/retry",
    status_code=202,
    response_model=Retried,
    **extension("Import a failed or skipped file again", Scope.WRITE),
)
async def retry_import_file(once: Idempotent, job_id: str, file_id: str) -> Response:
    """Forget that the file's object was seen: the next scan imports it in its own job."""
    return await once(lambda tx: _retry(tx, job_id, file_id))


def _retry(tx: Tx, job_id: str, file_id: str) -> Retried:
    found = retrying.retry_file(tx, job_id, file_id)
    when = "the scan that starts now" if found.scanning else "the next scan or one-time job that finds it"
    return Retried(
        job_id=job_id,
        file_id=file_id,
        path=found.file.key,
        status="eligible",
        message=f"the object counts as new again; {when} imports it in its own job",
    )
