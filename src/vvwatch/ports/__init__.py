"""The interfaces between the layers: what workflows expect of clocks, storage, sources, queues and engines.

Those of processors are in `ports.processing`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Protocol

from vvwatch.core.changes import ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.core.store_notes import StoreNotes
from vvwatch.errors import MachineShortage, StorageError


class Clock(Protocol):
    """A clock. `now` is wall-clock epoch seconds and may jump; `monotonic` never goes back."""

    def now(self) -> float:
        """Return epoch seconds, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a storage guarantees."""

    atomic_writes: bool
    """An object becomes visible only when complete. False: objects must settle before they count as complete."""
    start_after: bool = False
    """A listing can begin after a key."""
    versions_recur: bool = False
    """A version depends on content alone: an object that is deleted and written again gets the same version."""
    list_usd: float = 0.0
    """The highest list price of one listing request, in US dollars."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The object that a write left in the storage, read back from there."""

    uri: str
    size_bytes: int
    sha256: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A read-only descriptor over an object's bytes; unless `whole`, only the start and the end are filled."""

    descriptor: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Irregularity:
    """A listed entry that cannot be an object; `key` is printable, `detail` gives the reason for a person."""

    key: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing: at most 1,000 entries, objects and irregularities together; may be empty.

    `calls` counts the requests made for this page alone; the sum over all pages is that of the listing.
    """

    objects: Sequence[StorageObject]
    irregular: Sequence[Irregularity] = ()
    calls: int = 0


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What people stored with an object: its user metadata and its tags, and what could not be read."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Storage(Protocol):
    """One connector's location. Raises only subclasses of `vvwatch.errors.StorageError`."""

    capabilities: Capabilities
    clock_ahead_seconds: float
    """Return how far the store's clock was ahead of ours at its last answer; 0 if they share a clock."""
    notes: StoreNotes

    def uri(self, key: str) -> str:
        """Return the canonical address of `key`; equal for two connectors that reach the same object."""
        ...

    def list(
        self,
        prefix: str,
        *,
        recursive: bool,
        after: str = "",
        skips: Callable[[str], bool] | None = None,
    ) -> AsyncIterator[Page]:
        """Yield pages of the objects whose key starts with `prefix`; non-recursive: direct children only.

        May repeat an object and may miss one that appears meanwhile; never stops early in silence: an incomplete
        listing raises. `prefix` may be a whole key. Entries that cannot be objects are in the page's `irregular` and
        do not stop the listing. Leaves out keys up to `after` if `capabilities.start_after`. May leave out everything
        below a folder whose key (without its final slash) `skips` accepts.
        """
        ...

    async def stat(self, key: str) -> StorageObject:
        """Return the object at `key` now. Raises ObjectNotFound, AccessDenied, StorageUnavailable."""
        ...

    async def facts(self, key: str, version: str) -> ObjectFacts:
        """Return what people stored with the object, in one or two requests; what is denied is a warning.

        Raises ObjectNotFound, ObjectChanged, StorageUnavailable.
        """
        ...

    async def stat_each(self, keys: Sequence[str]) -> Sequence[StorageObject | StorageError]:
        """Return what `stat` would return or raise for each of `keys`, in their order. Raises StorageUnavailable."""
        ...

    async def in_use(self, keys: Sequence[str]) -> Collection[str]:
        """Return those of `keys` that a writer visibly holds open or has not filled; none if the store cannot know."""
        ...

    async def restored(self, keys: Sequence[str]) -> Collection[str]:
        """Return those of `keys`, listed as archived, that are readable because they were restored."""
        ...

    def descriptor(self, key: str, version: str) -> AbstractAsyncContextManager[int]:
        """Open a read-only file descriptor over exactly that version's bytes for the life of the block.

        Raises ObjectChanged if the key holds another version, or if the bytes changed before the block ends;
        ObjectNotFound if it holds none; ObjectArchived, ObjectTooLarge, SpoolFull.
        """
        ...

    def excerpt(self, key: str, version: str) -> AbstractAsyncContextManager[Excerpt]:
        """Open as `descriptor`, but fetch only the start and the end of a remote object."""
        ...

    def stream(
        self, key: str, version: str, start: int = 0, length: int | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Stream exactly that version's bytes from `start` on, at most `length`, and keep none of them.

        Raises as `descriptor` before the block begins, and from the iterator if not all bytes can be read.
        """
        ...

    async def write(self, key: str, source: Path, *, content_type: str) -> WriteResult:
        """Create `key` with the bytes of `source`, whole or not at all; other bytes there raise ObjectExists."""
        ...

    async def replace(self, key: str, source: Path, version: str, *, content_type: str) -> WriteResult:
        """Replace that version in one step, or raise ObjectChanged, ObjectNotFound; equal bytes count as done."""
        ...

    async def delete(self, key: str, version: str) -> None:
        """Remove what `write` left at `key`; absent is success. Raises ObjectChanged for any other version."""
        ...

    async def check(self, *, read: bool, write_below: str | None) -> None:
        """Prove that the location can be listed and read, and written to below the folder `write_below`.

        None: writing is not checked. Raises the obstacle found, and leaves nothing behind.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections; the storage is not used afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """The state of a source: `starting`, `healthy`, `degraded` or `failed`, the reason, and the remedy.

    `since` is when the state began, in epoch seconds.
    """

    state: str
    reason: str = ""
    hint: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may have changed. `keys` were touched; `rescan` names prefixes to list again ('' is all).

    `objects` were read like listed ones; `removed` are keys that are reported to be deleted.
    """

    keys: tuple[str, ...] = ()
    rescan: tuple[str, ...] = ()
    objects: tuple[StorageObject, ...] = ()
    removed: tuple[str, ...] = ()


class Source(Protocol):
    """An early notice of changes. Hints may repeat, come late or be lost: listings reconcile."""

    health: SourceHealth

    async def run(self, notify: Callable[[Hint], Awaitable[None]]) -> None:
        """Report hints until cancelled; survive own failures and show them in `health`."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message concerns no object of this location: `malformed` or `foreign`, the reason, and an excerpt."""

    reason: str
    detail: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a queue: its hint, or its refusal. With neither it only needs to be deleted.

    `receipt` is the token to delete it by, `id` names it at each delivery, `sent_at` is epoch seconds.
    """

    receipt: str
    id: str
    events: tuple[ObjectEvent, ...] = ()
    refusal: Refusal | None = None
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: `state` is `ok`, `warning` or `problem`.

    `fix` is the exact line (a command, a policy statement) that repairs it; `repairable`: `repair` can do it.
    """

    subject: str
    state: str
    detail: str
    fix: str = ""
    repairable: bool = False


class EventQueue(Protocol):
    """The queue of a store's change events. Raises only subclasses of `vvwatch.errors.StorageError`."""

    async def receive(self) -> Sequence[Message]:
        """Return some of the waiting messages; none after about 20 seconds without one.

        The queue delivers a message again unless it is acknowledged. Cancellation loses none.
        """
        ...

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Delete messages. One that can no longer be deleted is delivered again, which is no error."""
        ...

    async def release(self, messages: Sequence[Message]) -> None:
        """Release messages to other consumers, at once if the service can."""
        ...

    async def examine(self) -> Sequence[Finding]:
        """Check that all events reach this queue and that we may read them; changes nothing."""
        ...

    async def repair(self) -> Sequence[Finding]:
        """Repair what `examine` calls repairable, leave all else as it is, and return the new findings."""
        ...

    async def aclose(self) -> None:
        """Close all connections; the queue is not used afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one POST. `status_code` None: there was no answer, and `error` gives the reason.

    With a `shortage` of this machine nothing was sent, and the receiver is not to blame.
    """

    status_code: int | None
    body: str
    error: str | None
    duration_seconds: float
    retry_after_seconds: float | None = None
    shortage: MachineShortage | None = None


class Sender(Protocol):
    """Posts to addresses chosen by users: refuses forbidden ones, follows no redirect, reads little."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send `body` once. Never raises: the reply holds the failure, without secrets."""
        ...


class Kind(StrEnum):
    """The kinds of work; each names the entity that it is done for."""

    SCAN = "scan"
    WINDOW = "window"
    IMPORT_JOB = "import_job"
    IMPORT_FILE = "import_file"
    RUN = "run"
    RUN_ITEM = "run_item"
    SEGMENT_RETRY = "segment_retry"
    FACTS = "facts"
    EXPORT = "export"
    DELIVERY = "delivery"


class Priority(IntEnum):
    """The rank of a job in its queue: the higher goes first, then the older."""

    SURPLUS = 0
    """More work for one that already has its share, such as the next files of a large import."""
    NORMAL = 1
    MANUAL = 2
    """A person is waiting."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work for an entity at one revision; the revision fence drops surplus and stale jobs.

    `queue` is the kind, for run items followed by `.processor`; `@node` is added if only one node may do it.
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
    """Wakes and distributes work: every job of a committed transaction is handed out at least once."""

    async def setup(self) -> None:
        """Prepare tables; jobs that a dead process held become due again."""
        ...

    async def run(self, handlers: Mapping[Kind, Handler], lanes: Sequence[Lane]) -> None:
        """Run due jobs of the lanes' queues until drained or cancelled."""
        ...

    async def prune(self) -> int:
        """Delete the records of jobs that ended and are no longer needed; return how many rows."""
        ...

    def drain(self) -> None:
        """Start no more jobs; `run` returns when those in progress have ended."""
        ...

    def wake(self) -> None:
        """Look for due work now."""
        ...
