"""One daemon for all tests of clients, over an object store and with media that were imported and processed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config

from tests.daemon_process import Daemon, wait_until
from tests.emulators.azurite import Azurite
from tests.emulators.fake_gcs import FakeGcs
from tests.emulators.s3_server import S3Server

BUCKET = "footage"
ENDED = ("completed", "completed_with_failures", "failed", "cancelled")
OPTIONS = """
[api]
requests_per_minute = 1000000
[storage.s3]
endpoint_url = "{s3.endpoint_url}"
[storage.gcs]
endpoint_url = "{gcs.endpoint_url}"
[storage.azure]
endpoint_url = "{azure.endpoint_url}"
authority_url = "{azure.authority_url}"
ca_file = "{azure.ca_file}"
"""


@dataclass
class World:
    """A daemon, an object store, and what the daemon made of some media in it.

    `store` has the objects of the bucket `BUCKET`. Of the media below `shoot/` three were imported into `index_id`
    and went through `run_id`; `clip.mp4` has a cut. `gcs` and `azure` are other stores that it knows.
    """

    daemon: Daemon
    s3: S3Server
    gcs: FakeGcs
    azure: Azurite
    store: Any
    media: dict[str, bytes]
    connector_id: str = ""
    index_id: str = ""
    job_id: str = ""
    run_id: str = ""
    video_ids: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def base_url(self) -> str:
        """The root of the API."""
        return f"{self.daemon.url}/api/v2"

    def name(self, of: str) -> str:
        """A name that nothing else has."""
        return f"{of} {next(self._numbers)}"

    def prefix(self) -> str:
        """A prefix of the bucket below which there is nothing yet."""
        return f"place-{next(self._numbers)}/"

    def put(self, key: str, data: bytes) -> None:
        """Make an object."""
        self.store.put_object(Bucket=BUCKET, Key=key, Body=data)

    def remove(self, key: str) -> None:
        """Delete an object."""
        self.store.delete_object(Bucket=BUCKET, Key=key)

    def uri(self, key: str) -> str:
        """How the daemon names an object: the store is not Amazon's own."""
        return f"{self.s3.endpoint_url}/{BUCKET}/{key}"

    def link(self, key: str) -> str:
        """An address that opens an object, if there is one, for a while."""
        options = {"Params": {"Bucket": BUCKET, "Key": key}, "ExpiresIn": 600}
        return str(self.store.generate_presigned_url("get_object", **options))

    def content(self, key: str) -> bytes:
        """What an object holds."""
        answer: bytes = self.store.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return answer

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """The JSON answer of one call with the admin key."""
        told, answer = self.daemon.call(method, path, body)
        assert told == status, answer
        return answer

    def ended(self, path: str) -> Any:
        """What a job, a run or an export has become in the end."""
        wait_until(lambda: self.ask("GET", path)["status"] in ENDED, f"the end of {path}")
        return self.ask("GET", path)

    def connector(self, *scopes: str, **changes: Any) -> str:
        """Another connector for the bucket."""
        body = {
            "name": self.name("connector"),
            "bucket": BUCKET,
            "region": self.s3.region,
            "aws_access_key_id": self.s3.access_key_id,
            "aws_secret_access_key": self.s3.secret_access_key,
            "scopes": list(scopes) or ["import"],
        }
        made = self.ask("POST", "/connectors/s3", body | changes, status=201)
        return str(made["connector_id"])

    def index(self) -> str:
        """Another index."""
        return str(self.ask("POST", "/indexes", {"name": self.name("index")}, status=201)["index_id"])

    def imported(self, index_id: str, prefix: str) -> Any:
        """The ended job of an import of all that stands below a prefix."""
        body = {"connector_id": self.connector_id, "index_id": index_id, "source_prefix": prefix}
        job = self.ask("POST", "/import-jobs", body, status=202)
        return self.ended(f"/import-jobs/{job['job_id']}")

    def processed(self, **target: Any) -> Any:
        """The ended run of the technical prompt over media."""
        body = {"prompt_id": "prompt_technical", "target": target}
        run = self.ask("POST", "/prompt-runs/execute", body, status=202)
        return self.ended(f"/prompt-runs/{run['run_id']}")

    def begin(self) -> None:
        """Import and process what the tests look at."""
        for name, data in self.media.items():
            self.put(f"shoot/{name}", data)
        self.connector_id, self.index_id = self.connector(), self.index()
        job = self.imported(self.index_id, "shoot/")
        assert job["status"] == "completed", job
        self.job_id = job["job_id"]
        self.run_id = self.processed(type="index", index_id=self.index_id)["run_id"]
        listed = self.ask("GET", f"/indexes/{self.index_id}/videos")["data"]
        self.video_ids = {video["title"]: video["video_id"] for video in listed}


def _media(folder: Path) -> dict[str, bytes]:
    """One of each type of media, one file that is cut off and one that is no media."""
    from tests import samples  # pulls in FFmpeg, which only a process with such tests wants

    (folder / "deep").mkdir()
    clip = samples.video(folder / "clip.mp4", seconds=4, cuts=(2.0,))
    samples.audio(folder / "deep" / "sound.wav", seconds=1)
    samples.image(folder / "picture.png")
    samples.truncated(clip, folder / "broken.mp4", 0.5)
    (folder / "notes.txt").write_text("no media")
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@contextmanager
def _client(server: S3Server) -> Iterator[Any]:
    client: Any = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="session")
def world(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    ministack: S3Server,
    fake_gcs: FakeGcs,
    azurite_oauth: Azurite,
) -> Iterator[World]:
    """One for all tests of a run, each of which has indexes, prefixes and receivers of its own.

    A delivery that fails is not tried again automatically. Beginning does not count against the time of the test that
    happens to be first: it has deadlines of its own.
    """
    request.config.hook.pytest_timeout_cancel_timer(item=request._pyfuncitem)
    base = tmp_path_factory.mktemp("world")
    options = OPTIONS.format(s3=ministack, gcs=fake_gcs, azure=azurite_oauth)
    daemon = Daemon(base, extra=options)
    text = daemon.config.read_text()
    quick = text.replace('["1s", "1s", "2s", "5s", "5s", "5s"]', "[]")
    assert quick != text
    daemon.config.write_text(quick)
    (base / "media").mkdir()
    with daemon, _client(ministack) as store:
        store.create_bucket(Bucket=BUCKET)
        made = World(daemon, ministack, fake_gcs, azurite_oauth, store, _media(base / "media"))
        made.begin()
        yield made
