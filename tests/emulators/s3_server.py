"""What the emulators of S3 share: their address, a plain client of it, and a program that runs for a while."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from tests.guardian import RUN_MARK

START_SECONDS = 30.0
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where a server answers, and whom it knows."""

    endpoint_url: str
    access_key_id: str = "testing"
    secret_access_key: str = field(default="testing", repr=False)
    region: str = "us-east-1"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as a proxy in front of it wants them."""
        parts = urlsplit(self.endpoint_url)
        return str(parts.hostname), int(parts.port or 0)


@asynccontextmanager
async def raw_client(server: S3Server, service: str = "s3") -> AsyncIterator[Any]:
    """A client of the SDK as it comes, for what happens behind the adapter's back."""
    async with get_session().create_client(
        service,
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        config=AioConfig(s3={"addressing_style": "path"}),
    ) as client:
        yield client


async def make_bucket(server: S3Server, name: str) -> None:
    """Make an empty bucket."""
    async with raw_client(server) as client:
        await client.create_bucket(Bucket=name)


def listening(address: tuple[str, int]) -> bool:
    """Whether someone takes connections at `address`."""
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


@contextmanager
def running(
    command: Sequence[str], log: Path, ready: Callable[[], bool], env: Mapping[str, str]
) -> Iterator[None]:
    """Run a server, which finds little but `env` in its environment, for the life of the block.

    RuntimeError, with what it said, when it ends or is not `ready` in time.
    """
    inherited = {name: os.environ[name] for name in ("PATH", RUN_MARK) if name in os.environ}
    environ = {**inherited, "HOME": str(log.parent), "TMPDIR": str(log.parent), **env}
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            cwd=log.parent,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_SECONDS
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} is not there:\n{log.read_text()[-3000:]}")
                time.sleep(0.02)
            yield
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
