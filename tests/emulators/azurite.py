"""Azurite, Microsoft's own emulator of Azure's blobs and queues: installed on first use, started on loopback."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient

from tests.emulators.entra import CLIENT_ID, CLIENT_SECRET, TENANT_ID, Entra, entra
from tests.fault_proxy import LOOPBACK, free_port
from tests.npm import NODE, install_once

__all__ = ["azurite", "azurite_oauth", "azurite_queues", "azurite_queues_oauth", "entra"]

VERSION = "3.35.0"  # the newest one whose dependencies can all be installed
HOME = Path(__file__).parents[2] / ".emulators" / f"azurite-{VERSION}"
PROGRAMS = Path("node_modules", "azurite", "dist", "src")
START_SECONDS = 30.0
STOP_SECONDS = 10.0
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running server with one account, and what a client needs to know of it.

    `endpoint_url` ends in the account's path. Only a server that takes tokens speaks https and has the fields
    from `ca_file` on. `service` is a client of its own to change things behind the back of the one under test.
    """

    endpoint_url: str
    address: tuple[str, int]
    service: BlobServiceClient = field(repr=False)
    account: str = ACCOUNT
    account_key: str = field(default=ACCOUNT_KEY, repr=False)
    ca_file: str = ""
    authority_url: str = ""
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a test's own; `client` is the SDK's, for what the methods do not do."""

    name: str
    client: ContainerClient = field(repr=False)

    def put(self, key: str, data: bytes = b"x", **options: Any) -> str:
        """Create the blob or overwrite it; returns its ETag without quotes."""
        answer = self.client.get_blob_client(key).upload_blob(data, overwrite=True, **options)
        return str(answer["etag"]).strip('"')

    def delete(self, key: str) -> None:
        self.client.delete_blob(key)

    def keys(self) -> set[str]:
        return set(self.client.list_blob_names())


def make_container(server: Azurite, name: str = "") -> Container:
    """Make an empty container, named by chance where `name` is not given."""
    name = name or f"c-{secrets.token_hex(8)}"
    return Container(name, server.service.create_container(name))


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of a test's own, with the SDK's client of it."""

    url: str
    client: QueueClient = field(repr=False)

    def send(self, *texts: str) -> None:
        """Put messages in, just as they are."""
        for text in texts:
            self.client.send_message(text)

    def left(self) -> int:
        """How many messages nobody has deleted."""
        return self.client.get_queue_properties().approximate_message_count or 0


def make_queue(endpoint_url: str, **options: Any) -> Queue:
    """Make an empty queue at the address of an account."""
    url = f"{endpoint_url}/q-{secrets.token_hex(8)}"
    client = QueueClient.from_queue_url(url, ACCOUNT_KEY, retry_total=0, **options)
    client.create_queue()
    return Queue(url, client)


@pytest.fixture(scope="session")
def azurite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Plain http with the account's key."""
    with _running(request, tmp_path_factory.mktemp("azurite")) as address:
        endpoint_url = f"http://{LOOPBACK}:{address[1]}/{ACCOUNT}"
        with _service(endpoint_url) as service:
            yield Azurite(endpoint_url, address, service)


@pytest.fixture(scope="session")
def azurite_oauth(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, entra: Entra
) -> Iterator[Azurite]:
    """Https, with the tokens of `entra` and with the account's key."""
    folder = tmp_path_factory.mktemp("azurite-oauth")
    certificate = entra.authority.issue_cert(LOOPBACK)
    flags = ["--oauth", "basic", *_certificate_flags(folder, certificate)]
    with _running(request, folder, flags) as address:
        endpoint_url = f"https://{LOOPBACK}:{address[1]}/{ACCOUNT}"
        with _service(endpoint_url, connection_verify=entra.ca_file) as service:
            yield Azurite(
                endpoint_url,
                address,
                service,
                ca_file=entra.ca_file,
                authority_url=entra.authority_url,
                tenant_id=TENANT_ID,
                client_id=CLIENT_ID,
                client_secret=CLIENT_SECRET,
            )


@pytest.fixture(scope="session")
def azurite_queues(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the account's queues, plain http with its key."""
    with _running(request, tmp_path_factory.mktemp("azurite-queues"), service="queue") as address:
        yield f"http://{LOOPBACK}:{address[1]}/{ACCOUNT}"


@pytest.fixture(scope="session")
def azurite_queues_oauth(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, entra: Entra
) -> Iterator[str]:
    """The same over https, with the tokens of `entra` and with the account's key."""
    folder = tmp_path_factory.mktemp("azurite-queues-oauth")
    flags = ["--oauth", "basic", *_certificate_flags(folder, entra.authority.issue_cert(LOOPBACK))]
    with _running(request, folder, flags, "queue") as address:
        yield f"https://{LOOPBACK}:{address[1]}/{ACCOUNT}"


def installed(request: pytest.FixtureRequest) -> Path:
    """Return where the emulator is, installed now when no run has done it before.

    That takes half a minute, or longer: it does not count against the time of the test that happens to be first.
    Raises RuntimeError with all that npm said when it fails.
    """
    if not HOME.is_dir():
        request.config.hook.pytest_timeout_cancel_timer(item=request._pyfuncitem)
    install_once(HOME, f"azurite@{VERSION}", PROGRAMS / "blob" / "main.js")
    return HOME


@contextmanager
def _running(
    request: pytest.FixtureRequest, folder: Path, flags: Sequence[str] = (), service: str = "blob"
) -> Iterator[tuple[str, int]]:
    """The address of a server whose blobs, or queues, are in memory and whose log is in `folder`."""
    port = free_port()
    command: list[str | Path] = [
        *(NODE, installed(request) / PROGRAMS / service / "main.js"),
        *(f"--{service}Host", LOOPBACK, f"--{service}Port", str(port)),
        *("--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
        *flags,
    ]
    log = folder / "log"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AZURITE_")}
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, env=environ, stdout=output, stderr=output)
    try:
        _await_start(server, port, log)
        yield (LOOPBACK, port)
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_start(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"Azurite is not there:\n{log.read_text()[-3000:]}")


def _service(endpoint_url: str, **options: Any) -> BlobServiceClient:
    return BlobServiceClient(endpoint_url, credential=ACCOUNT_KEY, retry_total=0, **options)


def _certificate_flags(folder: Path, certificate: trustme.LeafCert) -> list[str]:
    chain, key = folder / "cert.pem", folder / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    return ["--cert", str(chain), "--key", str(key)]
