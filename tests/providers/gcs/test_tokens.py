"""Signing in to Google: over TLS, once, again when it must be, and without a secret in any word."""

from __future__ import annotations

import json
import ssl
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import jwt
import pytest
import trustme
from aiohttp import web

from tests.fault_proxy import LOOPBACK, free_port
from tests.hostile_store import hostile_store
from tests.providers.gcs.gcs_places import LISTING, adapter, described, private_key, service_account, serving
from vvwatch.errors import CredentialsRefused, StorageError, StorageThrottled, StorageUnavailable
from vvwatch.providers.gcs.storage import GcsStorage

pytestmark = pytest.mark.anyio

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
AUTHORITY = trustme.CA()


class Google:
    """Gives tokens to whoever signs with the service account's key, and lists for whoever has the latest one."""

    def __init__(self) -> None:
        self.url = ""
        self.given = 0
        self.expires_in = 3600
        self.refusal: tuple[int, str] | None = None
        self.asked = anyio.Event()
        self.answering = anyio.Event()
        self.answering.set()
        self.elsewhere = ""
        self.padding = ""

    @property
    def latest(self) -> str:
        return f"ya29.token-{self.given}"

    @property
    def credentials(self) -> str:
        return service_account(token_uri=f"{self.url}/token")

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/token", self.token)
        app.router.add_get("/metadata", self.metadata)
        app.router.add_get(LISTING, self.list)
        return app

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        claims = jwt.decode(
            str(form["assertion"]), private_key().public_key(), ["RS256"], audience=f"{self.url}/token"
        )
        assert claims["iss"] == "watch@project.iam.gserviceaccount.com"
        assert claims["scope"] == SCOPE
        return await self.grant(str(form["assertion"]))

    async def metadata(self, request: web.Request) -> web.Response:
        assert request.headers["metadata-flavor"] == "Google"
        return await self.grant("")

    async def grant(self, assertion: str) -> web.Response:
        self.asked.set()
        await self.answering.wait()
        if self.elsewhere:
            return web.Response(status=307, headers={"Location": self.elsewhere})
        if self.refusal is not None:
            status, body = self.refusal
            return web.Response(status=status, text=body.replace("ASSERTION", assertion))
        self.given += 1
        return web.json_response(
            {"access_token": self.latest, "expires_in": self.expires_in, "more": self.padding}
        )

    async def list(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {self.latest}":
            return web.json_response({"error": {"message": request.headers["Authorization"]}}, status=401)
        return web.json_response({"kind": "storage#objects", "items": [described("a.mp4", 1, 1)]})


@pytest.fixture
async def google() -> AsyncIterator[Google]:
    google = Google()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(LOOPBACK).configure_cert(tls)
    async with serving(google.app(), tls) as google.url:
        yield google


@pytest.fixture
def ca_file(tmp_path: Path) -> str:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vvwatch.providers.gcs.session._PAUSES_SECONDS", (0, 0))


@pytest.fixture
async def storage(google: Google, ca_file: str, tmp_path: Path) -> AsyncIterator[GcsStorage]:
    async with adapter(tmp_path, google.url, credentials=google.credentials, ca_file=ca_file) as storage:
        yield storage


async def listed(storage: GcsStorage) -> list[str]:
    return [obj.key async for page in storage.pages("") for obj in page.objects]


async def refusal(storage: GcsStorage) -> StorageError:
    with pytest.raises(StorageError) as caught:
        await listed(storage)
    return caught.value


async def test_a_service_account_signs_in_once_for_all(storage: GcsStorage, google: Google) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(listed, storage)
    assert await listed(storage) == ["a.mp4"]
    assert google.given == 1


async def test_a_token_is_replaced_before_it_expires(
    storage: GcsStorage, google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now, given in ((1_000, 1), (4_400, 1), (4_430, 2), (4_500, 2)):
        monkeypatch.setattr("vvwatch.providers.gcs.token.time", SimpleNamespace(time=lambda now=now: now))
        await listed(storage)
        assert google.given == given


async def test_a_token_that_is_not_accepted_any_more_is_replaced(storage: GcsStorage, google: Google) -> None:
    await listed(storage)
    google.given += 1
    assert await listed(storage) == ["a.mp4"]
    assert google.given == 3


async def test_who_is_cancelled_takes_nobody_along(storage: GcsStorage, google: Google) -> None:
    google.answering = anyio.Event()
    found: list[str] = []

    async def ask() -> None:
        found.extend(await listed(storage))

    async with anyio.create_task_group() as all_tasks:
        async with anyio.create_task_group() as first:
            first.start_soon(listed, storage)
            await google.asked.wait()
            all_tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        google.answering.set()
    assert found == ["a.mp4"]


@pytest.mark.parametrize(
    ("status", "body", "expected", "word"),
    [
        (
            400,
            '{"error": "invalid_grant", "error_description": "ASSERTION"}',
            CredentialsRefused,
            "invalid_grant",
        ),
        (401, '{"error":"invalid_client"}', CredentialsRefused, "invalid_client"),
        (403, "<html>ASSERTION</html>", CredentialsRefused, "403"),
        (
            400,
            '{"error":"invalid_grant","error_description":"Invalid JWT: Check your iat and exp values."}',
            CredentialsRefused,
            "clock",
        ),
        (500, "ASSERTION", StorageUnavailable, "500"),
        (503, "ASSERTION", StorageThrottled, "fewer"),
        (200, "ASSERTION", StorageUnavailable, "something other"),
        (200, '{"ASSERTION": 1}', StorageUnavailable, "something other"),
    ],
)
async def test_why_there_is_no_token_is_said_without_what_was_sent(
    storage: GcsStorage, google: Google, status: int, body: str, expected: type[StorageError], word: str
) -> None:
    google.refusal = status, body
    error = await refusal(storage)
    assert type(error) is expected
    assert word in f"{error.message} {error.hint}"
    said = "".join(traceback.format_exception(error)) + error.hint
    assert "eyJ" not in said  # as every assertion begins


async def test_a_planted_key_appears_nowhere(storage: GcsStorage, google: Google) -> None:
    """Not in what can be printed of the storage and its parts, nor in any error with all its causes."""
    google.refusal = 400, '{"error": "invalid_grant"}'
    errors = [await refusal(storage)]
    google.refusal = None
    await listed(storage)
    session: Any = storage._session
    sdk: Any = session._storage
    printed = [repr(each) for each in (storage, session, session._location, sdk, sdk.token, sdk.session)]
    google.refusal, google.given = (400, "{}"), 7
    errors.append(await refusal(storage))
    printed += [word for error in errors for word in everything_of(error)]
    secrets = [*json.loads(google.credentials)["private_key"].split("\n")[1:-2], "ya29.", "eyJ"]
    assert len(secrets) > 20
    assert [secret for secret in secrets if secret in "".join(printed)] == []


def everything_of(error: BaseException) -> list[str]:
    causes = [cause for cause in (error.__cause__, error.__context__) if cause is not None]
    own = [str(error), repr(error), "".join(traceback.format_exception(error))]
    return own + [word for cause in causes for word in everything_of(cause)]


async def test_without_ca_file_no_private_authority_is_trusted(google: Google, tmp_path: Path) -> None:
    async with adapter(tmp_path, google.url, credentials=google.credentials) as storage:
        error = await refusal(storage)
    assert type(error) is StorageUnavailable
    assert google.url.removeprefix("https://") in error.message
    assert "ca_file" in error.hint


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_named(
    google: Google, tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "other.pem").write_text(content)
    ca_file = str(tmp_path / "other.pem")
    async with adapter(tmp_path, google.url, credentials=google.credentials, ca_file=ca_file) as storage:
        error = await refusal(storage)
    assert type(error) is StorageUnavailable
    assert ca_file in error.message


async def test_a_server_without_tls_is_said(ca_file: str, tmp_path: Path) -> None:
    async with serving(Google().app()) as url:
        account = service_account(token_uri=f"{url}/token")
        address = url.replace("http:", "https:")
        async with adapter(tmp_path, address, credentials=account, ca_file=ca_file) as storage:
            assert type(await refusal(storage)) is StorageUnavailable


async def test_signing_in_follows_no_redirect(storage: GcsStorage, google: Google) -> None:
    async with hostile_store() as witness:
        google.elsewhere = f"{witness.url}/token"
        error = await refusal(storage)
        assert "no sign-in: the endpoint answered with a redirect to 127.0.0.1:" in error.message
        assert witness.seen == []


async def test_a_token_of_any_size_is_refused(storage: GcsStorage, google: Google) -> None:
    google.padding = "x" * 70_000
    assert "larger than 64 KiB" in (await refusal(storage)).message


class TestAmbient:
    """The identity of the machine itself."""

    @pytest.fixture(autouse=True)
    def bare_machine(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
        self.metadata_at(monkeypatch, f"http://{LOOPBACK}:{free_port()}")

    @staticmethod
    def metadata_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        monkeypatch.setattr("gcloud.aio.auth.token.GCE_ENDPOINT_TOKEN", f"{url}/metadata")

    async def test_a_key_file_of_the_environment_is_used(
        self, google: Google, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "key.json").write_text(google.credentials)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        async with adapter(tmp_path, google.url, ca_file=ca_file) as storage:
            assert await listed(storage) == ["a.mp4"]

    async def test_the_metadata_server_gives_a_token(
        self, google: Google, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with serving(google.app()) as metadata_url:
            self.metadata_at(monkeypatch, metadata_url)
            async with adapter(tmp_path, google.url, ca_file=ca_file) as storage:
                assert await listed(storage) == ["a.mp4"]

    async def test_only_the_metadata_server_is_asked_past_the_proxy(
        self, google: Google, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy = f"http://user:pass@{LOOPBACK}:{free_port()}"
        async with serving(google.app()) as metadata_url:
            self.metadata_at(monkeypatch, metadata_url)
            async with adapter(tmp_path, google.url, ca_file=ca_file, proxy=proxy) as storage:
                error = await refusal(storage)
        assert google.given == 1
        assert "proxy" in error.message
        assert "pass" not in f"{error.message} {error.hint} {storage._session._location!r}"

    async def test_the_metadata_server_sends_nowhere_else(
        self, google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with hostile_store() as witness, serving(google.app()) as metadata_url:
            google.elsewhere = f"{witness.url}/token"
            self.metadata_at(monkeypatch, metadata_url)
            async with adapter(tmp_path, google.url) as storage:
                assert "redirect to 127.0.0.1:" in (await refusal(storage)).message
            assert witness.seen == []

    async def test_a_machine_without_identity_says_so(self, google: Google, tmp_path: Path) -> None:
        async with adapter(tmp_path, google.url) as storage:
            error = await refusal(storage)
        assert type(error) is CredentialsRefused
        assert "GOOGLE_APPLICATION_CREDENTIALS" in error.hint

    @pytest.mark.parametrize(
        "content", [None, '{"type": "x"}', '{"type": "service_account", "private_key": 7}']
    )
    async def test_a_key_file_that_cannot_be_used_is_said(
        self, google: Google, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
    ) -> None:
        if content:
            (tmp_path / "key.json").write_text(content)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        async with adapter(tmp_path, google.url) as storage:
            assert type(await refusal(storage)) is CredentialsRefused
