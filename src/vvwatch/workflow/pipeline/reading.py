"""Shared by import and processing: read one version of an object, and judge its failures.

vvwatch waits for an unreachable store, however long. An object that its store does not deliver, while it delivers
others, fails alone after a limit.
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
"""The limit after which an item whose process the kernel kills for lack of memory counts as the cause."""
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
    """Return `error` as one of ours. Raise an unexpected one for the engine to retry, a limited number of times.

    Of several errors it is the one that says most about what to do.
    """
    causes = list(_flatten_causes(error))
    ours = [cause for cause in causes if isinstance(cause, VvwatchError)]
    if len(ours) == len(causes):
        return min(ours, key=_rank_error)
    if (short := shortage_in(error)) is not None:
        return short
    if job.attempt < _UNEXPECTED_ATTEMPTS:
        raise error
    return MediaError(f"{type(error).__name__}: an unexpected error", "look at the log")


def _flatten_causes(error: Exception) -> Iterator[Exception]:
    """Yield the errors of parallel tasks."""
    if not isinstance(error, ExceptionGroup):
        yield error
        return
    for each in error.exceptions:
        yield from _flatten_causes(each)


def _rank_error(error: VvwatchError) -> int:
    """Rank errors: a lost item comes first, then a wait, which must not count against the item."""
    kinds = Superseded, RunStopped, ProcessorPaused, ProcessorUnavailable, MachineShortage
    return next((rank for rank, kind in enumerate(kinds) if isinstance(error, kind)), len(kinds))


class Blamed(Protocol):
    """The consecutive failures attributed to an object, and the time of the first."""

    @property
    def failures(self) -> int: ...
    @property
    def failing_since(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed attempt at a version of an object, begun at `started` (monotonic).

    It is the attempt `number`; `row` counts the failures attributed to the object. `is_listed`: a listing
    found it, so credentials that may not even list have changed. `is_planned`: it is an automatic retry, and so is the
    next one, after a longer pause: one failure is enough. `waits` counts the other attempts, which
    ended because the processor was unreachable or this machine was short of something.
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
    """The consequence of a failed attempt: a retry at `again_at`, or (None) the failure with `error`.

    `failures`, the first at `since`, are attributed to the object. `patience`: what failed is retried automatically,
    this often. `waits`: it waits for the processor or this machine, which is no failed attempt.
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
        """Open the storage of a connector's row in a thread, because resolving a folder's path may block."""
        return await anyio.to_thread.run_sync(self.open_storage, connector)

    def processor(self, run: Run) -> Processor:
        """Return the processor of a run. Raises ModelNotConfigured if the configuration no longer has it."""
        if run.processor in self.processors:
            return self.processors[run.processor]
        there = f"there is: {self.names.choices()}"
        if run.processor == NOBODY:
            model = (run.settings or {}).get("processing_model") or self.names.default
            raise ModelNotConfigured(f"no processor answers to the model {model!r}; {there}", _MEND)
        raise ModelNotConfigured(
            f"the processor {run.processor!r} is no longer in the configuration; {there}", _MEND
        )

    def note_answer(self, connector: Connector) -> None:
        """Note that the store of the connector has just delivered an object."""
        self.liveness.note(connector.id, self.clock.monotonic())

    def again_at(self, error: VvwatchError, attempts: int) -> float | None:
        """Return when to try again after `attempts` attempts; None if the error is final.

        It waits for an unreachable storage and for a machine with a shortage, however long: giving up would lose the
        object.
        """
        waits = isinstance(error, StorageUnavailable | MachineShortage)
        if not error.transient or (attempts >= self.max_attempts and not waits):
            return None
        is_short = isinstance(error, MachineShortage)
        return self._choose_retry_time(
            error, attempts, _SHORTAGE_CAP_SECONDS if is_short else _RETRY_CAP_SECONDS
        )

    async def judge_failure(self, error: VvwatchError, attempt: Attempt) -> Judgement:
        """Decide whether this machine, the store, the object or the media failed, and what happens next."""
        short = _find_shortage(error)
        if short is not None or isinstance(error, _WAITED_FOR):
            return self._wait_for(short or error, attempt)
        error = await self._compare_with_listing(error, attempt)
        if not isinstance(error, StorageError) or isinstance(error, (OnAnotherNode, *_OF_THE_VERSION)):
            return Judgement(error, self.again_at(error, attempt.number))
        if not await self.answers_others(error, attempt):
            again = self._choose_retry_time(error, attempt.number, _RETRY_CAP_SECONDS)
            return Judgement(error, again, attempt.row.failures, attempt.row.failing_since)
        now, failures = self.clock.now(), attempt.row.failures + 1
        since = _failing_since(attempt, now) if attempt.row.failures else now
        if not error.transient:
            return Judgement(error, None, failures, since, self.patience)
        asked = _requested_wait(error)
        reached = attempt.is_planned or self.bound.is_reached(failures, since, now)
        if reached or asked > self.bound.seconds:
            message = f"{error.message}; the store delivers others ({attempt.number} attempts)"
            given_up = ObjectUnavailable(message, "it is tried again automatically")
            return Judgement(given_up, None, failures, since, self.patience.not_before(asked))
        return Judgement(
            error, self._choose_retry_time(error, failures, _OBJECT_CAP_SECONDS), failures, since
        )

    def _wait_for(self, error: VvwatchError, attempt: Attempt) -> Judgement:
        if isinstance(error, MachineShortage):
            return self._wait_for_machine(error, attempt)
        return Judgement(error, self._choose_next_look(error, attempt.waits), waits=True)

    def _wait_for_machine(self, error: MachineShortage, attempt: Attempt) -> Judgement:
        """Wait for this machine, and try again soon: a shortage may end at any time.

        If memory ran out, the item may be the cause. It fails if that repeats for an hour, because it
        may take the memory of others.
        """
        now = self.clock.now()
        since = _failing_since(attempt, now)
        if not error.is_suspect:
            again = self._choose_retry_time(error, attempt.waits, _SHORTAGE_CAP_SECONDS)
            return Judgement(error, again, 0, since, waits=True)
        failures = attempt.row.failures + 1
        if _MEMORY.is_reached(failures, since, now):
            message = (
                f"needs more memory than this machine has: the kernel ended its process {failures} times"
            )
            return Judgement(MediaLimit(message, error.hint), None)
        again = self._choose_retry_time(error, attempt.waits, _MEMORY_CAP_SECONDS)
        return Judgement(error, again, failures, since, waits=True)

    def _choose_retry_time(self, error: VvwatchError, attempts: int, cap_seconds: float) -> float:
        wait = backoff_seconds(
            attempts, base_seconds=_RETRY_BASE_SECONDS, cap_seconds=cap_seconds, sample=self.sample()
        )
        return self.clock.now() + max(wait, _requested_wait(error))

    def _choose_next_look(self, error: VvwatchError, waits: int) -> float:
        """Return when to ask an unreachable or paused processor again: at intervals, whatever it requests."""
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
        """Return whether the store has delivered other objects since the attempt began; check if none is known."""
        connector, is_denied = attempt.connector, isinstance(error, AccessDenied)
        if self.liveness.has_answered(connector.id, attempt.started):
            return True
        state = await self.liveness.find_state(
            connector.id,
            attempt.key,
            self.clock.monotonic,
            lambda: self.storage(connector),
            self.sample(),
            reads=not is_denied,
        )
        if state is StoreState.REFUSES:
            return not (is_denied and attempt.is_listed)
        return state is StoreState.ANSWERS

    async def _compare_with_listing(self, error: VvwatchError, attempt: Attempt) -> VvwatchError:
        """Return the error; if the store still lists the missing version, an error that it does not deliver it."""
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
        return StorageUnavailable(
            f"{error.message}, yet the store lists it", "it is tried again automatically"
        )


def _find_shortage(error: VvwatchError) -> MachineShortage | None:
    """Return the shortage that the error is or that caused it; None for errors of the media and pauses."""
    return None if isinstance(error, MediaError | ProcessorPaused) else shortage_in(error)


def _failing_since(attempt: Attempt, now: float) -> float:
    return min(attempt.row.failing_since or now, now)


def _requested_wait(error: VvwatchError) -> float:
    """Return how many seconds the store or processor asks to wait."""
    if isinstance(error, StorageThrottled | ProcessorUnavailable):
        return error.retry_after_seconds or 0.0
    return 0.0
