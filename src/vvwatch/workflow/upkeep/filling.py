"""Make results searchable by words that an earlier version stored."""

from __future__ import annotations

from collections.abc import Callable

from vvwatch.errors import StoreUnavailable
from vvwatch.ports import Clock
from vvwatch.store.db.database import Database
from vvwatch.store.runs import search_documents
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pacing import write_and_pause


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
