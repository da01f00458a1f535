"""A server that kills itself with SIGKILL when it has done what was asked and is about to answer.

Usage: dying_answer.py DATABASE METHOD PATH BODY KEY
With DIE=before or DIE=after in the environment it dies right before or right after it commits what was asked.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2

from tests.api.asking import ADMIN_KEY, BASE_URL
from tests.clock import FakeClock
from vvwatch.api.app import create_app
from vvwatch.api.http.context import ApiContext, ApiSettings
from vvwatch.providers.local.uploads import UploadsFolder
from vvwatch.store.db import idempotency
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.pipeline.uploads import Uploads
from vvwatch.workflow.upkeep.refusals import RefusedRequests


def context_over(database: Database) -> ApiContext:
    """What routes need that only read and write the database."""

    def unused(*_args: object, **_named: object) -> Any:
        raise NotImplementedError

    return ApiContext(
        database=database,
        clock=database.clock,
        box=SecretBox(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
        storages=unused,
        document=unused,
        processors={},
        settings=ApiSettings(),
        status=unused,
        readiness=dict,
        metrics=unused,
        telemetry=(telemetry := Telemetry("test")),
        uploads=Uploads(database, database.clock, UploadsFolder(Path("uploads"))),
        refused=RefusedRequests(database, database.clock, telemetry),
    )


async def ask(app: Any, method: str, path: str, body: str, key: str) -> httpx2.Response:
    """Ask as an administrator, with a key of the request's own."""
    headers = {"X-API-Key": ADMIN_KEY, "Idempotency-Key": key, "Content-Type": "application/json"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE_URL) as client:
        return await client.request(method, f"/api/v2{path}", content=body, headers=headers)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(database: Any, moment: str) -> None:
    """Die `before` or `after` the commit of a request that has an Idempotency-Key."""
    honest = database.write

    async def write(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        def work(tx: Tx) -> Any:
            result = fn(tx, *args, **kwargs)
            if moment == "before":
                die()
            return result

        if not moment or fn is not idempotency.run_once:
            return await honest(fn, *args, **kwargs)
        await honest(work)
        die()
        return None

    database.write = write


async def main(path: Path, *request: str) -> None:
    database = SqliteDatabase(path, FakeClock())
    async with database.opened():
        app = create_app(context_over(database))
        arm(database, os.environ.get("DIE", ""))

        async def dying(scope: Any, receive: Any, _send: Any) -> None:
            async def answer(_message: Any) -> None:
                die()

            await app(scope, receive, answer)

        await ask(dying, *request)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), *sys.argv[2:])
