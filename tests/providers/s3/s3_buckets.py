"""Buckets of S3 as tests want them: one of a real server with a plain client of it, or an adapter over any address."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.emulators.s3_server import S3Server, make_bucket, raw_client
from tests.http_faults import Answer
from vvwatch.providers.s3.storage import S3Credentials, S3Location, S3Storage
from vvwatch.providers.spool import Spool

CREDENTIALS = S3Credentials("AKIAPLANTED", "planted-secret", "planted-token")


@asynccontextmanager
async def adapter(
    folder: Path, location: S3Location, credentials: S3Credentials | None = CREDENTIALS
) -> AsyncIterator[S3Storage]:
    """The adapter for a bucket, closed at the end; its spool is in `folder`."""
    storage = S3Storage(location, credentials, Spool(folder, 1 << 30))
    try:
        yield storage
    finally:
        await storage.aclose()


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own: what `put` and `client` do there happens behind the adapter's back."""

    server: S3Server
    name: str
    storage: S3Storage
    client: Any
    folder: Path

    @property
    def location(self) -> S3Location:
        return S3Location(self.name, self.server.region, self.server.endpoint_url)

    async def put(self, key: str, data: bytes, **how: str) -> str:
        """Returns the VersionId, which is empty in a bucket without versions."""
        answer = await self.client.put_object(Bucket=self.name, Key=key, Body=data, **how)
        return str(answer.get("VersionId", ""))

    async def keys(self) -> list[str]:
        return [obj.key async for page in self.storage.pages("") for obj in page.objects]

    async def read(self, key: str, version: str) -> bytes:
        async with self.storage.opened(key, version) as incoming:
            return b"".join([chunk async for chunk in incoming.chunks])

    def source(self, data: bytes) -> Path:
        """A file to be written from."""
        path = self.folder / f"source-{secrets.token_hex(4)}"
        path.write_bytes(data)
        return path

    def over(self, endpoint_url: str, **changes: Any) -> Any:
        """The adapter for the same bucket by another way; a context manager."""
        key = S3Credentials(self.server.access_key_id, self.server.secret_access_key)
        return adapter(self.folder, replace(self.location, endpoint_url=endpoint_url, **changes), key)


@asynccontextmanager
async def bucket_of(server: S3Server, folder: Path) -> AsyncIterator[Bucket]:
    """A new bucket of `server`."""
    name = f"b-{secrets.token_hex(8)}"
    await make_bucket(server, name)
    key = S3Credentials(server.access_key_id, server.secret_access_key)
    location = S3Location(name, server.region, server.endpoint_url)
    async with raw_client(server) as client, adapter(folder, location, key) as storage:
        yield Bucket(server, name, storage, client, folder)


def refusal(status: int, code: str, inside: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """As S3 refuses; the message repeats what nobody may see."""
    message = "AKIAPLANTED planted-secret planted-token"
    body = f"<Error><Code>{code}</Code><Message>{message}</Message>{inside}</Error>"
    return Answer(status, body.encode(), {"Content-Type": "application/xml", **(headers or {})})


def listing(*inside: str, token: str = "") -> Answer:
    """A page of a listing."""
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
    end = more if token else "<IsTruncated>false</IsTruncated>"
    body = f"<ListBucketResult><EncodingType>url</EncodingType>{end}{''.join(inside)}</ListBucketResult>"
    return Answer(200, body.encode(), {"Content-Type": "application/xml"})


def contents(key: str) -> str:
    """An object on a page."""
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-11-22T05:12:33.000Z</LastModified>"
        f"<ETag>&quot;e&quot;</ETag><Size>4</Size></Contents>"
    )
