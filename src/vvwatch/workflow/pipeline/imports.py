"""Import: verify and probe each file of a job; it becomes media, a failed file or a skipped file."""

from __future__ import annotations

from dataclasses import replace

from vvwatch.core.facts import wants_sidecar
from vvwatch.core.imports import FileStatus
from vvwatch.core.media import Probe
from vvwatch.core.versions import is_same_version
from vvwatch.errors import MachineShortage, MediaError, ObjectArchived, ObjectChanged, ObjectNotFound
from vvwatch.ports import Job, Storage
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Database
from vvwatch.store.imports import imports
from vvwatch.store.imports.imports import FileOutcome, FileWork
from vvwatch.store.models.imports import ImportFile, ImportJob
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.attachments import Attachments
from vvwatch.workflow.pipeline.facts import gather_facts
from vvwatch.workflow.pipeline.reading import Attempt, Judgement, Reading, to_known_error


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
        work = await self._database.read(imports.begin_file, job)
        if work is None:
            return
        started = self._reading.clock.monotonic()
        try:
            if self._attachments is not None and await self._attachments.fetch(job, work):
                return
            outcome = await self._probe(work)
        except Exception as failure:  # noqa: BLE001  # one file must not hold up its job for ever
            judgement = await self._reading.judge_failure(
                to_known_error(job, failure), _to_attempt(work, started)
            )
            if judgement.again_at is not None:
                await self._try_again(job, work, judgement, judgement.again_at)
                return
            outcome = self._to_failure(judgement)
        end = await self._database.write(imports.finish_file, job, outcome)
        self._announce(work, outcome, end)
        await self._clear(work, end)

    async def _clear(self, work: FileWork, end: imports.FileEnd | None) -> None:
        """Remove refused uploads once the last file of their job has ended."""
        if self._attachments is None or end is None or end.job_status is None:
            return
        if (end.failed or end.skipped) and catalog.is_uploads(work.job.connector_id):
            await self._attachments.clear(end.job_id)

    async def _try_again(self, job: Job, work: FileWork, judgement: Judgement, at: float) -> None:
        error = judgement.error
        args = at, error.message, judgement.failures, judgement.since
        waits_for = error.code if judgement.waits else None
        await self._database.write(imports.retry_file, job, *args, waits_for=waits_for)
        if isinstance(error, MachineShortage):
            self._telemetry.emit("machine.shortage", reason=error.code, error=error)
            return
        self._telemetry.emit(
            "import.file_retried",
            import_job=work.job.id,
            object_key=work.file.key,
            attempt=work.attempt,
            error=error,
        )

    async def _probe(self, work: FileWork) -> FileOutcome:
        storage = await self._reading.storage(work.connector)
        file = work.file
        probe = await self._probe_excerpt(storage, file)
        if probe is None:
            async with storage.descriptor(file.key, file.version) as descriptor:
                probe = await self._reading.prober.probe(descriptor)
        self._reading.note_answer(work.connector)
        if not storage.capabilities.atomic_writes:
            now = await storage.stat(file.key)
            if not is_same_version(now.version, file.version):
                raise ObjectChanged(
                    "it changed while it was read", "its new version is imported automatically"
                )
        note = storage.notes.remark_on(file.key, file.version)
        return await self._add_facts(storage, work, _to_outcome(probe, storage.uri(file.key), note))

    async def _add_facts(self, storage: Storage, work: FileWork, outcome: FileOutcome) -> FileOutcome:
        """Return the outcome with what the automation wants to know about the file."""
        if work.facts is None or outcome.status is not FileStatus.IMPORTED:
            return outcome
        place = work.file.key, work.file.version
        read_at = self._reading.clock.now() if wants_sidecar(work.facts) else None
        known = await gather_facts(self._database, storage, place, work.facts, work.job.source_prefix)
        message = "; ".join(filter(None, [outcome.message, *known.warnings]))
        found = known.found or None
        return replace(outcome, facts=found, message=message or None, sidecar_read_at=read_at)

    async def _probe_excerpt(self, storage: Storage, file: ImportFile) -> Probe | None:
        """Return the probe of an excerpt; None if only the whole file can show it: the excerpt looks damaged."""
        async with storage.excerpt(file.key, file.version) as excerpt:
            try:
                probe = await self._reading.prober.probe(excerpt.descriptor)
            except MediaError:
                if excerpt.whole:
                    raise
                return None
        return probe if excerpt.whole or not probe.damage else None

    @staticmethod
    def _to_failure(judgement: Judgement) -> FileOutcome:
        """Return the outcome: skipped if the version is gone, replaced or archived, else failed."""
        error = judgement.error
        if isinstance(error, ObjectNotFound):
            return FileOutcome(
                FileStatus.SKIPPED, imports.GONE, f"{error.message}: it was deleted before its import"
            )
        if isinstance(error, ObjectChanged | ObjectArchived):
            return FileOutcome(FileStatus.SKIPPED, error.code, error.message)
        return FileOutcome(FileStatus.FAILED, error.code, error.message, patience=judgement.patience)

    def _announce(self, work: FileWork, outcome: FileOutcome, end: imports.FileEnd | None) -> None:
        if end is None:
            return
        fields = {
            "import_job": end.job_id,
            "object_key": work.file.key,
            "reason": outcome.reason or "",
            "message": outcome.message or "",
        }
        self._telemetry.emit("import.file_finished", status=outcome.status.value, **fields)
        if outcome.status is FileStatus.FAILED:
            self._telemetry.emit("import.file_failed", **fields)
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


def _to_outcome(probe: Probe, uri: str, note: str) -> FileOutcome:
    if probe.damage:
        return FileOutcome(FileStatus.FAILED, "media_damaged", "; ".join(probe.damage))
    return FileOutcome(FileStatus.IMPORTED, None, note or None, probe, uri)


def _to_attempt(work: FileWork, started: float) -> Attempt:
    file = work.file
    what = work.connector, file.key, file.version, file
    return Attempt(*what, work.attempt, started, _is_listed(work.job), waits=file.waits)


def _is_listed(job: ImportJob) -> bool:
    """Return whether a listing found what the job imports."""
    return bool(job.automation_id or job.source_kind == "connector")
