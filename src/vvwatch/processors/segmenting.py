"""Processes an item segment by segment: cut, extract, ask, and finally ask about the whole.

Cuts and segment results from before a restart are not made again.
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
"""Segments extracted for each that is asked about at a time."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The result of the item as a whole; `error` is the reason for none."""

    metadata: dict[str, Any]
    metadata_text: str
    warnings: tuple[str, ...] = ()
    error: str | None = None


class Asker(Protocol):
    """What a processor that works by segments adds: how it asks."""

    async def ask_segment(self, item: Item, plan: Plan, extract: Extract) -> Segment:
        """Return the segment's result, which the journal has kept by then.

        A bad answer gives a Segment with `error`. An exception stops the item, but not the calls in flight.
        """
        ...

    async def ask_whole(self, item: Item, plan: Plan, segments: Sequence[Segment]) -> Whole:
        """Return the result of the whole, from all segments in order; some of them may have failed."""
        ...


async def process_by_segments(
    item: Item, cutter: Cutter, wanted: ExtractSettings, asker: Asker, in_flight: int
) -> ProcessingResult:
    """Process the missing parts of `item`, up to `in_flight` segments at a time, and return all segments.

    The item is opened only to be cut or extracted from. The retry of one segment (`item.only`) does not ask about the
    whole again, so the result's metadata are empty; unless no other segment succeeded, because then the whole was
    never asked about. The first error that `asker` raises stops new segments; it is raised after those in flight,
    which may be paid for, have ended. Only Superseded stops them all at once.
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
        pictures=plan.pictures,
    )


async def _load_or_make_plan(item: Item, cutter: Cutter) -> Plan:
    async with item.open() as fd, item.draft_pictures() as draft:
        plan = await cutter.plan(fd, item.settings, lambda _: item.progress(0.0), draft)
    await item.journal.keep_plan(plan)
    return plan


def _missing_ordinals(item: Item, plan: Plan, kept: dict[int, Segment]) -> list[int]:
    if item.only is None:
        return [ordinal for ordinal in range(len(plan.spans)) if ordinal not in kept]
    if item.only >= len(plan.spans):
        raise ProcessorRefused(
            f"there is no segment {item.only} any more: the media has {len(plan.spans)}",
            "Run the prompt on the media again.",
        )
    return [item.only]


def _is_whole_wanted(item: Item, kept: dict[int, Segment]) -> bool:
    good = {ordinal for ordinal, segment in kept.items() if segment.error is None}
    was_asked = item.only is not None and bool(good - {item.only})
    return item.prompt.video_level is not None and bool(good) and not was_asked


@dataclass(slots=True)
class _Round:
    """The segments that are asked about now; their results join those that were `kept`."""

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
    """The source of the segments to ask about."""

    def __aiter__(self) -> AsyncIterator[Extract]: ...

    async def release(self, extract: Extract) -> None: ...


@dataclass(frozen=True, slots=True)
class _EmptyExtracts:
    """Segments without extracted files."""

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
