"""Prompt run: each media item goes through its processor; damage is said, never passed as good."""

from __future__ import annotations

from dataclasses import fields

from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.ports import Job, Prompt
from vvwatch.store import runs
from vvwatch.store.database import Database
from vvwatch.store.runs import ItemEnd, ItemWork
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.keeping import kept
from vvwatch.workflow.reading import Reading, expected

_SETTINGS = tuple(field.name for field in fields(RunSettings))


class Runs:
    """Processes run items."""

    def __init__(self, database: Database, telemetry: Telemetry, reading: Reading) -> None:
        self._database = database
        self._telemetry = telemetry
        self._reading = reading

    async def item(self, job: Job) -> None:
        """Handle one item of a prompt run."""
        work = await self._database.write(runs.begin_item, job)
        if work is None:
            return
        started = self._reading.clock.monotonic()
        try:
            result = await self._processed(work)
        except Exception as failure:  # noqa: BLE001  # one file's trouble must not hold up its job for ever
            error = expected(job, failure)
            again = self._reading.again_at(error, work.item.attempts)
            if again is not None:
                await self._database.write(runs.retry_item, job, again, error.message)
                self._telemetry.emit(
                    "run.item_retried",
                    run=work.run.id,
                    media=work.media.id,
                    attempt=work.item.attempts,
                    error=error,
                )
                return
            end = await self._database.write(runs.fail_item, job, error.code, error.message)
        else:
            end = await kept(self._database, self._reading.clock, runs.finish_item, job, result)
        self._announce(work, end, self._reading.clock.monotonic() - started)

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
        if end.run_status is not None:
            self._telemetry.emit("run.finished", run=end.run_id, status=end.run_status.value)
        if end.export_id is not None:
            self._telemetry.emit("export.started", export=end.export_id, run=end.run_id)
