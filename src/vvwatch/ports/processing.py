"""The interfaces of processors: their input, their output, and what is durable in between.

A processor works on one media item at a time and never touches the database. Whatever must survive a crash goes
through the item's `Journal`: the cuts, each segment's result, each paid call. A processor that runs again on an item
finds its earlier results there and does only what is missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from vvwatch.core.limits import Ask, Lease
from vvwatch.core.media import Plan, Probe, ProcessingResult, RunSettings, Segment
from vvwatch.core.money import CallStatus, Forecast, Usage, Workload
from vvwatch.core.pictures import PictureContents, PicturePack
from vvwatch.core.processors import ProcessorInfo
from vvwatch.core.transcripts import Transcript
from vvwatch.errors import ProcessorError, ProcessorPaused


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt as a processor needs it."""

    prompt_text: str
    json_schema: Mapping[str, Any]
    video_level: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Call:
    """One paid call that a processor is about to make, or made before a restart.

    `key` is its idempotency key: stored before the call, the same after a crash, never used for another call.
    `answer` is the answer received before a restart; if set, the call must not be made again.
    """

    id: str
    key: str
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class CallIntent:
    """A call that a processor is about to make: for segment `ordinal` (or WHOLE), its purpose and its model.

    `step` counts the answered calls of this purpose for this ordinal: 0 for the first, 1 for one that asks again with
    the errors of the first answer. `variant` names another form of the same request (if the endpoint refused the
    first without charge) and gives the call another key. `estimate` is the most that the call is expected to use;
    budgets are checked against it.
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
    """The durable state of one item's processing. Each method is one atomic transaction.

    Every method raises Superseded when this process no longer owns the item (another replica took it over, the run
    was deleted): stop at once, record nothing. Methods that begin something raise RunStopped when the run was
    cancelled.
    """

    async def plan(self) -> Plan | None:
        """Return the stored cuts; None if there are none yet."""
        ...

    async def keep_plan(self, plan: Plan) -> None:
        """Store the cuts of the item."""
        ...

    async def segments(self) -> Mapping[int, Segment]:
        """Return the segments that have a result, by ordinal; in a retry of one segment, without that one."""
        ...

    async def keep_segment(self, ordinal: int, segment: Segment) -> None:
        """Store the result of one segment and advance the item's progress."""
        ...

    async def begin_call(self, intent: CallIntent) -> Call:
        """Store the intent to make a call, within the budgets, and return its key or its recorded answer.

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
        """Store how a call ended and what it used, in one transaction with the segment result that it gave.

        `answer` is kept until the item ends, so a paid answer is never requested again. A call that ended `failed`
        has no answer and may be made again under the same key.
        """
        ...

    async def note(self, state: Mapping[str, Any]) -> None:
        """Store a small JSON object of the processor's own (ids of work that goes on elsewhere); replaces the last."""
        ...

    async def noted(self) -> Mapping[str, Any]:
        """Return what `note` stored last; empty when nothing was."""
        ...


class Limiter(Protocol):
    """One processor's share of its endpoint's limits: requests and tokens a minute, calls in flight, pauses.

    All replicas that serve the same processor share it.
    """

    def slot(self, tokens: int = 0) -> AbstractAsyncContextManager[None]:
        """Wait for a turn and hold a slot for the life of the block. `tokens`: the most that the call may use.

        Raises ProcessorPaused when a person or a refused key paused the processor.
        """
        ...

    def hold_back(self, seconds: float) -> None:
        """Let no call begin for `seconds`: the endpoint asked for patience (429, Retry-After)."""
        ...

    async def pause(self, error: Exception) -> None:
        """Pause the processor on all replicas until its configuration changes or a person resumes it.

        `error` gives the reason and the remedy.
        """
        ...


class Quota(Protocol):
    """The state of one processor on all nodes: whether it is paused, and which node may call it when.

    `is_shared`: other nodes call it as well, so this one needs a lease.
    """

    is_shared: bool

    async def lease(self, ask: Ask) -> tuple[Lease, ProcessorPaused | None]:
        """Return what this node may use now, and the pause that forbids all calls, if any.

        The slots belong to the node for a few seconds unless it renews the lease. Raises StoreUnavailable.
        """
        ...

    async def give_back(self, ends_at: float | None, unused_seconds: float) -> None:
        """Return the lease; of the stretch that ends at `ends_at`, `unused_seconds` were not used."""
        ...

    async def pause(self, error: Exception) -> None:
        """Pause the processor on all nodes; see `Limiter.pause`."""
        ...

    async def paused(self) -> ProcessorPaused | None:
        """Return why the processor is paused; None when it is not."""
        ...


class PictureDraft(Protocol):
    """A file for the pictures of one item: the pack, written by the process that decodes.

    `fd` reads and writes it. Pictures have at most `width` columns, and the pack `most_bytes`.
    """

    fd: int
    width: int
    most_bytes: int

    async def keep(self, contents: PictureContents) -> PicturePack | None:
        """Make the pack durable, with these contents; None if the disk refuses. Unless kept, it vanishes."""
        ...


@asynccontextmanager
async def draft_nothing() -> AsyncIterator[PictureDraft | None]:
    """Yield no file: no pictures are wanted."""
    yield None


@dataclass(frozen=True, slots=True)
class Item:
    """One media item to process.

    `generation` is empty for the first processing in a run, and names the retry in a retry. `only`: in the retry of
    one segment, its ordinal; all other results stay. `open` opens a read-only descriptor over the item's bytes (it
    may download to the spool first: open only when needed). `duration_seconds` and `probe` come from the import.
    `progress` takes a fraction of 1. `transcript` is what is said in it, None where nobody knows. `draft_pictures`
    opens a file for pictures, if there are to be any.
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
    transcript: Transcript | None = None
    draft_pictures: Callable[[], AbstractAsyncContextManager[PictureDraft | None]] = draft_nothing


class CaptionReader(Protocol):
    """Reads the captions that a media file holds."""

    async def captions(self, fd: int, duration_seconds: float | None) -> Transcript | str:
        """Return what they say, or why there are none.

        Raises MediaError, StorageUnavailable, MachineShortage.
        """
        ...


class Prober(Protocol):
    """Reads a media file's metadata before it is imported."""

    async def probe(self, fd: int) -> Probe:
        """Return the container's metadata.

        Raises MediaUnreadable, MediaLimit, ProcessorCrashed, StorageUnavailable.
        """
        ...


@runtime_checkable
class Examinable(Protocol):
    """A processor that can check its dependencies."""

    async def examine(self) -> tuple[ProcessorError, ...]:
        """Return the problems that keep it from working, each with a remedy."""
        ...


class Processor(Protocol):
    """Reads media. Each call isolates the item: a hostile file harms neither other items nor the daemon."""

    info: ProcessorInfo

    def check_prompt(self, prompt: Prompt) -> None:
        """Raise InvalidInput, with the reason, if this processor cannot fill the prompt's schemas."""
        ...

    def forecast(self, workload: Workload, prompt: Prompt, settings: RunSettings) -> Forecast:
        """Return the expected cost of the workload: calls, tokens and US dollars; no I/O."""
        ...

    async def process(self, item: Item) -> ProcessingResult:
        """Return all of the item's segments (earlier results included) and the result of the whole.

        Raises MediaError for unreadable media, ProcessorUnavailable while the processor is down (the item waits
        without limit), ProcessorPaused, BudgetReached, RunStopped, Superseded; ProcessorRefused when it can never do
        this item. A failed segment does not raise: it is a Segment with an `error`.
        """
        ...

    async def aclose(self) -> None:
        """Close every process and connection; the processor is not used afterwards."""
        ...
