"""How an item is worked on segment by segment: cut, extract, ask, and look at the whole in the end.

What an earlier life did is not done again: the cuts, and the segments that have a result.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import anyio
from anyio.abc import TaskGroup

from vvwatch.core.media import Plan, ProcessingResult, Segment
from vvwatch.errors import ProcessorRefused, Superseded, VvwatchError
from vvwatch.ports.processing import Item
from vvwatch.processors.media.cutting import Cutter, Extract, ExtractSettings

_AHEAD: Final = 2
"""So many segments are extracted for each that is asked for at a time."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What is said of the item as a whole; `error` is why nothing is."""

    metadata: dict[str, Any]
    metadata_text: str
    warnings: tuple[str, ...] = ()
    error: str | None = None


class Asker(Protocol):
    """What a processor that works by segments adds: whom it asks."""

    async def ask_segment(self, item: Item, plan: Plan, extract: Extract) -> Segment:
        """Return the segment's result; the journal has kept it when this returns.

        An answer that is no good is a Segment with `error`. What is raised stops the item, not the others in flight.
        """
        ...

    async def ask_whole(self, item: Item, plan: Plan, segments: Sequence[Segment]) -> Whole:
        """Return what is said of the whole, by all segments in order; some of them may have failed."""
        ...


async def process_by_segments(
    item: Item, cutter: Cutter, wanted: ExtractSettings, asker: Asker, in_flight: int
) -> ProcessingResult:
    """Work on what is missing of `item`, up to `in_flight` segments at a time, and return all of its segments.

    The item is opened only to be cut and where something is to be extracted. In the retry of one segment
    (`item.only`) the whole is not asked about again, so that the metadata of the result are empty, unless no other
    segment was good: then nobody has asked yet. The first error that `asker` raises stops new segments; those in
    flight are waited for, as they may be paid for, and then it is raised. Only Superseded stops them all at once.
    """
    plan = await item.journal.plan() or await _load_or_make_plan(item, cutter)
    kept = dict(await item.journal.segments())
    missing = _missing_ordinals(item, plan, kept)
    if missing:
        source = _open_extracts(item, plan, cutter, missing, wanted, _AHEAD * in_flight)
        await _Round(item, plan, asker, kept, anyio.Semaphore(in_flight)).run(source)
    segments = tuple(segment for _, segment in sorted(kept.items()))
    whole = Whole({}, "")
    if _is_whole_wanted(item, kept):
        whole = await asker.ask_whole(item, plan, segments)
    item.progress(1.0)
    return ProcessingResult(
        segments=segments,
        metadata=whole.metadata,
        metadata_text=whole.metadata_text,
        damage=plan.damage,
        warnings=(*plan.warnings, *whole.warnings),
        probe=plan.probe,
        whole_error=whole.error,
    )


async def _load_or_make_plan(item: Item, cutter: Cutter) -> Plan:
    async with item.open() as fd:
        plan = await cutter.plan(fd, item.settings, lambda _: item.progress(0.0))
    await item.journal.keep_plan(plan)
    return plan


def _missing_ordinals(item: Item, plan: Plan, kept: dict[int, Segment]) -> list[int]:
    if item.only is None:
        return [ordinal for ordinal in range(len(plan.spans)) if ordinal not in kept]
    if item.only >= len(plan.spans):
        raise ProcessorRefused(
            f"there is no segment {item.only} any more: the media has {len(plan.spans)}",
            "Run the prompt on the media anew.",
        )
    return [item.only]


def _is_whole_wanted(item: Item, kept: dict[int, Segment]) -> bool:
    good = {ordinal for ordinal, segment in kept.items() if segment.error is None}
    was_asked = item.only is not None and bool(good - {item.only})
    return item.prompt.video_level is not None and bool(good) and not was_asked


@dataclass(slots=True)
class _Round:
    """The segments that are worked on in this life; their results join those that were `kept`."""

    item: Item
    plan: Plan
    asker: Asker
    kept: dict[int, Segment]
    turns: anyio.Semaphore
    beginning: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    failure: VvwatchError | None = None

    async def run(self, source: AbstractAsyncContextManager[_Source]) -> None:
        async with source as extracts:
            try:
                async with anyio.create_task_group() as tasks:
                    with self.beginning:
                        await self._begin(tasks, extracts)
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None
        if self.failure is not None:
            raise self.failure

    async def _begin(self, tasks: TaskGroup, extracts: _Source) -> None:
        await self.turns.acquire()
        try:
            async for extract in extracts:
                tasks.start_soon(self._ask, extract, extracts)
                await self.turns.acquire()
        except VvwatchError as error:
            self._stop(error)

    async def _ask(self, extract: Extract, extracts: _Source) -> None:
        try:
            self.kept[extract.ordinal] = await self.asker.ask_segment(self.item, self.plan, extract)
        except Superseded:
            raise
        except VvwatchError as error:
            self._stop(error)
            return
        self.item.progress(len(self.kept) / len(self.plan.spans))
        await extracts.release(extract)
        self.turns.release()

    def _stop(self, error: VvwatchError) -> None:
        if self.failure is None:
            self.failure = error
        self.beginning.cancel()


class _Source(Protocol):
    """Where the segments to ask about come from."""

    def __aiter__(self) -> AsyncIterator[Extract]: ...

    async def release(self, extract: Extract) -> None: ...


@dataclass(frozen=True, slots=True)
class _EmptyExtracts:
    """Segments of which nothing is extracted."""

    plan: Plan
    missing: Sequence[int]

    async def __aiter__(self) -> AsyncIterator[Extract]:
        for ordinal in self.missing:
            yield Extract(ordinal, *self.plan.spans[ordinal])

    async def release(self, extract: Extract) -> None:
        """Do nothing: there are no files."""


@asynccontextmanager
async def _open_extracts(
    item: Item, plan: Plan, cutter: Cutter, missing: Sequence[int], wanted: ExtractSettings, ahead: int
) -> AsyncIterator[_Source]:
    wanted = _extractable_settings(item, plan, wanted)
    if not wanted.frames and not wanted.sound:
        yield _EmptyExtracts(plan, missing)
        return
    spans = {ordinal: plan.spans[ordinal] for ordinal in missing}
    async with (
        item.open() as fd,
        cutter.extract(
            fd, spans, wanted, shots=plan.shots, sound_track=plan.sound_track, ahead=ahead
        ) as extracts,
    ):
        yield extracts


def _extractable_settings(item: Item, plan: Plan, wanted: ExtractSettings) -> ExtractSettings:
    media_type = plan.probe.media_type if plan.probe else item.media_type
    return replace(
        wanted,
        frames=0 if media_type == "audio" else wanted.frames,
        sound=wanted.sound and media_type != "image",
    )
