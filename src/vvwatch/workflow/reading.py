"""What import and processing share: reading one version of an object, and judging what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio.to_thread
import sqlalchemy as sa

from vvwatch.core.retries import backoff
from vvwatch.errors import InvalidInput, MediaError, StorageThrottled, StorageUnavailable, VvwatchError
from vvwatch.ports import Clock, Job, Processor, Storage

_RETRY_BASE_SECONDS = 2.0
_RETRY_CAP_SECONDS = 300.0
_UNEXPECTED_ATTEMPTS = 6


def expected(job: Job, error: Exception) -> VvwatchError:
    """`error` as one of ours. One that nobody foresaw is raised for the engine to try again, but not for ever."""
    if isinstance(error, VvwatchError):
        return error
    if job.attempt < _UNEXPECTED_ATTEMPTS:
        raise error
    return MediaError(f"{type(error).__name__}: something that vvwatch does not foresee", "look at the log")


@dataclass(frozen=True)
class Reading:
    """How media is read: storages by connector row, processors by name, a spool, and how often to try."""

    clock: Clock
    open_storage: Callable[[sa.Row[Any]], Storage]
    processors: Mapping[str, Processor]
    default_processor: str
    max_attempts: int
    sample: Callable[[], float]

    async def storage(self, connector: sa.Row[Any]) -> Storage:
        """The storage of a connector's row; finding out where a folder really lies may block, so not here."""
        return await anyio.to_thread.run_sync(self.open_storage, connector)

    def processor(self, name: str | None) -> Processor:
        """The processor of this name, or the default. Raises InvalidInput for an unknown one."""
        wanted = name or self.default_processor
        if wanted not in self.processors:
            known = ", ".join(sorted(self.processors))
            raise InvalidInput(f"no processor {wanted!r} is configured", f"use one of: {known}")
        return self.processors[wanted]

    def again_at(self, error: VvwatchError, attempts: int) -> float | None:
        """When to try again after `attempts` attempts; None when the error is final.

        A storage that is away is waited for, however long: giving up would lose the object.
        """
        waits = isinstance(error, StorageUnavailable)
        if not error.transient or (attempts >= self.max_attempts and not waits):
            return None
        wait = backoff(
            attempts,
            base_seconds=_RETRY_BASE_SECONDS,
            cap_seconds=_RETRY_CAP_SECONDS,
            sample=self.sample(),
        )
        asked = error.retry_after_seconds if isinstance(error, StorageThrottled) else None
        return self.clock.now() + max(wait, asked or 0.0)
