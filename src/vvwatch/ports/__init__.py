"""The promises between the floors: what workflows may expect of clocks, storage, sources, engines.

Those of processors stand in `ports.processing`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Protocol

from vvwatch.core.changes import ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import StoreNotes
from vvwatch.errors import MachineShortage


class Clock(Protocol):
    """Time. `now` is wall-clock epoch seconds and may jump; `monotonic` never goes back."""

    def now(self) -> float:
        """Epoch seconds, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a storage can promise."""

    atomic_writes: bool
    """An object is visible only when it is whole. False: objects must settle before they count as complete."""
    start_after: bool = False
    """A listing can begin behind a key."""
    versions_recur: bool = False
    """A version says what an object holds, not when it was made: put again after it went, it has the same one."""
    list_usd: float = 0.0
    """What one request of a listing costs at most by the public price list, in US dollars."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What stands in the store after a write, looked at there."""

    uri: str
    size_bytes: int
    sha256: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A read-only descriptor over an object's bytes; unless `whole`, only its start and its end are filled."""

    descriptor: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Irregularity:
    """What stands in the location and can be no object; `key` is printable, `detail` says the reason for a person."""

    key: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing: at most 1,000 entries, objects and irregularities together; it may have none.

    `calls` is how many requests were made for it and for nothing before: over all pages, those of the listing.
    """

    objects: Sequence[StorageObject]
    irregular: Sequence[Irregularity] = ()
    calls: int = 0


class Storage(Protocol):
    """One connector's location. Raises only errors of `vvwatch.errors.StorageError`."""

    capabilities: Capabilities
    clock_ahead_seconds: float
    """How far the store's clock was ahead of this machine's when it last answered; 0 where they are one clock."""
    notes: StoreNotes

    def uri(self, key: str) -> str:
        """The canonical address of `key`; equal for two connectors that meet at the same object."""
        ...

    def list(
        self,
        prefix: str,
        *,
        recursive: bool,
        after: str = "",
        skips: Callable[[str], bool] | None = None,
    ) -> AsyncIterator[Page]:
        """Pages of the objects whose key starts with `prefix`; non-recursive: direct children only.

        May repeat an object and may miss one that appears meanwhile; never silently stops early: an
        incomplete listing raises. `prefix` may be a whole key. What cannot be an object is on the page's
        `irregular`: the listing goes on. Keys up to `after` are left out where `capabilities.start_after`.
        What lies below a folder whose key (without a slash at its end) `skips` need not be listed.
        """
        ...

    async def stat(self, key: str) -> StorageObject:
        """The object at `key` now. Raises ObjectNotFound, AccessDenied, StorageUnavailable."""
        ...

    async def in_use(self, keys: Sequence[str]) -> Collection[str]:
        """Those of `keys` that a writer visibly holds open or has not filled; none when the store cannot know."""
        ...

    async def restored(self, keys: Sequence[str]) -> Collection[str]:
        """Those of `keys`, listed as archived, that can be read all the same because they were restored."""
        ...

    def descriptor(self, key: str, version: str) -> AbstractAsyncContextManager[int]:
        """A read-only file descriptor over exactly that version's bytes, open for the life of the block.

        Raises ObjectChanged when another version stands there, also at the end of the block when the bytes
        were changed meanwhile; ObjectNotFound when none does; ObjectArchived, ObjectTooLarge, SpoolFull.
        """
        ...

    def excerpt(self, key: str, version: str) -> AbstractAsyncContextManager[Excerpt]:
        """As `descriptor`, of as little as tells what the object is: where bytes travel, its start and its end."""
        ...

    def stream(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Exactly that version's bytes from `start` on, at most `length`, as they come: nothing is kept of them.

        Raises as `descriptor` does before the block begins, and from the iterator when they cannot all be had.
        """
        ...

    async def write(self, key: str, source: Path, *, content_type: str) -> WriteResult:
        """Create `key` with the bytes of `source`, whole or not at all.

        Equal bytes already there count as success; different ones raise ObjectExists.
        """
        ...

    async def delete(self, key: str, version: str) -> None:
        """Remove what `write` has left at `key`. Raises ObjectChanged for any other version; absent is success."""
        ...

    async def check(self, *, read: bool, write_below: str | None) -> None:
        """Prove that the location can be listed and read, and written to below the folder `write_below`.

        None: it need not be written to. Raises what stands in the way, and leaves nothing behind.
        """
        ...

    async def aclose(self) -> None:
        """End every connection; nothing more is asked of the storage."""
        ...


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """The state of a source: `starting`, `healthy`, `degraded` or `failed`, why, and what to do.

    `since` is when it began, in epoch seconds.
    """

    state: str
    reason: str = ""
    hint: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may have changed. `keys` were touched; `rescan` names prefixes to list again ('' is all).

    `objects` were seen as they are, as if listed; `removed` are keys at which nothing stands any more, it is said.
    """

    keys: tuple[str, ...] = ()
    rescan: tuple[str, ...] = ()
    objects: tuple[StorageObject, ...] = ()
    removed: tuple[str, ...] = ()


class Source(Protocol):
    """How a change is learnt of early. Hints may repeat, come late or be lost: listings reconcile."""

    health: SourceHealth

    async def run(self, notify: Callable[[Hint], Awaitable[None]]) -> None:
        """Report hints until cancelled; survives its own failures and says so in `health`."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message tells nothing of this location: `malformed` or `foreign`, in words, and its beginning."""

    reason: str
    detail: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a queue: what it tells, or why it is refused. With neither it needs no answer but deletion.

    `receipt` is what the queue wants back for it, `id` names it each time it comes, `sent_at` is epoch seconds.
    """

    receipt: str
    id: str
    events: tuple[ObjectEvent, ...] = ()
    refusal: Refusal | None = None
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What an examination found: `state` is `ok`, `warning` or `problem`.

    `fix` is the very line (a command, a statement of a policy) that mends it; `repairable`: `repair` does it.
    """

    subject: str
    state: str
    detail: str
    fix: str = ""
    repairable: bool = False


class EventQueue(Protocol):
    """The queue in which a store tells of changes. Raises only errors of `vvwatch.errors.StorageError`."""

    async def receive(self) -> Sequence[Message]:
        """What is there, some of it; after about 20 seconds without a message, none.

        A message that is not acknowledged comes again. Cancelled, it loses none.
        """
        ...

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Delete them. One that cannot be deleted any more comes again, and is no error."""
        ...

    async def release(self, messages: Sequence[Message]) -> None:
        """Leave them to others, at once where the service can."""
        ...

    async def examine(self) -> Sequence[Finding]:
        """Whether events reach this queue, all of them, and whether we may take them; changes nothing."""
        ...

    async def repair(self) -> Sequence[Finding]:
        """Mend what `examine` calls repairable, keeping all else as it is; what is found then."""
        ...

    async def aclose(self) -> None:
        """End every connection; nothing more is asked of the queue."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """What one POST came to. `status_code` None: there was no answer, and `error` says why.

    With a `shortage` of this machine nothing was sent, and the receiver is not to blame.
    """

    status_code: int | None
    body: str
    error: str | None
    duration_seconds: float
    retry_after_seconds: float | None = None
    shortage: MachineShortage | None = None


class Sender(Protocol):
    """Posts to addresses that a user chose: refuses forbidden ones, follows nothing, reads little."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send `body` once. Never raises: what went wrong is in the reply, without secrets."""
        ...


class Kind(StrEnum):
    """The kinds of work; each names the entity that has it to do."""

    SCAN = "scan"
    WINDOW = "window"
    IMPORT_JOB = "import_job"
    IMPORT_FILE = "import_file"
    RUN = "run"
    RUN_ITEM = "run_item"
    SEGMENT_RETRY = "segment_retry"
    EXPORT = "export"
    DELIVERY = "delivery"


class Priority(IntEnum):
    """Which of two due jobs of a queue goes first: the higher one, then the older one."""

    SURPLUS = 0
    """More of what has its share already: the next files of a large import."""
    NORMAL = 1
    MANUAL = 2
    """A person waits for it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work for an entity at one revision; surplus or stale jobs die on the revision fence.

    `queue` is the kind, for run items with `.processor` behind it; `@node` follows when one node must do it.
    """

    kind: Kind
    ref: str
    revision: int
    run_at: float
    attempt: int = 0
    id: int = 0
    queue: str = ""
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Lane:
    """Queues of one kind that share slots: at most `slots` of their jobs run at once in this process."""

    kind: Kind
    queues: tuple[str, ...]
    slots: int


Handler = Callable[[Job], Awaitable[None]]


class Engine(Protocol):
    """Wakes and distributes work: every job put in a committed transaction is handed out at least once."""

    async def setup(self) -> None:
        """Prepare tables; what a dead process held becomes due again."""
        ...

    async def run(self, handlers: Mapping[Kind, Handler], lanes: Sequence[Lane]) -> None:
        """Run due jobs of the lanes' queues until drained or cancelled."""
        ...

    async def prune(self) -> int:
        """Drop what the engine keeps of jobs that ended and nobody needs; returns how many rows."""
        ...

    def drain(self) -> None:
        """Start nothing more; `run` returns when what is under way has ended."""
        ...

    def wake(self) -> None:
        """Look for due work now."""
        ...
