"""The debounce window's deadline: when it comes, the window becomes an import job."""

from __future__ import annotations

from vvwatch.ports import Job
from vvwatch.store.db.database import Database
from vvwatch.store.watching import windows
from vvwatch.telemetry import Telemetry


class WindowCloser:
    """Closes windows that are due."""

    def __init__(self, database: Database, telemetry: Telemetry) -> None:
        self._database = database
        self._telemetry = telemetry

    async def advance(self, job: Job) -> None:
        """Handle a window's job: close it, or look again when it is due."""
        closed = await self._database.write(windows.close_due, job)
        if closed is not None:
            announce_closed(self._telemetry, closed)


def announce_closed(telemetry: Telemetry, closed: windows.ClosedWindow) -> None:
    """Report a window that became an import job."""
    telemetry.emit(
        "window.closed",
        automation=closed.automation_id,
        window=closed.window_id,
        reason=closed.reason.value,
        objects=closed.object_count,
        import_job=closed.import_job_id,
    )
    telemetry.emit("import.started", import_job=closed.import_job_id, files=closed.object_count)
