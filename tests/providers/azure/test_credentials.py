"""How Azure is signed in to, and that no secret of it shows."""

from __future__ import annotations

import logging
import os
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.emulators.azurite import Azurite, Container, make_container
from tests.emulators.entra import Entra
from tests.fault_proxy import LOOPBACK, free_port
from tests.hostile_store import hostile_store
from tests.http_faults import HttpFaultProxy
from vvwatch.errors import CredentialsRefused, StorageError, StorageUnavailable
from vvwatch.providers.azure import client
from vvwatch.providers.azure.storage import AzureAccountKey, AzureClientSecret, AzureLocation, AzureStorage
from vvwatch.providers.spool import Spool

pytestmark = pytest.mark.anyio

Credentials = AzureClientSecret | AzureAccountKey | None


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_WAIT_SECONDS", 0)


@pytest.fixture(autouse=True)
def as_it_was(entra: Entra) -> Iterator[None]:
    yield
    entra.token_seconds, entra.secret_expired, entra.outage, entra.elsewhere = 3600, False, None, ""


@pytest.fixture
def container(azurite_oauth: Azurite) -> Container:
    return make_container(azurite_oauth)


@pytest.fixture
def location(azurite_oauth: Azurite, container: Container) -> AzureLocation:
    return AzureLocation(
        azurite_oauth.account,
        container.name,
        azurite_oauth.endpoint_url,
        azurite_oauth.authority_url,
        azurite_oauth.ca_file,
    )


@pytest.fixture
def secret(azurite_oauth: Azurite) -> AzureClientSecret:
    return AzureClientSecret(azurite_oauth.tenant_id, azurite_oauth.client_id, azurite_oauth.client_secret)


@asynccontextmanager
async def opened(
    location: AzureLocation, credentials: Credentials, folder: Path
) -> AsyncIterator[AzureStorage]:
    async with aclosing(AzureStorage(location, credentials, Spool(folder, 1 << 30))) as storage:
        yield storage


async def refusal(location: AzureLocation, credentials: Credentials, folder: Path) -> StorageError:
    """What a listing comes to, when it comes to nothing."""
    with pytest.raises(StorageError) as caught:
        async with opened(location, credentials, folder) as storage:
            await anext(storage.pages(""))
    return caught.value


async def test_a_client_secret_reads_and_writes(
    location: AzureLocation, secret: AzureClientSecret, container: Container, entra: Entra, tmp_path: Path
) -> None:
    before = entra.issued
    container.put("in/a.mp4", b"bytes")
    (source := tmp_path / "source").write_bytes(b"export")
    async with opened(location, secret, tmp_path) as storage:
        (page,) = [page async for page in storage.pages("in/")]
        async with storage.descriptor("in/a.mp4", page.objects[0].version) as file:
            assert os.read(file, 100) == b"bytes"
        written = await storage.write("out/a.json", source, content_type="application/json")
        await storage.delete("out/a.json", written.version)
    assert entra.issued == before + 1


async def test_an_account_key_needs_no_sign_in(
    location: AzureLocation, azurite_oauth: Azurite, entra: Entra, tmp_path: Path
) -> None:
    before = entra.issued
    async with opened(location, AzureAccountKey(azurite_oauth.account_key), tmp_path) as storage:
        await storage.check(read=True, write_below="out")
    assert entra.issued == before


async def test_a_token_is_renewed_before_it_is_used_too_late(
    location: AzureLocation, secret: AzureClientSecret, entra: Entra, tmp_path: Path
) -> None:
    before, entra.token_seconds = entra.issued, 3  # seconds: a busy host needs some for the first check
    async with opened(location, secret, tmp_path) as storage:
        await storage.check(read=True, write_below=None)
        expiry = time.time() + 3
        await anyio.sleep(expiry - time.time() + 1)  # its end is given in whole seconds
        await storage.check(read=True, write_below=None)
    assert entra.issued == before + 2


async def test_a_token_that_the_store_finds_too_old_is_refused_not_retried(
    location: AzureLocation, secret: AzureClientSecret, entra: Entra, tmp_path: Path
) -> None:
    entra.token_seconds = -10
    assert type(await refusal(location, secret, tmp_path)) is CredentialsRefused


@pytest.mark.parametrize(
    ("wrong", "code", "hint"),
    [
        ({"client_secret": "other"}, "AADSTS7000215", "client secret is wrong"),
        ({"tenant_id": "33333333-3333-3333-3333-333333333333"}, "AADSTS90002", "tenant_id"),
        ({"client_id": "33333333-3333-3333-3333-333333333333"}, "AADSTS700016", "client_id"),
        ({"tenant_id": "no/tenant?"}, "cannot be those of an application", "tenant_id"),
        ({"client_secret": ""}, "cannot be those of an application", "client_id"),
    ],
)
async def test_wrong_credentials_are_named_by_entras_code(
    location: AzureLocation,
    secret: AzureClientSecret,
    tmp_path: Path,
    wrong: dict[str, str],
    code: str,
    hint: str,
) -> None:
    error = await refusal(location, replace(secret, **wrong), tmp_path)
    assert type(error) is CredentialsRefused
    assert code in error.message
    assert "Trace ID" not in error.message
    assert hint in error.hint


async def test_an_expired_secret_is_said_to_be_expired(
    location: AzureLocation, secret: AzureClientSecret, entra: Entra, tmp_path: Path
) -> None:
    entra.secret_expired = True
    error = await refusal(location, secret, tmp_path)
    assert "AADSTS7000222" in error.message
    assert "expired" in error.hint


async def test_signing_in_follows_no_redirect(
    location: AzureLocation, secret: AzureClientSecret, entra: Entra, tmp_path: Path
) -> None:
    async with hostile_store() as witness:
        entra.outage, entra.elsewhere = (307, ""), f"{witness.url}/token"
        error = await refusal(location, secret, tmp_path)
        assert "no sign-in: the endpoint answered with a redirect to 127.0.0.1:" in error.message
        assert witness.seen == []


@pytest.mark.parametrize("outage", [(503, "<html>busy"), (429, ""), (200, "<html>welcome"), (404, "")])
async def test_an_outage_of_entra_is_no_refusal(
    location: AzureLocation, secret: AzureClientSecret, entra: Entra, tmp_path: Path, outage: tuple[int, str]
) -> None:
    entra.outage = outage
    error = await refusal(location, secret, tmp_path)
    assert type(error) is StorageUnavailable
    assert "Entra ID" in error.message


async def test_an_authority_that_is_down_is_named(
    location: AzureLocation, secret: AzureClientSecret, tmp_path: Path
) -> None:
    there = f"{LOOPBACK}:{free_port()}"
    error = await refusal(replace(location, authority_url=f"https://{there}"), secret, tmp_path)
    assert f"{there} cannot be reached" in error.message
    assert "authority_url" in error.hint


async def test_an_identity_of_the_machine_is_missed_by_name(
    location: AzureLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no command line of Azure's
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    error = await refusal(location, None, tmp_path)
    assert type(error) is CredentialsRefused
    assert "managed identity" in error.hint


async def test_the_identity_of_the_machine_signs_in(
    location: AzureLocation, secret: AzureClientSecret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("TENANT_ID", secret.tenant_id),
        ("CLIENT_ID", secret.client_id),
        ("CLIENT_SECRET", secret.client_secret),
    ):
        monkeypatch.setenv(f"AZURE_{name}", value)
    async with opened(location, None, tmp_path) as storage:
        await storage.check(read=True, write_below=None)


@pytest.mark.parametrize("credentials", [AzureClientSecret("t", "c", "s"), None], ids=["secret", "machine"])
def test_no_token_travels_in_clear(credentials: Credentials, tmp_path: Path) -> None:
    in_clear = AzureLocation("acme", "media", f"http://{LOOPBACK}:1/acme")
    with pytest.raises(CredentialsRefused, match="unencrypted"):
        AzureStorage(in_clear, credentials, Spool(tmp_path, 1))


async def test_an_authority_without_tls_is_not_asked(
    location: AzureLocation, secret: AzureClientSecret, tmp_path: Path
) -> None:
    in_clear = replace(location, authority_url="http://localhost:1")
    assert "authority_url" in (await refusal(in_clear, secret, tmp_path)).hint


async def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    location: AzureLocation, azurite_oauth: Azurite, secret: AzureClientSecret, tmp_path: Path
) -> None:
    for credentials in (secret, AzureAccountKey(azurite_oauth.account_key)):
        error = await refusal(replace(location, ca_file=""), credentials, tmp_path)
        assert type(error) is StorageUnavailable
        assert "no TLS" in error.message
        assert "ca_file" in error.hint


def test_a_ca_file_that_is_none_is_named(location: AzureLocation, tmp_path: Path) -> None:
    (empty := tmp_path / "empty.pem").touch()
    for path in (empty, tmp_path / "absent.pem"):
        with pytest.raises(StorageUnavailable, match=path.name):
            AzureStorage(replace(location, ca_file=str(path)), AzureAccountKey("a2V5"), Spool(tmp_path, 1))


async def test_certificates_are_loaded_once(
    location: AzureLocation, secret: AzureClientSecret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK would load them with each request, and then use no connection twice."""
    async with opened(location, secret, tmp_path) as storage:
        monkeypatch.setattr(ssl, "create_default_context", None)
        for _ in range(2):
            await storage.check(read=True, write_below=None)


async def test_a_proxy_is_asked_in_the_servers_place(
    azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = make_container(azurite).name
    location = AzureLocation(azurite.account, name, azurite.endpoint_url)
    key = AzureAccountKey(azurite.account_key)
    with HttpFaultProxy(azurite.address) as proxy:
        async with opened(replace(location, proxy=proxy.url), key, tmp_path) as storage:
            await storage.check(read=True, write_below=None)
        assert proxy.count("GET http://") == 1
        monkeypatch.setenv("http_proxy", proxy.url)
        for bypassed, count in ("", 2), (LOOPBACK, 2):
            monkeypatch.setenv("no_proxy", bypassed)
            async with opened(location, key, tmp_path) as storage:
                await storage.check(read=True, write_below=None)
            assert proxy.count() == count


async def test_planted_secrets_show_nowhere(
    location: AzureLocation, azurite_oauth: Azurite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planted, key = "planted-secret-of-the-client", "cGxhbnRlZC1hY2NvdW50LWtleQ=="
    tenant, client = azurite_oauth.tenant_id, azurite_oauth.client_id
    proxy = f"http://user:{planted}@{LOOPBACK}:{free_port()}"
    told: list[object] = [replace(location, proxy=proxy)]
    with caplog.at_level(logging.DEBUG):
        for credentials in (AzureClientSecret(tenant, client, planted), AzureAccountKey(key)):
            for there in (location, replace(location, proxy=proxy), replace(location, ca_file="")):
                storage = AzureStorage(there, credentials, Spool(tmp_path, 1 << 30))
                told += [credentials, storage, storage._client]
                for asking in (storage.stat("a"), anext(storage.pages("")), storage.delete("a", "0x1")):
                    with pytest.raises(StorageUnavailable) as caught:
                        await asking
                    told += [*traceback.format_exception(caught.value), caught.value.hint]
                await storage.aclose()
    shown = "\n".join([*map(repr, told), *map(str, told), caplog.text])
    assert "Entra ID refuses the application" in shown
    assert planted not in shown
    assert key not in shown
