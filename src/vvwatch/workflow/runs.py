"""Prompt run: each media item goes through its processor; damage is said, never passed as good."""

from __future__ import annotations

from dataclasses import fields

from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.runs import RunStatus
from vvwatch.errors import VvwatchError
from vvwatch.ports import Job, Prompt
from vvwatch.store import run_course, runs, segment_retries
from vvwatch.store.database import Database
from vvwatch.store.runs import ItemEnd, ItemWork
from vvwatch.store.segment_retries import RetryEnd, RetryWork
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.keeping import kept
from vvwatch.workflow.reading import Reading, expected

_SETTINGS = tuple(field.name for field in fields(RunSettings))


class Runs:
    """Leads runs from their first item to their last, and processes the items."""

    def __init__(self, database: Database, telemetry: Telemetry, reading: Reading) -> None:
        self._database = database
        self._telemetry = telemetry
        self._reading = reading

    async def course(self, job: Job) -> None:
        """Take a run's next step: its items come in, or are called off."""
        end = await self._database.write(run_course.advance, job)
        if end is not None:
            self._tell_end(end.run_id, end.status, end.export_id)

    async def item(self, job: Job) -> None:
        """Handle one item of a prompt run."""
        work = await self._database.write(runs.begin_item, job)
        if work is None:
            return
        started = self._reading.clock.monotonic()
        try:
            result = await self._processed(work)
            end = await kept(self._database, self._reading.clock, runs.finish_item, job, result)
        except Exception as failure:  # noqa: BLE001  # one file's trouble must not hold up its job for ever
            error = expected(job, failure)
            again = self._reading.again_at(error, work.item.attempts)
            if again is not None:
                end = await self._database.write(runs.retry_item, job, again, error.code, error.message)
                self._tell_trouble(work, error, end)
            else:
                end = await self._database.write(runs.fail_item, job, error.code, error.message)
        self._announce(work, end, self._reading.clock.monotonic() - started)

    async def retry(self, job: Job) -> None:
        """Try a segment again that failed, or an item that failed as a whole."""
        begun = await self._database.write(segment_retries.begin, job)
        if not isinstance(begun, RetryWork):
            self._tell_retry(begun)
            return
        try:
            result = await self._processed(begun.work)
            end = await kept(self._database, self._reading.clock, segment_retries.finish, job, result)
        except Exception as failure:  # noqa: BLE001  # as with items
            error = expected(job, failure)
            again = self._reading.again_at(error, begun.retry.attempts)
            if again is not None:
                await self._database.write(segment_retries.again, job, again, error.message)
                return
            end = await self._database.write(segment_retries.fail, job, error.code, error.message)
        self._tell_retry(end)

    def _tell_retry(self, end: RetryEnd | None) -> None:
        if end is None:
            return
        self._telemetry.emit(
            "run.segment_retried", run=end.run_id, retry=end.retry_id, message=end.error or ""
        )
        self._tell_end(end.run_id, end.run_status, end.export_id)

    async def _processed(self, work: ItemWork) -> ProcessingResult:
        storage = await self._reading.storage(work.connector)
        row = work.media
        preset = work.run.settings or {}
        settings = RunSettings(**{name: preset[name] for name in _SETTINGS if preset.get(name) is not None})
        prompt = Prompt(
            work.run.prompt["prompt_text"], work.run.prompt["json_schema"], work.run.prompt["video_level"]
        )
        processor = self._reading.processor(settings.processing_model)
        processor.check_prompt(prompt)
        async with storage.descriptor(row.key, row.version) as descriptor:
            return await processor.process(
                descriptor, prompt, settings, lambda fraction: self._note(work, fraction)
            )

    def _note(self, work: ItemWork, fraction: float) -> None:
        self._telemetry.emit(
            "run.item_progressed",
            run=work.run.id,
            media=work.media.id,
            object_key=work.media.key,
            fraction=round(fraction, 3),
        )

    def _tell_trouble(self, work: ItemWork, error: VvwatchError, end: ItemEnd | None) -> None:
        if end is None:
            self._telemetry.emit(
                "run.item_retried",
                run=work.run.id,
                media=work.media.id,
                attempt=work.item.attempts,
                error=error,
            )

    def _announce(self, work: ItemWork, end: ItemEnd | None, seconds: float) -> None:
        if end is None:
            return
        self._telemetry.emit(
            "run.item_finished",
            run=end.run_id,
            media=work.media.id,
            object_key=work.media.key,
            status=end.status.value,
            message=end.message or "",
            duration_seconds=round(seconds, 3),
        )
        self._tell_end(end.run_id, end.run_status, end.export_id)

    def _tell_end(self, run_id: str, status: RunStatus | None, export_id: str | None) -> None:
        if status is not None:
            self._telemetry.emit("run.finished", run=run_id, status=status.value)
        if export_id is not None:
            self._telemetry.emit("export.started", export=export_id, run=run_id)
