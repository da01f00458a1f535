"""What import and processing share: reading one version of an object, and judging what went wrong.

A store that is away as a whole is waited for, however long. An object that its store does not give while it answers
for others has a bound: then it fails alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio.to_thread

from vvwatch.core.processors import NOBODY, ProcessorNames
from vvwatch.core.retries import Bound, Patience, backoff_seconds
from vvwatch.core.shortages import shortage_in
from vvwatch.core.versions import is_same_version
from vvwatch.errors import (
    AccessDenied,
    MachineShortage,
    MediaError,
    MediaLimit,
    ModelNotConfigured,
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    ObjectUnavailable,
    OnAnotherNode,
    OutsideLocation,
    ProcessorClosing,
    ProcessorPaused,
    ProcessorUnavailable,
    RunStopped,
    StorageError,
    StorageThrottled,
    StorageUnavailable,
    StoreUnavailable,
    Superseded,
    VvwatchError,
)
from vvwatch.ports import Clock, Job, Storage
from vvwatch.ports.processing import Prober, Processor
from vvwatch.store.models.catalog import Connector
from vvwatch.store.models.runs import Run
from vvwatch.workflow.listings import closing
from vvwatch.workflow.pipeline.liveness import Liveness, StoreState

_RETRY_BASE_SECONDS: Final = 2.0
_RETRY_CAP_SECONDS: Final = 300.0
_OBJECT_CAP_SECONDS: Final = 10.0
_LONGEST_WAIT_SECONDS: Final = 3_600.0
_JITTER_SECONDS: Final = 5.0
_UNEXPECTED_ATTEMPTS: Final = 6
_MEND: Final = "declare it in [processors], restart vvwatch, and retry what failed"
_SHORTAGE_CAP_SECONDS: Final = 60.0
_MEMORY_CAP_SECONDS: Final = 300.0
_MEMORY: Final = Bound(attempts=6, seconds=3_600.0)
"""When an item whose process the kernel ends for want of memory again and again is taken for the cause."""
_WAITED_FOR: Final = (ProcessorUnavailable, ProcessorPaused, StoreUnavailable)
_OF_THE_VERSION: Final = (
    ObjectArchived,
    ObjectChanged,
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    OutsideLocation,
)


def to_known_error(job: Job, error: Exception) -> VvwatchError:
    """`error` as one of ours. One that nobody foresaw is raised for the engine to try again, but not for ever.

    Of several that came at once it is the one that says most of what is to be done.
    """
    causes = list(_flatten_causes(error))
    ours = [cause for cause in causes if isinstance(cause, VvwatchError)]
    if len(ours) == len(causes):
        return min(ours, key=_rank_error)
    if (short := shortage_in(error)) is not None:
        return short
    if job.attempt < _UNEXPECTED_ATTEMPTS:
        raise error
    return MediaError(f"{type(error).__name__}: something that vvwatch does not foresee", "look at the log")


def _flatten_causes(error: Exception) -> Iterator[Exception]:
    """What tasks that ran beside each other failed of."""
    if not isinstance(error, ExceptionGroup):
        yield error
        return
    for each in error.exceptions:
        yield from _flatten_causes(each)


def _rank_error(error: VvwatchError) -> int:
    """Who has lost the item may say nothing of it; who has to wait is not to blame it."""
    kinds = Superseded, RunStopped, ProcessorPaused, ProcessorUnavailable, MachineShortage
    return next((rank for rank, kind in enumerate(kinds) if isinstance(error, kind)), len(kinds))


class Blamed(Protocol):
    """How often in a row an object was blamed for a failure, and since when."""

    @property
    def failures(self) -> int: ...
    @property
    def failing_since(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed attempt at a version of an object, begun at `started` (monotonic).

    It is the attempt `number`; `row` counts the failures that the object was blamed for. `is_listed`: a listing
    found it, so that credentials which may not even list are not what they were. `is_planned`: it was made by itself,
    and so is the next, after a longer pause: one failure is enough. `waits` counts the attempts, beside these, that
    ended because the processor was away or this machine was short of something.
    """

    connector: Connector
    key: str
    version: str
    row: Blamed
    number: int
    started: float
    is_listed: bool = True
    is_planned: bool = False
    waits: int = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What comes of a failed attempt: it is tried again at `again_at`, or (None) has failed with `error`.

    `failures` of it, the first at `since`, the object is blamed for. `patience`: what failed is tried again by itself,
    so often. `waits`: the processor or this machine is waited for; that is no failed attempt.
    """

    error: VvwatchError
    again_at: float | None
    failures: int = 0
    since: float | None = None
    patience: Patience | None = None
    waits: bool = False


@dataclass(frozen=True)
class Reading:
    """How media is read: storages by connector row, processors by name, a spool, and how often to try."""

    clock: Clock
    open_storage: Callable[[Connector], Storage]
    prober: Prober
    processors: Mapping[str, Processor]
    max_attempts: int
    sample: Callable[[], float]
    bound: Bound = field(default_factory=Bound)
    patience: Patience = field(default_factory=Patience)
    liveness: Liveness = field(default_factory=Liveness)
    names: ProcessorNames = field(default_factory=ProcessorNames)

    async def storage(self, connector: Connector) -> Storage:
        """The storage of a connector's row; finding out where a folder really lies may block, so not here."""
        return await anyio.to_thread.run_sync(self.open_storage, connector)

    def processor(self, run: Run) -> Processor:
        """Return the processor of a run. Raises ModelNotConfigured where the configuration has it no more."""
        if run.processor in self.processors:
            return self.processors[run.processor]
        there = f"there is: {self.names.choices()}"
        if run.processor == NOBODY:
            model = (run.settings or {}).get("processing_model") or self.names.default
            raise ModelNotConfigured(f"no processor answers to the model {model!r}; {there}", _MEND)
        raise ModelNotConfigured(f"the processor {run.processor!r} left the configuration; {there}", _MEND)

    def gave(self, connector: Connector) -> None:
        """The store of the connector has just given an object."""
        self.liveness.note(connector.id, self.clock.monotonic())

    def again_at(self, error: VvwatchError, attempts: int) -> float | None:
        """When to try again after `attempts` attempts; None when the error is final.

        A storage that is away and a machine that is short are waited for, however long: giving up would lose the
        object.
        """
        waits = isinstance(error, StorageUnavailable | MachineShortage)
        if not error.transient or (attempts >= self.max_attempts and not waits):
            return None
        is_short = isinstance(error, MachineShortage)
        return self._after(error, attempts, _SHORTAGE_CAP_SECONDS if is_short else _RETRY_CAP_SECONDS)

    async def judged(self, error: VvwatchError, attempt: Attempt) -> Judgement:
        """Whose trouble it is: this machine's, the store's, the object's, or the media's; and what is to be done."""
        short = _find_shortage(error)
        if short is not None or isinstance(error, _WAITED_FOR):
            return self._waited_for(short or error, attempt)
        error = await self._held_against_listing(error, attempt)
        if not isinstance(error, StorageError) or isinstance(error, (OnAnotherNode, *_OF_THE_VERSION)):
            return Judgement(error, self.again_at(error, attempt.number))
        if not await self.answers_others(error, attempt):
            again = self._after(error, attempt.number, _RETRY_CAP_SECONDS)
            return Judgement(error, again, attempt.row.failures, attempt.row.failing_since)
        now, failures = self.clock.now(), attempt.row.failures + 1
        since = _failing_since(attempt, now) if attempt.row.failures else now
        if not error.transient:
            return Judgement(error, None, failures, since, self.patience)
        asked = _requested_wait(error)
        reached = attempt.is_planned or self.bound.is_reached(failures, since, now)
        if reached or asked > self.bound.seconds:
            told = f"{error.message}; the store answers for others ({attempt.number} attempts)"
            given_up = ObjectUnavailable(told, "it is tried again by itself")
            return Judgement(given_up, None, failures, since, self.patience.not_before(asked))
        return Judgement(error, self._after(error, failures, _OBJECT_CAP_SECONDS), failures, since)

    def _waited_for(self, error: VvwatchError, attempt: Attempt) -> Judgement:
        if isinstance(error, MachineShortage):
            return self._short(error, attempt)
        return Judgement(error, self._looked_at_again(error, attempt.waits), waits=True)

    def _short(self, error: MachineShortage, attempt: Attempt) -> Judgement:
        """Wait for this machine, and look again soon: a shortage may pass at any time.

        Where memory ran out the item may be the cause. It is given up when the same happens to it for an hour, for it
        may cost others theirs.
        """
        now = self.clock.now()
        since = _failing_since(attempt, now)
        if not error.is_suspect:
            again = self._after(error, attempt.waits, _SHORTAGE_CAP_SECONDS)
            return Judgement(error, again, 0, since, waits=True)
        failures = attempt.row.failures + 1
        if _MEMORY.is_reached(failures, since, now):
            told = f"needs more memory than this machine has: the kernel ended its process {failures} times"
            return Judgement(MediaLimit(told, error.hint), None)
        again = self._after(error, attempt.waits, _MEMORY_CAP_SECONDS)
        return Judgement(error, again, failures, since, waits=True)

    def _after(self, error: VvwatchError, attempts: int, cap_seconds: float) -> float:
        wait = backoff_seconds(
            attempts, base_seconds=_RETRY_BASE_SECONDS, cap_seconds=cap_seconds, sample=self.sample()
        )
        return self.clock.now() + max(wait, _requested_wait(error))

    def _looked_at_again(self, error: VvwatchError, waits: int) -> float:
        """When to ask again a processor that is away or paused: now and then, whatever it asks for."""
        if isinstance(error, ProcessorClosing):
            return self.clock.now()
        asked = _requested_wait(error)
        if isinstance(error, ProcessorPaused) and error.until is not None:
            asked = error.until - self.clock.now() + _JITTER_SECONDS * self.sample()
        usual = backoff_seconds(
            waits, base_seconds=_RETRY_BASE_SECONDS, cap_seconds=_RETRY_CAP_SECONDS, sample=self.sample()
        )
        return self.clock.now() + min(max(usual, asked), _LONGEST_WAIT_SECONDS)

    async def answers_others(self, error: VvwatchError, attempt: Attempt) -> bool:
        """Whether the store answers for others since the attempt began: what it gave tells, else a look does."""
        connector, is_denied = attempt.connector, isinstance(error, AccessDenied)
        if self.liveness.has_answered(connector.id, attempt.started):
            return True
        standing = await self.liveness.standing(
            connector.id,
            attempt.key,
            self.clock.monotonic,
            lambda: self.storage(connector),
            self.sample(),
            reads=not is_denied,
        )
        if standing is StoreState.REFUSES:
            return not (is_denied and attempt.is_listed)
        return standing is StoreState.ANSWERS

    async def _held_against_listing(self, error: VvwatchError, attempt: Attempt) -> VvwatchError:
        """Not there, or another version: unless the store lists just this one, which it then has and does not give."""
        if not isinstance(error, ObjectNotFound | ObjectChanged) or not attempt.version:
            return error
        try:
            storage = await self.storage(attempt.connector)
            async with closing(storage.list(attempt.key, recursive=False)) as pages:
                page = await anext(pages, None)
        except StorageError:
            return error
        there = [obj.version for obj in page.objects if obj.key == attempt.key] if page else []
        if not any(is_same_version(version, attempt.version) for version in there):
            return error
        return StorageUnavailable(f"{error.message}, yet the store lists it", "it is tried again by itself")


def _find_shortage(error: VvwatchError) -> MachineShortage | None:
    """The shortage that the error is, or that led to it; what is said of the media or by a pause stays as it is."""
    return None if isinstance(error, MediaError | ProcessorPaused) else shortage_in(error)


def _failing_since(attempt: Attempt, now: float) -> float:
    return min(attempt.row.failing_since or now, now)


def _requested_wait(error: VvwatchError) -> float:
    """For how many seconds of patience the store asks."""
    if isinstance(error, StorageThrottled | ProcessorUnavailable):
        return error.retry_after_seconds or 0.0
    return 0.0
