"""Import: each file of a job is verified and probed, and becomes media, a failed or a skipped file."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from vvwatch.core.imports import FileStatus
from vvwatch.core.media import Probe
from vvwatch.errors import MediaError, ObjectArchived, ObjectChanged, VvwatchError
from vvwatch.ports import Job, Storage
from vvwatch.store import imports
from vvwatch.store.database import Database
from vvwatch.store.imports import FileOutcome, FileWork
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.attachments import Attachments
from vvwatch.workflow.reading import Reading, expected


class Imports:
    """Imports files."""

    def __init__(
        self,
        database: Database,
        telemetry: Telemetry,
        reading: Reading,
        attachments: Attachments | None = None,
    ) -> None:
        self._database = database
        self._telemetry = telemetry
        self._reading = reading
        self._attachments = attachments

    async def file(self, job: Job) -> None:
        """Handle one file of an import job."""
        work = await self._database.write(imports.begin_file, job)
        if work is None:
            return
        try:
            if self._attachments is not None and await self._attachments.fetched(job, work):
                return
            outcome = await self._probed(work)
        except Exception as failure:  # noqa: BLE001  # one file's trouble must not hold up its job for ever
            error = expected(job, failure)
            again = self._reading.again_at(error, work.file.attempts)
            if again is not None:
                await self._database.write(imports.retry_file, job, again, error.message)
                self._telemetry.emit(
                    "import.file_retried",
                    import_job=work.job.id,
                    object_key=work.file.key,
                    attempt=work.file.attempts,
                    error=error,
                )
                return
            outcome = _failure(error)
        self._announce(work, outcome, await self._database.write(imports.finish_file, job, outcome))

    async def _probed(self, work: FileWork) -> FileOutcome:
        storage = await self._reading.storage(work.connector)
        file = work.file
        probe = await self._sketched(storage, file)
        if probe is None:
            async with storage.descriptor(file.key, file.version) as descriptor:
                probe = await self._reading.processor(None).probe(descriptor)
        if not storage.capabilities.atomic_writes:
            now = await storage.stat(file.key)
            if now.version != file.version:
                raise ObjectChanged("it changed while it was read", "its new version is imported by itself")
        return _judged(probe, storage.uri(file.key))

    async def _sketched(self, storage: Storage, file: sa.Row[Any]) -> Probe | None:
        """The probe of an excerpt; None when only the whole can tell, as of whatever looks damaged with gaps."""
        async with storage.excerpt(file.key, file.version) as excerpt:
            try:
                probe = await self._reading.processor(None).probe(excerpt.descriptor)
            except MediaError:
                if excerpt.whole:
                    raise
                return None
        return probe if excerpt.whole or not probe.damage else None

    def _announce(self, work: FileWork, outcome: FileOutcome, end: imports.FileEnd | None) -> None:
        if end is None:
            return
        self._telemetry.emit(
            "import.file_finished",
            import_job=end.job_id,
            object_key=work.file.key,
            status=outcome.status.value,
            reason=outcome.reason or "",
            message=outcome.message or "",
        )
        if end.job_status is not None:
            self._telemetry.emit(
                "import.finished",
                import_job=end.job_id,
                automation=work.job.automation_id or "",
                status=end.job_status.value,
                imported=end.imported,
                failed=end.failed,
                skipped=end.skipped,
            )
        if end.run_id is not None:
            self._telemetry.emit("run.started", run=end.run_id, import_job=end.job_id, items=end.imported)


def _judged(probe: Probe, uri: str) -> FileOutcome:
    if probe.damage:
        return FileOutcome(FileStatus.FAILED, "media_damaged", "; ".join(probe.damage))
    return FileOutcome(FileStatus.IMPORTED, probe=probe, uri=uri)


def _failure(error: VvwatchError) -> FileOutcome:
    """A version that was replaced or has to be restored first is skipped, for it comes again; anything else failed."""
    again = isinstance(error, ObjectChanged | ObjectArchived)
    status = FileStatus.SKIPPED if again else FileStatus.FAILED
    return FileOutcome(status, error.code, error.message)
