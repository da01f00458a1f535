"""Make results searchable: by words, those that an earlier version stored; by meaning, all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from vvwatch.core.repeats import Repeats
from vvwatch.errors import ProcessorPaused, StoreUnavailable
from vvwatch.ports import Clock
from vvwatch.processors.embedding.embedder import Embedder
from vvwatch.store.db.database import Database
from vvwatch.store.runs import search_documents, search_vectors
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pacing import write_and_pause

_FIRST_REPEAT_SECONDS: Final = 3_600.0
_LONGEST_REPEAT_SECONDS: Final = 86_400.0
"""Passes are so rare that the usual intervals of the log take each failure for a new one."""


class SearchFiller:
    """Adds missing documents in short transactions, and pauses after each for as long as that took.

    The database knows where it stopped, so the next pass resumes. Several nodes may do this at once.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._stopping = stopping

    async def run(self) -> int:
        """Go through the items that were added since the last pass; return how many. A database error is reported."""
        total = 0
        try:
            while not self._stopping():
                items = await write_and_pause(self._database, self._clock, search_documents.fill_next)
                if not items:
                    break
                total += items
        except StoreUnavailable as error:
            self._telemetry.emit("task.failed", task="search", error=error)
        return total


class VectorFiller:
    """Makes missing vectors, the newest documents first, and pauses after each few for as long as they took."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        telemetry: Telemetry,
        embedder: Embedder,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._telemetry = telemetry
        self._embedder = embedder
        self._stopping = stopping
        self._repeats = Repeats(_FIRST_REPEAT_SECONDS, _LONGEST_REPEAT_SECONDS)

    async def run(self) -> int:
        """Make what is missing; return how many vectors.

        A database error is reported, and a model's: that one once, then at growing intervals while it lasts.
        """
        total, looked_at = 0, 0
        before: int | None = None
        try:
            model = await self._embedder.name()
            while not self._stopping() and looked_at < search_vectors.MOST_COMPARED:
                missing = await self._database.read(search_vectors.find_missing, model, before)
                stored = await self._make(missing.texts) if missing.texts else 0
                total += stored
                if stored:
                    continue
                if missing.behind is None:
                    break
                before, looked_at = missing.behind, looked_at + missing.count
        except StoreUnavailable as error:
            self._telemetry.emit("task.failed", task="vectors", error=error)
        except ProcessorPaused as error:
            if self._repeats.note(error.message, self._clock.monotonic()):
                self._telemetry.emit("task.failed", task="vectors", error=error)
        return total

    async def _make(self, texts: Mapping[tuple[int, int], str]) -> int:
        started = self._clock.monotonic()
        made: dict[tuple[int, int], tuple[str, bytes]] = {}
        model = ""
        for place, text in texts.items():
            if self._stopping():
                break
            model, vector = await self._embedder.embed(text)
            made[place] = text, vector
        stored = await self._database.write(search_vectors.store_vectors, model, made)
        if (took := self._clock.monotonic() - started) > 0:
            await self._clock.sleep(took)
        return stored
