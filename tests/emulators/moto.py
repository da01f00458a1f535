"""moto: S3, SQS and SNS in memory; one of them takes any credentials, the other checks signatures and policies."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from tests.emulators.s3_server import S3Server, listening, raw_client, running
from tests.fault_proxy import LOOPBACK, free_port

EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
USER_REQUESTS = 3
"""How many requests `make_user` makes."""


@contextmanager
def _server(folder: Path, env: dict[str, str]) -> Iterator[S3Server]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    with running(command, folder / "log", lambda: listening((LOOPBACK, port)), env):
        yield S3Server(f"http://{LOOPBACK}:{port}")


async def make_user(server: S3Server, name: str, *statements: dict[str, Any]) -> S3Server:
    """The same server, as seen by a new user who may do what the statements of its policy say."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    async with raw_client(server, "iam") as iam:
        await iam.create_user(UserName=name)
        await iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=policy)
        key = (await iam.create_access_key(UserName=name))["AccessKey"]
    return S3Server(server.endpoint_url, key["AccessKeyId"], key["SecretAccessKey"], server.region)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests of a run, each of which makes buckets of its own."""
    with _server(tmp_path_factory.mktemp("moto"), {}) as server:
        yield server


@pytest.fixture(scope="session")
def moto_iam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """As `moto`, of one that checks every signature and policy; what it yields is a user who may do everything."""
    env = {"INITIAL_NO_AUTH_ACTION_COUNT": str(USER_REQUESTS)}
    folder = tmp_path_factory.mktemp("moto-iam")
    with _server(folder, env) as server, start_blocking_portal() as portal:
        yield portal.call(make_user, server, "root", EVERYTHING)
