"""The ways to a bucket: addresses, proxies, TLS, and who this machine is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from tests.emulators.s3_server import S3Server, make_bucket
from tests.fault_proxy import LOOPBACK, free_port
from tests.http_faults import FOREVER, Answer, HttpFaultProxy
from tests.providers.s3.s3_buckets import adapter, contents, listing
from vvwatch.errors import CredentialsRefused, StorageUnavailable
from vvwatch.providers.s3.storage import S3Location, S3Storage

pytestmark = pytest.mark.anyio

CREDENTIALS_OF_MACHINES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)  # fmt: skip


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpFaultProxy]:
    monkeypatch.setattr("vvwatch.providers.s3.client._ATTEMPTS", 1)
    with HttpFaultProxy((LOOPBACK, free_port())) as proxy:
        yield proxy


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any credentials."""
    for name in CREDENTIALS_OF_MACHINES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def keys(storage: S3Storage) -> list[str]:
    return [obj.key async for page in storage.pages("") for obj in page.objects]


# Addresses


@pytest.mark.parametrize(
    ("location", "host"),
    [
        (S3Location("media", "eu-west-3"), "media.s3.eu-west-3.amazonaws.com"),
        (S3Location("media", "eu-west-3", path_style=True), "s3.eu-west-3.amazonaws.com"),
        (S3Location("me.dia", "eu-west-3"), "s3.eu-west-3.amazonaws.com"),
        (S3Location("media", "eu-west-3", "https://store.invalid:9000"), "store.invalid"),
    ],
)
async def test_a_bucket_is_looked_for_at_its_own_address_through_the_proxy(
    proxy: HttpFaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: S3Location, host: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere.invalid")
    way = S3Location(
        location.bucket, location.region, location.endpoint_url, location.path_style, "", proxy.url
    )
    proxy.fail(Answer(403), times=FOREVER)
    async with adapter(tmp_path, way) as storage:
        with pytest.raises(StorageUnavailable) as refused:
            await keys(storage)
    assert "proxy" in refused.value.message
    assert {request.line.partition(":")[0] for request in proxy.seen} == {f"CONNECT {host}"}


def test_equal_buckets_of_two_stores_never_meet(tmp_path: Path) -> None:
    uris = {
        S3Storage(S3Location("media", "us-east-1", endpoint), None, None).uri("in/a b+é.mp4")  # type: ignore[arg-type]
        for endpoint in ("", "https://one.example/", "https://two.example")
    }
    assert uris == {
        "s3://media/in/a b+é.mp4",
        "https://one.example/media/in/a%20b%2B%C3%A9.mp4",
        "https://two.example/media/in/a%20b%2B%C3%A9.mp4",
    }


# TLS


@asynccontextmanager
async def tls_server(authority: trustme.CA) -> AsyncIterator[str]:
    """The address of a server that answers every request with a listing."""
    answer = listing(contents("a.mp4"))
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n" + answer.body

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(LOOPBACK).configure_cert(context)
    async with await asyncio.start_server(serve, LOOPBACK, 0, ssl=context) as server:
        yield "https://{}:{}".format(*server.sockets[0].getsockname())


async def test_a_private_authority_is_trusted_when_its_certificate_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vvwatch.providers.s3.client._ATTEMPTS", 1)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with tls_server(authority) as url:
        async with adapter(tmp_path, S3Location("media", "us-east-1", url)) as storage:
            with pytest.raises(StorageUnavailable, match=r"no TLS with the server: .*certificate") as refused:
                await keys(storage)
            assert "ca_file" in refused.value.hint
        trusting = S3Location("media", "us-east-1", url, ca_file=str(tmp_path / "ca.pem"))
        async with adapter(tmp_path, trusting) as storage:
            assert await keys(storage) == ["a.mp4"]


async def test_a_ca_file_that_cannot_be_used_is_said(proxy: HttpFaultProxy, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name, why in (("none.pem", "No such file"), ("empty.pem", "")):
        location = S3Location("media", "us-east-1", "https://store.invalid", ca_file=str(tmp_path / name))
        async with adapter(tmp_path, location) as storage:
            with pytest.raises(StorageUnavailable, match=f"ca_file cannot be used: {why}"):
                await keys(storage)


# Who asks


async def test_without_credentials_the_machine_s_own_are_used(
    seaweed: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody: None
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret_access_key)
    await make_bucket(seaweed, "ambient")
    async with adapter(tmp_path, S3Location("ambient", "us-east-1", seaweed.endpoint_url), None) as storage:
        assert await keys(storage) == []


async def test_a_machine_without_credentials_is_told_so(
    proxy: HttpFaultProxy, tmp_path: Path, nobody: None
) -> None:
    async with adapter(tmp_path, S3Location("media", "us-east-1", proxy.url), None) as storage:
        with pytest.raises(CredentialsRefused, match="no credentials") as refused:
            await keys(storage)
    assert "role" in refused.value.hint
    assert proxy.count() == 0


async def test_a_session_token_goes_with_every_request(proxy: HttpFaultProxy, tmp_path: Path) -> None:
    proxy.fail(listing())
    async with adapter(tmp_path, S3Location("media", "us-east-1", proxy.url)) as storage:
        assert await keys(storage) == []
    assert [request.headers["x-amz-security-token"] for request in proxy.seen] == ["planted-token"]
