"""The sweep: what is overdue and was lost by the engine is put again, at the start and every minute."""

from __future__ import annotations

from vvwatch.store.database import Database, JobSink, sweep
from vvwatch.telemetry import Telemetry

GRACE_SECONDS = 5.0


async def put_again(database: Database, sink: JobSink, telemetry: Telemetry) -> int:
    """Run one sweep; returns how many entities got a job anew."""
    count = await database.write(sweep, sink, GRACE_SECONDS)
    telemetry.emit("sweep.finished", found=count)
    return count
