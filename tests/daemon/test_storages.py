"""The storages of connectors: what each is opened with, when another one takes its place, and how all are closed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from tests.providers.gcs.gcs_places import service_account
from vvwatch.config import Config, load
from vvwatch.daemon.storages import Storages
from vvwatch.errors import Conflict, CredentialsRefused, InvalidInput, StorageUnavailable, StoreError
from vvwatch.providers.azure.storage import AzureStorage
from vvwatch.providers.gcs.storage import GcsStorage
from vvwatch.providers.s3.storage import S3Storage
from vvwatch.providers.spool import Spool
from vvwatch.store.db.encryption import SecretBox
from vvwatch.store.models.catalog import Connector

pytestmark = pytest.mark.anyio

BOX = SecretBox(b"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
OTHER_BOX = SecretBox(b"YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=")
KEY = json.dumps({"access_key_id": "AKIA", "secret_access_key": "pl4nted"})
APPLICATION = json.dumps({"tenant_id": "t", "client_id": "c", "client_secret": "pl4nted"})
S3 = {"bucket": "rushes", "region": "eu-1"}
AZURE = {"storage_account": "studio", "container": "footage"}
EMULATORS = """[storage.s3]
endpoint_url = "http://127.0.0.1:1"
path_style = true
[storage.gcs]
endpoint_url = "http://127.0.0.1:2"
[storage.azure]
endpoint_url = "https://127.0.0.1:3/devstore"
authority_url = "https://127.0.0.1:4"
"""


def config(folder: Path, text: str = "") -> Config:
    path = folder / "vvwatch.toml"
    path.write_text(text)
    return load(path, {"HOME": str(folder)})


def row(provider: str, settings: dict[str, Any], secret: str | None = None, **columns: Any) -> Any:
    """A connector as the database has it."""
    usual = {"id": "conn_a", "status": "active", "node": "", "declared": False, "builtin": False}
    sealed = None if secret is None else BOX.seal(secret)
    return SimpleNamespace(
        **{**usual, "provider": provider, "settings": settings, "credentials": sealed, **columns}
    )


class Live:
    """A configuration in force, and the storages over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = config(folder)
        self.storages = Storages(lambda: self.config, BOX, Spool(folder, 1 << 20))

    def reload(self, text: str) -> None:
        self.config = config(self.folder, text)


@pytest.fixture
def live(tmp_path: Path) -> Live:
    return Live(tmp_path)


@pytest.mark.parametrize(
    ("provider", "settings", "secret", "kind", "uri"),
    [
        ("s3", S3, KEY, S3Storage, "s3://rushes/a b"),
        ("s3", {**S3, "ambient": True}, None, S3Storage, "s3://rushes/a b"),
        (
            "s3",
            {**S3, "endpoint_url": "https://minio:9000", "path_style": True, "requester_pays": True},
            json.dumps({**json.loads(KEY), "session_token": "t"}),
            S3Storage,
            "https://minio:9000/rushes/a%20b",
        ),
        ("gcs", {"bucket": "stage", "project": "p"}, service_account(), GcsStorage, "gs://stage/a b"),
        (
            "gcs",
            {"bucket": "stage", "user_project": "p", "ambient": True},
            None,
            GcsStorage,
            "gs://stage/a b",
        ),
        (
            "gcs",
            {"bucket": "stage", "endpoint_url": "http://emulator:1"},
            None,
            GcsStorage,
            "http://emulator:1/stage/a%20b",
        ),
        ("azure", AZURE, APPLICATION, AzureStorage, "https://studio.blob.core.windows.net/footage/a%20b"),
        (
            "azure",
            {**AZURE, "endpoint_url": "https://e/studio"},
            json.dumps({"account_key": "cGw0bnRlZA=="}),
            AzureStorage,
            "https://e/studio/footage/a%20b",
        ),
    ],
)
async def test_each_provider_has_its_storage(
    live: Live, provider: str, settings: dict[str, Any], secret: str | None, kind: type, uri: str
) -> None:
    connector = row(provider, settings, secret)
    storage = await anyio.to_thread.run_sync(live.storages, connector)
    assert isinstance(storage, kind)
    assert storage.uri("a b") == uri == live.storages.addresses(connector)[0].of("a b")
    assert "pl4nted" not in f"{vars(storage)}{vars(live.storages)}"
    await live.storages.aclose()


@pytest.mark.parametrize(
    ("provider", "settings", "base"),
    [
        ("s3", S3, "http://127.0.0.1:1/rushes/"),
        ("gcs", {"bucket": "stage"}, "http://127.0.0.1:2/stage/"),
        ("azure", AZURE, "https://127.0.0.1:3/devstore/footage/"),
    ],
)
def test_who_names_no_endpoint_is_at_the_usual_one(
    live: Live, provider: str, settings: dict[str, Any], base: str
) -> None:
    live.reload(EMULATORS)
    connector = row(provider, settings, {"s3": KEY, "azure": APPLICATION}.get(provider))
    assert live.storages(connector).uri("a") == f"{base}a"
    assert live.storages.addresses(connector)[0].base == base
    own = row(
        provider, {**settings, "endpoint_url": "http://own"}, connector and KEY if provider == "s3" else None
    )
    assert live.storages.addresses(own)[0].base.startswith("http://own/")


def test_a_folder_has_no_address_before_it_is_looked_at(live: Live) -> None:
    assert live.storages.addresses(row("local", {"root": "/srv"})) == ()


def test_a_storage_is_opened_once_for_each_setting(live: Live) -> None:
    connector = row("s3", S3, KEY)
    first = live.storages(connector)
    assert live.storages(connector) is first
    assert live.storages(row("s3", S3, KEY, id="conn_b")) is not first
    renamed: Any = SimpleNamespace(**{**vars(connector), "name": "other"})
    assert live.storages(renamed) is first
    edits: list[Any] = [
        row("s3", S3, KEY),  # sealed anew
        row("s3", {**S3, "bucket": "other"}, KEY),
        row("azure", AZURE, APPLICATION),
    ]
    seen = [first]
    for edited in edits:
        assert all(live.storages(edited) is not each for each in seen)
        seen.append(live.storages(edited))
    live.reload(EMULATORS)
    assert live.storages(edits[-1]) is not seen[-1]


class Closing:
    """A storage that tells when it is closed."""

    def __init__(self, told: list[str], name: str, error: Exception | None = None) -> None:
        self.told, self.name, self.error = told, name, error

    async def aclose(self) -> None:
        self.told.append(self.name)
        if self.error:
            raise self.error


async def test_all_are_closed_at_the_end_the_replaced_ones_as_well(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def opened(self: Storages, connector: Connector, _: object) -> Any:
        broken = OSError("the connection is gone") if connector.id == "conn_b" else None
        return Closing(told, f"{connector.id} {connector.settings['bucket']}", broken)

    monkeypatch.setattr(Storages, "_open", opened)
    for connector, bucket in (("conn_a", "one"), ("conn_a", "two"), ("conn_b", "one"), ("conn_c", "one")):
        live.storages(row("s3", {"bucket": bucket}, KEY, id=connector))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await live.storages.aclose()
    assert sorted(told) == ["conn_a one", "conn_a two", "conn_b one", "conn_c one"]


async def test_a_storage_that_does_not_close_holds_nobody_up(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck:
        async def aclose(self) -> None:
            await anyio.sleep_forever()

    monkeypatch.setattr(Storages, "_open", lambda *_: Stuck())
    monkeypatch.setattr("vvwatch.daemon.storages._CLOSING_SECONDS", 0.05)
    live.storages(row("s3", S3, KEY))
    with anyio.fail_after(5):
        await live.storages.aclose()


def test_a_disabled_connector_is_waited_for(live: Live) -> None:
    connector = row("s3", S3, KEY, status="disabled")
    with pytest.raises(StorageUnavailable, match="'conn_a' is disabled"):
        live.storages.for_work(connector)
    assert live.storages.for_work(row("s3", S3, KEY)).uri("a") == "s3://rushes/a"


def test_a_deleted_connector_is_not_waited_for(live: Live) -> None:
    for opening in (live.storages, live.storages.for_work):
        with pytest.raises(Conflict, match="was deleted"):
            opening(row("s3", S3, status="deleted"))


@pytest.mark.parametrize(
    ("provider", "settings"),
    [
        ("s3", S3),
        ("gcs", {"bucket": "stage"}),
        ("gcs", {"bucket": "stage", "endpoint_url": "https://e"}),
        ("azure", AZURE),
    ],
)
def test_without_credentials_nobody_gets_the_identity_of_the_machine(
    live: Live, provider: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(CredentialsRefused, match="has no credentials"):
        live.storages(row(provider, settings))


def test_credentials_that_another_key_has_sealed_are_waited_for(live: Live) -> None:
    connector = row("s3", S3, credentials=OTHER_BOX.seal(KEY))
    with pytest.raises(StoreError):
        live.storages(connector)
    with pytest.raises(StorageUnavailable, match="cannot be opened with the current key"):
        live.storages.for_work(connector)


@pytest.mark.parametrize(
    ("provider", "package"), [("s3", "aiobotocore"), ("gcs", "gcloud.aio.storage"), ("azure", "azure.core")]
)
def test_what_is_not_installed_is_named_with_what_to_install(
    live: Live, monkeypatch: pytest.MonkeyPatch, provider: str, package: str
) -> None:
    folder = sys.modules[f"vvwatch.providers.{provider}"]
    for name in list(sys.modules):
        parent, _, module = name.rpartition(".")
        if parent == folder.__name__ and module != "credentials":
            monkeypatch.setattr(folder, module, sys.modules[name])  # so that the end of the test restores it
            monkeypatch.delitem(sys.modules, name)
        if name == package or name.startswith(f"{package}."):
            monkeypatch.setitem(sys.modules, name, None)
    settings = {"s3": S3, "gcs": {"bucket": "b"}, "azure": AZURE}[provider]
    connector = row(provider, {**settings, "ambient": True})
    with pytest.raises(InvalidInput, match=f"needs the package {package.partition('.')[0]}") as refused:
        live.storages(connector)
    assert refused.value.hint.startswith(f"{sys.executable} -m pip install ")
    assert package.partition(".")[0] in refused.value.hint
    with pytest.raises(StorageUnavailable, match="needs the package"):
        live.storages.for_work(connector)


def test_a_provider_of_a_newer_vvwatch_is_waited_for(live: Live) -> None:
    with pytest.raises(InvalidInput, match="no storage for provider 'ftp'"):
        live.storages(row("ftp", {}))
    with pytest.raises(StorageUnavailable):
        live.storages.for_work(row("ftp", {}))
