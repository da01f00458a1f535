"""The promises of processors: what they are given, what they give back, and what is durable on the way.

A processor works on one media item at a time and never touches the database. What must survive a crash goes through
the `Journal` that comes with the item: the cuts, each segment's result, each paid call. A processor that is run again
on an item finds there what it had, and does only what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from vvwatch.core.limits import Ask, Lease
from vvwatch.core.media import Plan, Probe, ProcessingResult, RunSettings, Segment
from vvwatch.core.money import CallStatus, Forecast, Usage, Workload
from vvwatch.core.processors import ProcessorInfo
from vvwatch.errors import ProcessorError, ProcessorPaused


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt as a processor needs it."""

    prompt_text: str
    json_schema: Mapping[str, Any]
    video_level: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Call:
    """One paid call that a processor is about to make, or made in an earlier life.

    `key` is its idempotency key: stored before the call, the same after a crash, never used for another call.
    `answer` is what an earlier life was answered; then the call must not be made again.
    """

    id: str
    key: str
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class CallIntent:
    """What a processor is about to ask: for segment `ordinal` (or WHOLE), with which purpose, to which model.

    `step` counts the answered calls of this purpose for this ordinal: 0 for the first, 1 for a second one that asks
    again with the errors of the first answer. `variant` names another form of the same request (a rung of a ladder
    that the endpoint refused without charge); it gives the call another key. `estimate` is what the call will use at
    most, as far as is known: budgets are held against it.
    """

    ordinal: int
    purpose: str
    step: int
    model: str
    estimate: Usage
    variant: str = ""
    start_time: float | None = None
    end_time: float | None = None


class Journal(Protocol):
    """What is durable of the processing of one item. Each call is one transaction, all or nothing.

    Every method raises Superseded when the item is no longer this process's to work on (another replica took it
    over, the run was deleted): stop at once, record nothing. Those that begin something raise RunStopped when the
    run was cancelled.
    """

    async def plan(self) -> Plan | None:
        """Return the cuts that an earlier life planned; None when there are none yet."""
        ...

    async def keep_plan(self, plan: Plan) -> None:
        """Store the cuts of the item."""
        ...

    async def segments(self) -> Mapping[int, Segment]:
        """Return the segments that have a result, by ordinal; in a retry of one segment, without that one."""
        ...

    async def keep_segment(self, ordinal: int, segment: Segment) -> None:
        """Store the result of one segment; the item's progress moves on."""
        ...

    async def begin_call(self, intent: CallIntent) -> Call:
        """Store that a call is about to be made, within the budgets, and return its key or its recorded answer.

        Raises BudgetReached when the estimate does not fit, ProcessorPaused while the processor is paused.
        """
        ...

    async def end_call(
        self,
        call: Call,
        status: CallStatus,
        usage: Usage,
        *,
        answer: str | None = None,
        error: str | None = None,
        model: str | None = None,
        segment: tuple[int, Segment] | None = None,
    ) -> None:
        """Store how a call ended, what it used, and in the same transaction the segment result that came of it.

        `answer` is kept until the item ends, so that an answer that was paid for is never asked for again. A call
        that ended `failed` was not answered and may be made again under the same key.
        """
        ...

    async def note(self, state: Mapping[str, Any]) -> None:
        """Store a small JSON object of the processor's own (ids of work that goes on elsewhere); replaces the last."""
        ...

    async def noted(self) -> Mapping[str, Any]:
        """Return what `note` stored last; empty when nothing was."""
        ...


class Limiter(Protocol):
    """One processor's share of what its endpoint allows: requests and tokens a minute, calls in flight, pauses.

    All replicas that serve the same processor share it.
    """

    def slot(self, tokens: int = 0) -> AbstractAsyncContextManager[None]:
        """Wait for a turn and hold a slot for the life of the block. `tokens`: how many the call may use.

        Raises ProcessorPaused when the processor was paused by a person or by a refused key.
        """
        ...

    def hold_back(self, seconds: float) -> None:
        """Let nobody begin a call for so long: the endpoint asked for patience (429, Retry-After)."""
        ...

    async def pause(self, error: Exception) -> None:
        """Pause the processor on all replicas until its configuration changes or a person resumes it.

        `error` says why and holds the line that mends it.
        """
        ...


class Quota(Protocol):
    """What all nodes know of one processor: whether it is paused, and who of them may call it when.

    `is_shared`: other nodes call it as well, so that this one needs a lease.
    """

    is_shared: bool

    async def lease(self, ask: Ask) -> tuple[Lease, ProcessorPaused | None]:
        """Return what this node may use from now on, and the pause that forbids all of it, if there is one.

        The slots are its own for a few seconds, unless it asks again. Raises StoreUnavailable.
        """
        ...

    async def give_back(self, ends_at: float | None, unused_seconds: float) -> None:
        """Let others have everything; of the stretch that ends at `ends_at` so many seconds were not used."""
        ...

    async def pause(self, error: Exception) -> None:
        """Pause the processor on all nodes; see `Limiter.pause`."""
        ...

    async def paused(self) -> ProcessorPaused | None:
        """Return why the processor is paused; None when it is not."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One media item to process.

    `generation` is empty for the first processing in a run, and names the retry in a retry. `only`: in the retry of
    one segment, its ordinal; all other results stand. `open` opens a read-only descriptor over the item's bytes (it
    may travel to the spool first, so do not open it before you need it). `duration_seconds` and `probe` are what the
    import found. `progress` takes a fraction of 1.
    """

    run_id: str
    media_id: str
    generation: str
    only: int | None
    prompt: Prompt
    settings: RunSettings
    connector_id: str
    key: str
    title: str
    uri: str
    media_type: str
    size_bytes: int
    duration_seconds: float | None
    probe: Mapping[str, Any]
    journal: Journal
    open: Callable[[], AbstractAsyncContextManager[int]]
    progress: Callable[[float], None]


class Prober(Protocol):
    """Who looks at a media file before it is imported."""

    async def probe(self, fd: int) -> Probe:
        """Return what the container says.

        Raises MediaUnreadable, MediaLimit, ProcessorCrashed, StorageUnavailable.
        """
        ...


@runtime_checkable
class Examinable(Protocol):
    """A processor that can look at what it depends on."""

    async def examine(self) -> tuple[ProcessorError, ...]:
        """Return what stands in the way of its work, each with what mends it."""
        ...


class Processor(Protocol):
    """Who reads media. Each call isolates the item: a hostile file harms no neighbour and not the daemon."""

    info: ProcessorInfo

    def check_prompt(self, prompt: Prompt) -> None:
        """Raises InvalidInput, saying why, when this processor cannot fill the prompt's schemas."""
        ...

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:
        """Return what such work will cost: calls, tokens and US dollars; no I/O."""
        ...

    async def process(self, item: Item) -> ProcessingResult:
        """Return all of the item's segments (those of earlier lives included) and the result of the whole.

        Raises MediaError for media that cannot be read, ProcessorUnavailable while the processor is away (the item
        waits, however long), ProcessorPaused, BudgetReached, RunStopped, Superseded; ProcessorRefused when it will
        never do this item. A segment that failed is a Segment with an `error`; it does not raise.
        """
        ...

    async def aclose(self) -> None:
        """End every process and connection; nothing more is asked of the processor."""
        ...
