"""Prompt runs: send each media item through its processor. Damage is reported, never passed as good."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from functools import partial
from typing import Any

from vvwatch.core.budgets import NO_BUDGETS, Budgets
from vvwatch.core.identities import TRANSCRIPT, WHOLE
from vvwatch.core.media import ProcessingResult, RunSettings
from vvwatch.core.runs import ItemStatus, RunStatus
from vvwatch.errors import BudgetReached, Interrupted, MachineShortage, RunStopped, Superseded, VvwatchError
from vvwatch.ports import Job, Storage
from vvwatch.ports.processing import Examinable, Item, Prompt, draft_nothing
from vvwatch.store.db.database import Database
from vvwatch.store.models.runs import RunItem, SegmentRetry
from vvwatch.store.runs import course, runs, segment_retries, transcript_retries
from vvwatch.store.runs.journal import Owner
from vvwatch.store.runs.runs import ItemEnd, ItemWork
from vvwatch.store.runs.segment_retries import RetryEnd, RetryWork
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.journal import CallLedger, ItemJournal
from vvwatch.workflow.pipeline.pauses import Pauses
from vvwatch.workflow.pipeline.pictures import Pictures
from vvwatch.workflow.pipeline.reading import Attempt, Judgement, Reading, to_known_error
from vvwatch.workflow.pipeline.transcripts import SharedOpening, Transcriber
from vvwatch.workflow.pipeline.writes import write_until_committed

_SETTINGS = tuple(field.name for field in fields(RunSettings))


class Runs:
    """Drives runs from the first item to the last, and processes the items."""

    def __init__(
        self,
        database: Database,
        telemetry: Telemetry,
        reading: Reading,
        budgets: Budgets = NO_BUDGETS,
        pauses: Pauses | None = None,
        transcriber: Transcriber | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self._database = database
        self._ledger = CallLedger(database, telemetry, budgets)
        self._pauses = pauses or Pauses(database, telemetry, {})
        self._telemetry = telemetry
        self._reading = reading
        self._transcriber = transcriber or Transcriber(database)
        self._pictures = pictures

    async def course(self, job: Job) -> None:
        """Take the run's next step: add media or cancel items."""
        end = await self._database.write(course.advance, job)
        if end is not None:
            self._report_end(end.run_id, end.status, end.export_id)

    async def item(self, job: Job) -> None:
        """Process one item of a prompt run."""
        work = await self._database.write(runs.begin_item, job)
        if work is None:
            return
        started = self._reading.clock.monotonic()
        try:
            result = await self._process(job, work)
            end = await write_until_committed(
                self._database, self._reading.clock, runs.finish_item, job, result
            )
        except Exception as failure:  # noqa: BLE001  # one file must not hold up its job for ever
            end = await self._retry_or_fail(job, work, to_known_error(job, failure), started)
        self._announce(work, end, self._reading.clock.monotonic() - started)

    async def _retry_or_fail(
        self, job: Job, work: ItemWork, error: VvwatchError, started: float
    ) -> ItemEnd | None:
        """Retry the item soon, retry it after its run, or fail it."""
        if isinstance(error, Interrupted):
            return await self._end_interrupted(job, error)
        judgement = await self._reading.judge_failure(error, _to_attempt(work, work.item, started))
        error, again = judgement.error, judgement.again_at
        await self._note_pause(work, error)
        if again is None:
            details = error.code, error.message, judgement.patience
            return await self._database.write(runs.fail_item, job, *details)
        counted = error.code, error.message, judgement.failures, judgement.since
        end = await self._database.write(runs.retry_item, job, again, *counted, waits=judgement.waits)
        self._report_trouble(work, judgement, end)
        return end

    async def _end_interrupted(self, job: Job, error: Interrupted) -> ItemEnd | None:
        """End an item of a cancelled run with its finished segments; leave an item of another worker alone."""
        if not isinstance(error, RunStopped):
            return None
        return await write_until_committed(self._database, self._reading.clock, runs.cancel_item, job)

    @property
    def dependencies(self) -> Mapping[str, Examinable]:
        """What items need beside their processors and can check itself, by its name in the configuration."""
        return self._transcriber.dependencies

    async def retry(self, job: Job) -> None:
        """Retry a failed segment, or an item that failed as a whole."""
        begun = await self._database.write(segment_retries.begin, job)
        if not isinstance(begun, RetryWork):
            self._report_retry(begun)
            return
        started = self._reading.clock.monotonic()
        try:
            end = await self._retry_once(job, begun)
        except Exception as failure:  # noqa: BLE001  # as with items
            end = await self._retry_again_or_fail(job, begun, to_known_error(job, failure), started)
        self._report_retry(end)

    async def _retry_once(self, job: Job, begun: RetryWork) -> RetryEnd | None:
        clock, work, retry = self._reading.clock, begun.work, begun.retry
        if retry.ordinal != TRANSCRIPT:
            result = await self._process(job, work, retry)
            return await write_until_committed(self._database, clock, segment_retries.finish, job, result)
        storage = await self._reading.storage(work.connector)
        item = self._build_item(storage, job, work, retry)
        found = await self._transcriber.find_sidecar(item, storage)
        finish = transcript_retries.finish
        return await write_until_committed(self._database, clock, finish, job, begun, found)

    async def _retry_again_or_fail(
        self, job: Job, begun: RetryWork, error: VvwatchError, started: float
    ) -> RetryEnd | None:
        if isinstance(error, Superseded):
            return None
        judgement = await self._reading.judge_failure(error, _to_attempt(begun.work, begun.retry, started))
        error = judgement.error
        await self._note_pause(begun.work, error)
        if judgement.again_at is not None:
            counted = error.message, judgement.failures, judgement.since
            again = segment_retries.retry_later
            await self._database.write(again, job, judgement.again_at, *counted, waits=judgement.waits)
            if isinstance(error, MachineShortage):
                self._telemetry.emit("machine.shortage", reason=error.code, error=error)
            return None
        return await self._database.write(
            segment_retries.fail, job, error.code, error.message, judgement.patience
        )

    async def _note_pause(self, work: ItemWork, error: VvwatchError) -> None:
        if isinstance(error, BudgetReached):
            await self._pauses.note_budget(work.run.processor, work.run.id, error)

    def _report_retry(self, end: RetryEnd | None) -> None:
        if end is None:
            return
        self._telemetry.emit(
            "run.segment_retried", run=end.run_id, retry=end.retry_id, message=end.error or ""
        )
        self._report_end(end.run_id, end.run_status, end.export_id)

    async def _process(self, job: Job, work: ItemWork, retry: SegmentRetry | None = None) -> ProcessingResult:
        if work.paused is not None:
            raise work.paused
        processor = self._reading.processor(work.run)
        storage = await self._reading.storage(work.connector)
        item = self._build_item(storage, job, work, retry)
        processor.check_prompt(item.prompt)
        if processor.info.transcribes or not item.settings.enable_transcription or item.media_type == "image":
            return await processor.process(item)
        async with SharedOpening(item.open) as opening:
            lent = replace(item, open=opening.lend)
            said = await self._transcriber.transcribe(_to_owner(job, work, retry), lent, storage)
            return await processor.process(replace(item, open=opening.open, transcript=said))

    def _build_item(self, storage: Storage, job: Job, work: ItemWork, retry: SegmentRetry | None) -> Item:
        owner = _to_owner(job, work, retry)
        row, preset, prompt = work.media, work.run.settings or {}, work.run.prompt
        settings = RunSettings(**{name: preset[name] for name in _SETTINGS if preset.get(name) is not None})

        @asynccontextmanager
        async def opened() -> AsyncIterator[int]:
            async with storage.descriptor(row.key, row.version) as descriptor:
                self._reading.note_answer(work.connector)
                yield descriptor

        return Item(
            run_id=work.run.id,
            media_id=row.id,
            generation=owner.generation,
            only=owner.only,
            prompt=Prompt(prompt["prompt_text"], prompt["json_schema"], prompt["video_level"]),
            settings=settings,
            connector_id=work.connector.id,
            key=row.key,
            title=row.title,
            uri=row.uri,
            media_type=row.media_type,
            size_bytes=row.size_bytes,
            duration_seconds=row.duration_seconds,
            probe=row.probe or {},
            journal=ItemJournal(self._ledger, owner),
            open=opened,
            progress=lambda fraction: self._report_progress(work, fraction),
            draft_pictures=partial(self._pictures.draft, work.item.id) if self._pictures else draft_nothing,
        )

    def _report_progress(self, work: ItemWork, fraction: float) -> None:
        self._telemetry.emit(
            "run.item_progressed",
            run=work.run.id,
            media=work.media.id,
            object_key=work.media.key,
            fraction=round(fraction, 3),
        )

    def _report_trouble(self, work: ItemWork, judgement: Judgement, end: ItemEnd | None) -> None:
        if end is not None:
            return
        details: dict[str, Any] = {"run": work.run.id, "media": work.media.id, "error": judgement.error}
        if isinstance(judgement.error, MachineShortage):
            self._telemetry.emit("machine.shortage", reason=judgement.error.code, error=judgement.error)
        elif judgement.waits:
            self._telemetry.emit("run.item_waits", processor=work.run.processor, **details)
        else:
            self._telemetry.emit("run.item_retried", attempt=work.item.attempts, **details)

    def _announce(self, work: ItemWork, end: ItemEnd | None, seconds: float) -> None:
        if end is None:
            return
        details = {
            "run": end.run_id,
            "media": work.media.id,
            "object_key": work.media.key,
            "message": end.message or "",
        }
        self._telemetry.emit(
            "run.item_finished", status=end.status.value, duration_seconds=round(seconds, 3), **details
        )
        if end.status is ItemStatus.FAILED:
            self._telemetry.emit("run.item_failed", **details)
        if end.status is ItemStatus.PARTIAL:
            self._telemetry.emit("run.item_partial", **details)
        self._report_end(end.run_id, end.run_status, end.export_id)

    def _report_end(self, run_id: str, status: RunStatus | None, export_id: str | None) -> None:
        if status is not None:
            self._telemetry.emit("run.finished", run=run_id, status=status.value)
        if export_id is not None:
            self._telemetry.emit("export.started", export=export_id, run=run_id)


def _to_attempt(work: ItemWork, counted: RunItem | SegmentRetry, started: float) -> Attempt:
    """Return the attempt; `counted` is the row of the item or of its retry."""
    media = work.media
    is_listed = str(work.run.executed_by).startswith("auto_")
    is_planned = isinstance(counted, SegmentRetry) and counted.tries > 0
    number = counted.attempts - counted.waits
    details = counted, number, started, is_listed, is_planned, counted.waits
    return Attempt(work.connector, media.key, media.version, *details)


def _to_owner(job: Job, work: ItemWork, retry: SegmentRetry | None) -> Owner:
    processor = work.run.processor
    if retry is None:
        return Owner(job, work.run.id, work.item.id, work.media.id, processor, work.item.attempts)
    only = None if retry.ordinal == WHOLE else retry.ordinal
    return Owner(job, work.run.id, work.item.id, work.media.id, processor, retry.attempts, retry.id, only)
