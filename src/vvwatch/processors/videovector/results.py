"""The upstream's results of one item: read, retried where failed, stored, and paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from vvwatch.core.media import Plan, ProcessingResult
from vvwatch.core.money import CallStatus, Usage
from vvwatch.errors import ProcessorRefused
from vvwatch.ports.processing import Call, CallIntent, Item
from vvwatch.processors.videovector.found import Found, merge_segments, merge_wholes, select_failures
from vvwatch.processors.videovector.refusals import Lost, shorten_text
from vvwatch.processors.videovector.service import UpstreamService
from vvwatch.processors.videovector.state import State

if TYPE_CHECKING:
    from videovector._types import PromptRun, PromptRunVideoResult

RETRY_PURPOSE: Final = "videovector.segment"
_MOST_RETRIED: Final = 100
_UNDER_WAY: Final = frozenset({"pending", "processing"})


class RunResults:
    """Reads the results of one run; `state` names the run and its media."""

    def __init__(self, item: Item, service: UpstreamService, state: State, model: str) -> None:
        self._item = item
        self._service = service
        self._upstream = service.upstream
        self._state = state
        self._run_id = str(state.run_id)
        self._model = model

    async def found(self) -> list[Found]:
        """Return all segments, failed ones included. Raises ProcessorRefused when there are none."""
        manifest = await self._upstream.failures(self._run_id)
        schema = self._item.prompt.json_schema
        found = [
            each
            for part in self._state.parts
            for each in merge_segments(
                self._upstream.name,
                part,
                await self._upstream.results(self._run_id, part.media_id),
                select_failures(manifest, part),
                schema,
            )
        ]
        if not found:
            raise ProcessorRefused(f"{self._upstream.name} found no segments in the run {self._run_id!r}")
        return found

    async def why(self, run: PromptRun) -> str:
        """Return why a run failed."""
        if run.error_message:
            return shorten_text(run.error_message)
        manifest = await self._upstream.failures(self._run_id)
        failures = [each for part in self._state.parts for each in select_failures(manifest, part)]
        said = (each.failure_message or each.field_extraction_error for each in failures)
        return shorten_text(next(filter(None, said), "it gives no reason"))

    async def retry_failures(self, found: list[Found]) -> list[Found]:
        """Let the upstream retry its failures, as often as the terms allow; return all segments then."""
        for step in range(self._service.terms.segment_retries):
            failed = [(ordinal, each) for ordinal, each in enumerate(found) if each.is_retryable]
            if not failed:
                break
            await self.retry(failed[:_MOST_RETRIED], step, len(found))
            found = await self.found()
        return found

    async def retry(self, failed: Sequence[tuple[int, Found]], step: int, count: int) -> None:
        """Let the upstream process segments of `count` again at once; return when all have ended, well or not."""
        begun = [(each, *await self._begin_retry(ordinal, each, step, count)) for ordinal, each in failed]
        for each, call, retry_id in begun:
            if retry_id is not None:
                await self._retry_ended(each, call, retry_id)

    async def _begin_retry(
        self, ordinal: int, found: Found, step: int, count: int
    ) -> tuple[Call, str | None]:
        """Return the call and the id of the retry; None if it already ended or was refused."""
        segment, journal = found.segment, self._item.journal
        cost = self._service.terms.cost_of(self._state.share(count))
        times = segment.start_time, segment.end_time
        intent = CallIntent(ordinal, RETRY_PURPOSE, step, self._model, Usage(cost_usd=cost), "", *times)
        call = await journal.begin_call(intent)
        if call.answer is not None:
            return call, None
        try:
            identity = self._run_id, found.part.media_id, found.segment_id
            return call, await self._upstream.retry(*identity, call.key)
        except ProcessorRefused as refused:
            await journal.end_call(call, CallStatus.FAILED, Usage(cost_usd=0.0), error=refused.message)
            return call, None

    async def _retry_ended(self, found: Found, call: Call, retry_id: str) -> None:
        identity = self._run_id, found.part.media_id, found.segment_id, retry_id
        what = f"the retry {retry_id!r}"
        async for _ in self._service.turns(self._service.clock.now(), what):
            status, error, units = await self._upstream.retry_standing(*identity)
            if status.lower() not in _UNDER_WAY:
                break
        usage = Usage(cost_usd=self._service.terms.cost_of(units))
        message = shorten_text(error) if error else None
        await self._item.journal.end_call(call, CallStatus.COMPLETED, usage, answer=status, error=message)

    async def store_segments(self, found: Sequence[Found]) -> ProcessingResult:
        """Store the segments, and return them with the result of the whole."""
        journal = self._item.journal
        if await journal.plan() is None:
            await journal.keep_plan(
                Plan(tuple((each.segment.start_time, each.segment.end_time) for each in found))
            )
        done = await journal.segments()
        for ordinal, each in enumerate(found):
            if ordinal not in done and each.segment.error is None:
                await journal.keep_segment(ordinal, each.segment)
        return await self.result(found)

    async def result(self, found: Sequence[Found]) -> ProcessingResult:
        """Return the result of the item."""
        level = self._item.prompt.video_level or {}
        answers = [(part, await self._whole(part.media_id)) for part in self._state.parts]
        whole = merge_wholes(answers, level.get("json_schema") or {})
        lost = self._state.lost_parts
        damage = (f"{self._upstream.name} could not import {lost} of its parts",) if lost else ()
        segments = tuple(each.segment for each in found)
        unasked = (whole.error,) if whole.error and not level else ()
        return ProcessingResult(
            segments,
            whole.metadata,
            whole.metadata_text,
            damage,
            (*whole.warnings, *unasked),
            whole_error=whole.error if level else None,
        )

    async def _whole(self, media_id: str) -> PromptRunVideoResult | None:
        try:
            return await self._upstream.whole(self._run_id, media_id)
        except Lost:
            return None

    async def usage(self, run: PromptRun) -> Usage:
        """Return a run's usage: its final figure, else its estimate, and the tokens of the model's calls."""
        units = run.billing_actual_mt or self._state.estimate
        try:
            calls = await self._upstream.llm_calls(self._run_id)
        except ProcessorRefused:
            calls = ()
        tokens = sum(call.input_tokens for call in calls), sum(call.output_tokens for call in calls)
        return Usage(*tokens, self._service.terms.cost_of(units))
