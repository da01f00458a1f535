"""The places that the contract is held against: storages under test, and how someone else changes what they hold."""

from __future__ import annotations

import http.client
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import aiohttp
import anyio
import botocore.session
import pytest
from anyio import to_thread
from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from botocore.config import Config

from tests.contract.dialects import AZURE, GCS, PART_BYTES, S3, Dialect
from tests.emulators.azurite import Azurite, make_container
from tests.emulators.fake_gcs import FakeGcs
from tests.emulators.fake_gcs import make_bucket as make_gcs_bucket
from tests.emulators.s3_server import S3Server
from tests.emulators.stores import ODD, STORES
from tests.fakes import FakeStorage
from tests.http_faults import Answer, HttpFaultProxy
from vvwatch.ports import ObjectFacts, Storage
from vvwatch.providers.local.storage import LocalStorage
from vvwatch.providers.spool import Spool

SPOOL_BYTES = 1 << 30
AT_ONCE = 8
PATIENCE = 1.0
"""How many seconds a storage in a hurry waits."""


class Place(ABC):
    """A location of its own for one test.

    `page_objects` is how many objects a page of its listing has once `shrink_pages` was called.
    """

    storage: Storage
    page_objects: int = 1_000
    same_bytes_same_version: ClassVar[bool] = False
    """Whether an object that is replaced by an equal one keeps its version."""

    start_after_is_exact: ClassVar[bool] = True
    """Whether a listing that begins behind a key has all that is behind it, as every real service's."""

    @abstractmethod
    async def put(self, key: str, data: bytes) -> None:
        """Create the object, or replace it."""

    @abstractmethod
    async def remove(self, key: str) -> None:
        """Delete the object."""

    @abstractmethod
    async def describe(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
        """Store metadata with the object that is there, and tags where the service has any."""

    def cannot_hold(self, key: str) -> bool:
        """Whether this place, unlike the service it stands for, has no such keys."""
        return False

    def shrink_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: B027  # most need not
        """Make the pages of a listing small, where many objects cost much."""

    async def put_all(self, objects: Mapping[str, bytes]) -> None:
        """Create many objects, several at a time."""
        waiting = iter(objects.items())

        async def work() -> None:
            for key, data in waiting:
                await self.put(key, data)

        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(work)


class FakePlace(Place):
    def __init__(self, folder: Path, server: None) -> None:
        self.storage = self._fake = FakeStorage()

    async def put(self, key: str, data: bytes) -> None:
        self._fake.put(key, data)

    async def remove(self, key: str) -> None:
        self._fake.remove(key)

    async def describe(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
        self._fake.known[key] = ObjectFacts(metadata, tags)


class LocalPlace(Place):
    """Every put makes a new file, as a rename into place does."""

    def __init__(self, folder: Path, server: None) -> None:
        self._root = folder / "root"
        self._root.mkdir()
        self.storage = LocalStorage(self._root, allowed_roots=[folder])

    async def put(self, key: str, data: bytes) -> None:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".scratch-{secrets.token_hex(4)}")
        scratch.write_bytes(data)
        scratch.rename(path)

    async def remove(self, key: str) -> None:
        (self._root / key).unlink()

    async def describe(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
        try:
            for name, value in metadata.items():
                os.setxattr(self._root / key, f"user.{name}", value.encode())
        except OSError as error:
            pytest.skip(f"this file system has no attributes: {error}")


class Cloud(Place):
    """A bucket of a server on loopback. What someone else does there is done by plain requests, not by our adapter."""

    page_objects = 7
    dialect: ClassVar[Dialect]
    address: tuple[str, int]
    secret: str = ""

    def __init__(self, folder: Path) -> None:
        self.bucket = f"b-{secrets.token_hex(8)}"
        self.spool_folder = folder / "spool"
        self.spool_folder.mkdir()
        self.spool = Spool(self.spool_folder, SPOOL_BYTES)

    @abstractmethod
    def over(self, address: tuple[str, int], *, bucket: str = "") -> Storage:
        """The same bucket by another way, or another one."""

    @abstractmethod
    def shrink_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make what is sent of a large object at once `PART_BYTES`."""

    @abstractmethod
    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let storages made from now on ask once, and wait for a second."""

    def excuse(self, proxy: HttpFaultProxy, *, reached: int, size: int, skip: int = 0) -> None:
        """Answer in the server's place what it gets wrong once a part of a large object has failed."""

    @abstractmethod
    def facts(self, key: str) -> tuple[str, str]:
        """Content type, and the SHA-256 kept with the object."""

    async def describe(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
        await to_thread.run_sync(self._describe, key, metadata, tags)

    @abstractmethod
    def _describe(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None: ...

    @abstractmethod
    def unfinished(self) -> int:
        """How many uploads were begun and neither ended nor given up; 0 where the service forgets them itself."""

    async def put(self, key: str, data: bytes) -> None:
        await to_thread.run_sync(self._put, key, data)

    async def remove(self, key: str) -> None:
        await to_thread.run_sync(self._remove, key)

    @abstractmethod
    def _put(self, key: str, data: bytes) -> None: ...

    @abstractmethod
    def _remove(self, key: str) -> None: ...


class S3Place(Cloud):
    dialect = S3
    same_bytes_same_version = True

    def __init__(self, folder: Path, server: S3Server) -> None:
        super().__init__(folder)
        self.address, self.secret = server.address, server.secret_access_key
        self._server = server
        self._client = _s3_client(server)
        self._client.create_bucket(Bucket=self.bucket)
        self.storage = self.over(self.address)

    def over(self, address: tuple[str, int], *, bucket: str = "") -> Storage:
        from vvwatch.providers.s3.storage import S3Credentials, S3Location, S3Storage

        location = S3Location(bucket or self.bucket, self._server.region, _http(address), path_style=True)
        credentials = S3Credentials(self._server.access_key_id, self._server.secret_access_key)
        return S3Storage(location, credentials, self.spool)

    def shrink_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from vvwatch.providers.s3.client import S3Client

        whole = S3Client.list

        async def some(client: S3Client, prefix: str, parameters: Mapping[str, Any]) -> Any:
            return await whole(client, prefix, {**parameters, "MaxKeys": self.page_objects})

        monkeypatch.setattr(S3Client, "list", some)

    def shrink_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("storage", "upload"):
            monkeypatch.setattr(f"vvwatch.providers.s3.{module}.PART_BYTES", PART_BYTES)

    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"_ATTEMPTS": 1, "_CONNECT_SECONDS": PATIENCE, "_READ_SECONDS": PATIENCE}.items():
            monkeypatch.setattr(f"vvwatch.providers.s3.client.{name}", value)

    def facts(self, key: str) -> tuple[str, str]:
        head = self._client.head_object(Bucket=self.bucket, Key=key)
        return head["ContentType"], head["Metadata"]["sha256"]

    def unfinished(self) -> int:
        return len(self._client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", ()))

    def _describe(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
        place = {"Bucket": self.bucket, "Key": key}
        data = self._client.get_object(**place)["Body"].read()
        self._client.put_object(**place, Body=data, Metadata=metadata)
        tagging = {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}
        self._client.put_object_tagging(**place, Tagging=tagging)

    def _put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def _remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=key)


class MotoPlace(S3Place):
    def cannot_hold(self, key: str) -> bool:
        """It answers 404 to a line feed."""
        return "\n" in key


class OddStorePlace(S3Place):
    """A store that differs from S3 as `tests.emulators.stores` says."""

    def __init__(self, folder: Path, server: S3Server, name: str) -> None:
        super().__init__(folder, server)
        self.name, self.quirks = name, {**STORES, **ODD}[name]

    @property
    def same_bytes_same_version(self) -> bool:  # type: ignore[override]  # not of the class alone
        """Not where a time is the version."""
        return self.quirks.listed_etags not in ("none", "empty", "empty_quoted")


class SeaweedPlace(S3Place):
    start_after_is_exact = False  # behind `b` it leaves out what is below `b/`

    def cannot_hold(self, key: str) -> bool:
        """Its objects are files: names of at most 255 bytes, none of them empty or a step upwards."""
        names = key.removesuffix("/").split("/")
        no_path = any(name in ("", ".", "..") or len(name.encode()) > 255 for name in names)
        return no_path or "\\" in key or "\0" in key


class GcsPlace(Cloud):
    dialect = GCS

    def __init__(self, folder: Path, server: FakeGcs) -> None:
        super().__init__(folder)
        self._server = server
        url = server.client.base_url
        self.address = (url.host, url.port or 80)
        make_gcs_bucket(server, self.bucket)
        self.storage = self.over(self.address)

    def over(self, address: tuple[str, int], *, bucket: str = "") -> Storage:
        from vvwatch.providers.gcs.storage import GcsLocation, GcsStorage

        return GcsStorage(GcsLocation(bucket or self.bucket, _http(address)), None, self.spool)

    def shrink_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vvwatch.providers.gcs.storage.PAGE_KEYS", self.page_objects)

    def shrink_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("storage", "upload"):
            monkeypatch.setattr(f"vvwatch.providers.gcs.{module}.PART_BYTES", PART_BYTES)

    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        patience = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
        monkeypatch.setattr("vvwatch.providers.gcs.session._TIMEOUT", patience)
        monkeypatch.setattr("vvwatch.providers.gcs.session._PAUSES_SECONDS", ())

    def excuse(self, proxy: HttpFaultProxy, *, reached: int, size: int, skip: int = 0) -> None:
        """Asked how far an upload has got, the emulator takes it for ended there."""
        has = {"Range": f"bytes=0-{reached - 1}"} if reached else {}
        answer = Answer(200, b"{}") if reached == size else Answer(308, headers=has)
        proxy.fail(answer, self.dialect.part, skip=skip)

    def facts(self, key: str) -> tuple[str, str]:
        resource: Any = self._server.resource(self.bucket, key)
        return resource["contentType"], resource["metadata"]["sha256"]

    def unfinished(self) -> int:
        return 0

    def _describe(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
        path = f"/storage/v1/b/{self.bucket}/o/{quote(key, safe='')}"
        self._server.client.patch(path, json={"metadata": metadata}).raise_for_status()

    def _put(self, key: str, data: bytes) -> None:
        self._server.put(self.bucket, key, data)

    def _remove(self, key: str) -> None:
        self._server.remove(self.bucket, key)


class AzurePlace(Cloud):
    dialect = AZURE

    def __init__(self, folder: Path, server: Azurite) -> None:
        super().__init__(folder)
        self.address, self.secret = server.address, server.account_key
        self._server = server
        make_container(server, self.bucket)
        self._signature = generate_container_sas(
            server.account,
            self.bucket,
            server.account_key,
            permission=ContainerSasPermissions(read=True, write=True, delete=True, list=True, tag=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        self.storage = self.over(self.address)

    def over(self, address: tuple[str, int], *, bucket: str = "") -> Storage:
        from vvwatch.providers.azure.storage import AzureAccountKey, AzureLocation, AzureStorage

        endpoint_url = f"{_http(address)}/{self._server.account}"
        location = AzureLocation(self._server.account, bucket or self.bucket, endpoint_url)
        return AzureStorage(location, AzureAccountKey(self._server.account_key), self.spool)

    def shrink_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vvwatch.providers.azure.storage._PAGE_BLOBS", self.page_objects)

    def shrink_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vvwatch.providers.azure.storage._PART_BYTES", PART_BYTES)

    def hurry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"_RETRIES": 0, "_CONNECT_SECONDS": PATIENCE, "_READ_SECONDS": PATIENCE}.items():
            monkeypatch.setattr(f"vvwatch.providers.azure.client.{name}", value)

    def cannot_hold(self, key: str) -> bool:
        """It takes a backslash for a slash, and fails to list what XML 1.0 has no character for."""
        return "\\" in key or any((c < " " and c not in "\t\n\r") or c in "\ufffe\uffff" for c in key)

    def facts(self, key: str) -> tuple[str, str]:
        headers = self._ask("HEAD", key)
        return headers["content-type"], headers["x-ms-meta-sha256"]

    def unfinished(self) -> int:
        return 0

    def _describe(self, key: str, metadata: dict[str, str], tags: dict[str, str]) -> None:
        named = {f"x-ms-meta-{name}": value for name, value in metadata.items()}
        tagged = {"x-ms-tags": "&".join(f"{quote(name)}={quote(value)}" for name, value in tags.items())}
        self._ask("PUT", key, b"described", **named, **tagged)

    def _put(self, key: str, data: bytes) -> None:
        self._ask("PUT", key, data)

    def _remove(self, key: str) -> None:
        self._ask("DELETE", key)

    def _ask(self, method: str, key: str, body: bytes = b"", **more: str) -> Mapping[str, str]:
        """One request; the SDK's own client would fold the segments of a key."""
        target = f"/{self._server.account}/{self.bucket}/{quote(key)}?{self._signature}"
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02", **more}
        with closing(http.client.HTTPConnection(*self.address)) as connection:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            said = response.read()
            assert response.status < 300, (response.status, said)
            return dict(response.headers.items())


def _http(address: tuple[str, int]) -> str:
    return "http://{}:{}".format(*address)


@cache
def _s3_client(server: S3Server) -> Any:
    """One for all tests of a run: to make one takes longer than most tests."""
    return botocore.session.get_session().create_client(
        "s3",
        region_name=server.region,
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=AT_ONCE),
    )


def _as_store(name: str) -> Callable[[Path, Any], Place]:
    return lambda folder, front: OddStorePlace(folder, front(name), name)


STORE_PLACES: Mapping[str, Callable[[Path, Any], Place]] = {
    f"as {name}": _as_store(name) for name in (*STORES, *ODD)
}
"""As `PLACES`, of stores that differ from S3: what is made of them is given the fixture `store_front`."""

UNLIKE_S3 = tuple(f"as {name}" for name in ("juicefs", "rclone", "rclone_crypt", "nanio"))
"""Those of them that were tried and differ much: where the whole contract is held."""

PLACES: Mapping[str, Callable[[Path, Any], Place]] = {
    "local": LocalPlace,
    "fake": FakePlace,
    "ministack": S3Place,
    "moto": MotoPlace,
    "seaweed": SeaweedPlace,
    "fake_gcs": GcsPlace,
    "azurite": AzurePlace,
}
"""Makes a place in a folder, with what the fixture of its name gives, if it has one."""

CLOUDS = ("ministack", "moto", "seaweed", "fake_gcs", "azurite")
PROVIDERS = ("ministack", "fake_gcs", "azurite")
"""One server for each cloud: the nearest to the real one."""
