"""A server that kills itself with SIGKILL when it has done what was asked and is about to answer.

Usage: dying_answer.py DATABASE METHOD PATH BODY KEY
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.api.asking import ADMIN_KEY, BASE_URL
from tests.clock import FakeClock
from vvwatch.api.app import create_app
from vvwatch.api.context import ApiContext, ApiSettings
from vvwatch.storage.uploads import UploadsFolder
from vvwatch.store.database import Database
from vvwatch.store.encryption import SecretBox
from vvwatch.store.sqlite import SqliteDatabase
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.uploads import Uploads


def context_over(database: Database) -> ApiContext:
    """What routes need that only read and write the database."""

    def unused(*_args: object) -> Any:
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
        metrics=bytes,
        telemetry=Telemetry("test"),
        uploads=Uploads(database, database.clock, UploadsFolder(Path("uploads"))),
    )


async def ask(app: Any, method: str, path: str, body: str, key: str) -> httpx.Response:
    """Ask as an administrator, with a key of the request's own."""
    headers = {"X-API-Key": ADMIN_KEY, "Idempotency-Key": key, "Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE_URL) as client:
        return await client.request(method, f"/api/v2{path}", content=body, headers=headers)


async def main(path: Path, *request: str) -> None:
    database = SqliteDatabase(path, FakeClock())
    async with database.opened():
        app = create_app(context_over(database))

        async def dying(scope: Any, receive: Any, _send: Any) -> None:
            async def die(_message: Any) -> None:
                os.kill(os.getpid(), signal.SIGKILL)

            await app(scope, receive, die)

        await ask(dying, *request)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), *sys.argv[2:])
