"""The course of one item through the upstream: import, prompt, estimate, run, results.

Each step's outcome is recorded before the next step, and steps that create something have idempotency keys that are
the same after a crash. A restarted process continues where the last one stopped and repeats no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import anyio

from vvwatch.core.identities import WHOLE
from vvwatch.core.media import ProcessingResult
from vvwatch.core.money import CallStatus, Usage
from vvwatch.core.objects import base_name
from vvwatch.errors import ProcessorRefused, ProcessorUnavailable, RunStopped, Superseded, VvwatchError
from vvwatch.ports.processing import Call, CallIntent, Item
from vvwatch.processors.videovector import imports
from vvwatch.processors.videovector.refusals import Lost, unreadable_answer
from vvwatch.processors.videovector.results import RunResults
from vvwatch.processors.videovector.service import Overdue, UpstreamService
from vvwatch.processors.videovector.state import State, read_state, step_key

if TYPE_CHECKING:
    from videovector._types import PromptRun

PURPOSE: Final = "videovector"
_UNDER_WAY: Final = frozenset({"pending", "processing"})
_GOOD: Final = frozenset({"completed", "completed_with_failures"})
_BAD: Final = frozenset({"failed", "cancelled"})
_CANCEL_SECONDS: Final = 20.0
_IMPORTED: Final = 0.2
_RUN: Final = 0.75
_POOR_SECONDS: Final = 300.0
_NO_ESTIMATE: Final = -1.0
_PAY_AGAIN: Final = "retry the item to begin another run, which may have to be paid for"


class Delegation:
    """One item in progress."""

    def __init__(self, item: Item, service: UpstreamService, model: str | None) -> None:
        """`model` is requested from the upstream; None leaves the choice to it."""
        self._item = item
        self._journal = item.journal
        self._service = service
        self._upstream = service.upstream
        self._terms = service.terms
        self._model = model
        self._state = State(item.generation, service.clock.now())
        self._intent: CallIntent | None = None
        self._call: Call | None = None

    async def result(self) -> ProcessingResult:
        """Continue from the recorded state to the end. Raises as `Processor.process`."""
        self._state = await self._resume_state()
        try:
            await self._import()
            await self._ask()
            await self._run_ended()
            results = self._results()
            return await results.store_segments(await results.retry_failures(await results.found()))
        except (RunStopped, Overdue):
            await self._call_off()
            raise

    async def result_of_retry(self, ordinal: int) -> ProcessingResult:
        """Let the upstream process one segment again, and return the item with its new result."""
        self._state = await self._resume_state()
        if self._state.run_id is None:
            raise ProcessorRefused(
                f"nothing is known of a run of {self._upstream.name}", "retry the item as a whole"
            )
        results = self._results()
        found = await results.found()
        if ordinal >= len(found):
            raise unreadable_answer(
                self._upstream.name, "for results", f"{len(found)} segments, none of the number {ordinal}"
            )
        wanted = found[ordinal]
        if wanted.segment.error is not None and not wanted.is_retryable:
            raise ProcessorRefused(f"{self._upstream.name} does not retry it: {wanted.segment.error}")
        if wanted.segment.error is not None:
            await results.retry([(ordinal, wanted)], 0, len(found))
            found = await results.found()
        return await results.result(found)

    def _results(self) -> RunResults:
        return RunResults(self._item, self._service, self._state, self._model or self._service.name)

    async def _resume_state(self) -> State:
        """Return the recorded state. A retry of the item reuses what is still good, so nothing is paid twice."""
        item, now = self._item, self._service.clock.now()
        noted = read_state(await self._journal.noted())
        if noted is None:
            return self._state
        if noted.generation == item.generation or item.only is not None:
            return noted
        if noted.run_id is None:
            return noted.with_run_dropped(item.generation, now) if noted.parts else self._state
        try:
            run = await self._upstream.run(noted.run_id)
        except Lost:
            return self._state
        if run.status.lower() in _BAD:
            return noted.with_run_dropped(item.generation, now)
        return replace(noted, generation=item.generation, since=now)

    async def _note(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        await self._journal.note(self._state.to_fields())

    async def _import(self) -> None:
        """Import the item into the upstream unless it is there."""
        if self._state.parts:
            return
        if self._state.import_job is None:
            await self._note()
            asked = "to import an object"
            await self._note(import_job=self._upstream.checked_id(await self._import_begun(), asked))
        error_message = await self._import_ended(str(self._state.import_job))
        self._state = await imports.add_parts(self._upstream, self._item, self._state, error_message)
        await self._note()
        self._item.progress(_IMPORTED)

    async def _import_begun(self) -> str:
        item, key = self._item, step_key(self._item, "import")
        connector = self._terms.connectors.get(item.connector_id)
        if connector is not None:
            pattern = imports.object_pattern(item.key)
            job = await self._upstream.import_object(connector, self._terms.index_id, item.key, pattern, key)
            return job.job_id
        async with self._service.uploads, item.open() as descriptor:
            with imports.open_upload(descriptor, base_name(item.key)) as file:
                job = await self._upstream.upload(file, item.title, self._terms.index_id, key)
        return job.job_id

    async def _import_ended(self, job_id: str) -> str | None:
        """Wait for the end of the import; return its error message, if any."""
        asked = f"for the import job {job_id!r}"
        async for _ in self._service.turns(self._state.since, f"the import job {job_id!r}"):
            try:
                job = await self._upstream.import_job(job_id)
            except Lost as lost:
                message = f"{self._upstream.name} lost the import job {job_id!r}"
                raise ProcessorRefused(message, "retry the item to import it again") from lost
            status = job.status.lower()
            if job.job_id != job_id:
                raise unreadable_answer(self._upstream.name, asked, f"the import job {job.job_id!r}")
            if status in imports.ENDED:
                return job.error_message
            if status not in imports.UNDER_WAY:
                raise unreadable_answer(self._upstream.name, asked, f"the status {status!r}")
        raise AssertionError  # turns end with an error

    async def _ask(self) -> None:
        """Request the run once, within the budgets, with the prompt as the upstream has it."""
        state, item = self._state, self._item
        prompt_id = state.prompt_id or await self._service.prompts.id_of(item.prompt, item.run_id)
        request = self._request(prompt_id)
        try:
            if state.estimated_mt is None:
                await self._note(prompt_id=prompt_id, estimated_mt=await self._estimate_cost(request))
            estimate = Usage(cost_usd=self._terms.cost_of(self._state.estimate))
            self._intent = CallIntent(WHOLE, PURPOSE, 0, self._model or self._service.name, estimate)
            self._call = call = await self._journal.begin_call(self._intent)
            if self._state.run_id is None:
                await self._note(run_id=call.answer or await self._run_begun(request, call.key))
        except Lost as lost:
            if lost.resource != "prompt":
                raise
            self._service.prompts.forget(prompt_id)
            await self._note(prompt_id=None, estimated_mt=None)
            raise ProcessorUnavailable(f"{lost.message}; the prompt is made again") from lost

    async def _run_begun(self, request: Mapping[str, Any], key: str) -> str:
        """Return the id of the run. Find a run that was requested but not recorded before a crash."""
        if self._state.is_asked:
            known = await self._adopt_run()
            if known is not None:
                return known
        await self._note(is_asked=True)
        return await self._upstream.execute(request, key)

    async def _adopt_run(self) -> str | None:
        try:
            runs = await self._upstream.runs_of(self._state.parts[0].media_id)
        except Lost:
            return None
        ours = (run for run in runs if run.prompt_id == self._state.prompt_id)
        return next((run.run_id for run in ours if run.status.lower() not in _BAD), None)

    def _request(self, prompt_id: str) -> dict[str, Any]:
        settings = self._item.settings
        ids = [part.media_id for part in self._state.parts]
        return {
            "prompt_id": prompt_id,
            "target": {"type": "videos", "video_ids": ids, "index_id": self._terms.index_id},
            "video_segmentation_type": settings.video_segmentation_type,
            "audio_segmentation_type": settings.audio_segmentation_type,
            "video_segment_duration": settings.video_segment_duration,
            "audio_segment_duration": settings.audio_segment_duration,
            "processing_model": self._model,
            "enable_transcription": settings.enable_transcription,
            "enable_image_embedding": settings.enable_image_embedding,
        }

    async def _estimate_cost(self, request: Mapping[str, Any]) -> float:
        """Return the upstream's own estimate; -1 if it makes none. Raises ProcessorUnavailable without balance."""
        try:
            estimate = await self._upstream.estimate(request)
        except Lost as lost:
            if lost.resource:
                raise
            return _NO_ESTIMATE  # it has no such route
        if not estimate.sufficient_balance:
            needed, there = estimate.estimated_mt, estimate.current_balance_mt
            raise ProcessorUnavailable(
                f"the balance at {self._upstream.name} is {there:g}, and {needed:g} are needed",
                "top it up; the item waits",
                _POOR_SECONDS,
            )
        return estimate.estimated_mt

    async def _run_ended(self) -> None:
        """Wait for the end of the run, and record its cost. Raises ProcessorRefused when it failed."""
        run_id = str(self._state.run_id)
        async for turn in self._service.turns(self._state.since, f"the run {run_id!r}"):
            if turn and self._intent is not None:
                await self._journal.begin_call(self._intent)  # raises RunStopped when ours was cancelled
            run = await self._run(run_id)
            status = run.status.lower()
            if status in _GOOD | _BAD:
                break
            if status not in _UNDER_WAY:
                raise unreadable_answer(
                    self._upstream.name, f"for the run {run_id!r}", f"the status {status!r}"
                )
            self._item.progress(_IMPORTED + _RUN * _done_fraction(run))
        if status in _GOOD:
            await self._settle(await self._usage(run), model=run.processing_model)
            return
        why = await self._results().why(run)
        message = f"{self._upstream.name} ended the run {run_id!r} {status}: {why}"
        await self._settle(await self._usage(run), error=message)
        raise ProcessorRefused(message, _PAY_AGAIN)

    async def _run(self, run_id: str) -> PromptRun:
        try:
            run = await self._upstream.run(run_id)
        except Lost as lost:
            message = f"{self._upstream.name} lost the run {run_id!r}"
            await self._settle(self._estimated_usage, error=message)
            raise ProcessorRefused(message, _PAY_AGAIN) from lost
        if run.run_id != run_id:
            raise unreadable_answer(self._upstream.name, f"for the run {run_id!r}", f"the run {run.run_id!r}")
        return run

    async def _usage(self, run: PromptRun) -> Usage:
        """Return what the run used; nothing if a retry continues a run that is in our ledger."""
        return Usage(cost_usd=0.0) if self._state.is_settled else await self._results().usage(run)

    @property
    def _estimated_usage(self) -> Usage:
        return Usage(cost_usd=self._terms.cost_of(self._state.estimate))

    async def _settle(self, usage: Usage, *, error: str | None = None, model: str | None = None) -> None:
        """Record the run's cost once. A failed run ran too, and may have to be paid."""
        call, self._call = self._call, None
        if call is None or call.answer is not None:
            return
        answer = self._state.run_id
        await self._journal.end_call(
            call, CallStatus.COMPLETED, usage, answer=answer, error=error, model=model
        )
        await self._note(is_settled=True)

    async def _call_off(self) -> None:
        """Cancel the run at the upstream if it can be reached: its results are no longer needed."""
        run_id, usage = self._state.run_id, self._estimated_usage
        if run_id is None:
            return
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_CANCEL_SECONDS), suppress(VvwatchError):
                await self._upstream.cancel(run_id, step_key(self._item, "cancel"))
                usage = await self._usage(await self._upstream.run(run_id))
            with suppress(Superseded):
                await self._settle(usage, error="the run was cancelled")


def _done_fraction(run: PromptRun) -> float:
    """Return how much of a run is done, as a fraction."""
    if run.total_segments <= 0:
        return 0.0
    return min(max(run.completed_segments / run.total_segments, 0.0), 1.0)
