"""Documents on their way to who asked for them: with a key, or by an address that stands for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from tests.api.asking import Api, client_of, key_with
from tests.api.routes.test_exports import direct
from tests.api.story import CONNECTOR, Story
from tests.clock import FakeClock
from vvwatch.api.http.context import ApiContext, ApiSettings
from vvwatch.core.exports import ExportStatus, QueueStatus
from vvwatch.core.keys import Scope
from vvwatch.store.db.database import Database

pytestmark = pytest.mark.anyio

DOCUMENT = b'{"media":[]}\n'
SECURE = "https://127.0.0.1:8443"


@pytest.fixture
async def export_id(api: Api, database: Database, tmp_path: Path) -> str:
    """A completed export, with its document."""
    made = await direct(database, "exp_a b", sha256="00")
    (tmp_path / "exports" / f"{made}.json").write_bytes(DOCUMENT)
    return made


async def minted(api: Api, export_id: str, origin: str = SECURE) -> str:
    answer = await api.client.post(f"{origin}/api/v2/exports/{export_id}/download-url")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["download_url"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept-Encoding": "identity"},
        {"Accept-Encoding": "gzip"},
        {"Range": "bytes=0-3"},
        {"Range": "bytes=99-"},
        {"If-None-Match": "*", "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    ],
)
async def test_a_document_is_downloaded_whole_whatever_is_asked(
    api: Api, export_id: str, headers: dict[str, str]
) -> None:
    response = await api.client.get(f"/api/v2/exports/{export_id}/download", headers=headers)
    assert (response.status_code, response.content) == (200, DOCUMENT)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(DOCUMENT))
    assert response.headers["content-disposition"] == f'attachment; filename="{export_id}.json"'
    assert "content-encoding" not in response.headers


async def test_a_part_that_there_is_not_is_not_found(api: Api, export_id: str) -> None:
    error = await api.error("GET", f"/exports/{export_id}/download", 404, params={"part": 2})
    assert error["code"] == "resource_export_part_not_found"
    await api.error("GET", f"/exports/{export_id}/download", 422, params={"part": 0})


async def test_an_address_needs_no_key(api: Api, stranger: httpx2.AsyncClient, export_id: str) -> None:
    url = urlsplit(await minted(api, export_id))
    assert (url.scheme, url.netloc, url.fragment) == ("https", "127.0.0.1:8443", "")
    assert url.path == "/api/v2/exports/exp_a%20b/download"
    [(name, token)] = parse_qsl(url.query, strict_parsing=True)
    assert name == "token"
    assert 32 <= len(token) <= 2048
    answer = await stranger.get(url.geturl())
    assert (answer.status_code, answer.content) == (200, DOCUMENT)


async def test_an_address_has_exactly_its_keys(api: Api, export_id: str) -> None:
    answer = await api.post(f"/exports/{export_id}/download-url")
    assert answer == {
        "export_id": export_id,
        "status": "completed",
        "destination_type": "download",
        "destination_connector_id": None,
        "download_url": None,
    }


@pytest.mark.parametrize(
    ("public_url", "any_url", "asked", "origin"),
    [
        (None, False, "http://127.0.0.1:8787", None),
        (None, True, "http://127.0.0.1:8787", "http://127.0.0.1:8787"),
        (None, False, SECURE, SECURE),
        (None, False, "https://127.0.0.1", "https://127.0.0.1"),
        (None, False, "https://[::1]:8443", "https://[::1]:8443"),
        ("https://videos.example.org", False, "http://127.0.0.1:8787", "https://videos.example.org"),
        ("https://videos.example.org", False, "https://videos.example.org", "https://videos.example.org"),
        ("https://videos.example.org", False, SECURE, SECURE),
        ("http://videos.example.org", False, "http://videos.example.org", None),
        ("http://videos.example.org", True, "http://127.0.0.1:8787", "http://127.0.0.1:8787"),
    ],
)
async def test_an_address_is_that_of_the_client_or_the_public_one(
    context: ApiContext,
    database: Database,
    settings: ApiSettings,
    public_url: str | None,
    any_url: bool,
    asked: str,
    origin: str | None,
) -> None:
    made = await direct(database)
    there = replace(context, settings=replace(settings, public_url=public_url, any_download_url=any_url))
    async with client_of(there) as client:
        await Api.prepared(client, there)
        answer = (await client.post(f"{asked}/api/v2/exports/{made}/download-url")).json()
    expected = origin and f"{origin}/api/v2/exports/{made}/download?token="
    assert (answer["download_url"] or "").partition("v1.")[0] == (expected or "")


@pytest.mark.parametrize("host", ["127.0.0.1:8443/evil?x=", "user:pw@127.0.0.1:8443", "127.0.0.1:port"])
async def test_nothing_but_name_and_port_of_the_host_is_told(api: Api, export_id: str, host: str) -> None:
    url = f"{SECURE}/api/v2/exports/{export_id}/download-url"
    answer = await api.client.post(url, headers={"Host": host})
    if answer.status_code == 200:
        told = urlsplit(answer.json()["download_url"])
        assert told.netloc in {"127.0.0.1:8443", "127.0.0.1"}
        assert told.path.startswith("/api/v2/")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_is_delivered_or_not_done_has_no_address(
    api: Api, story: Story, database: Database, scheme: str
) -> None:
    going = await direct(database, status=ExportStatus.PENDING, queue_status=QueueStatus.QUEUED)
    for export_id, connector in ((going, None), (story.export_id, CONNECTOR)):
        url = f"{scheme}://127.0.0.1:8787/api/v2/exports/{export_id}/download-url"
        answer = (await api.client.post(url)).json()
        assert answer["download_url"] is None
        assert answer["destination_connector_id"] == connector


async def refused(client: httpx2.AsyncClient, url: str) -> tuple[int, str]:
    """The status and code of a refusal, which never repeats the token."""
    answer = await client.get(url, headers={"X-API-Key": ""})
    token = url.partition("token=")[2]
    assert not token or token not in answer.text
    return answer.status_code, answer.json()["error"]["code"]


async def test_an_address_works_for_a_quarter_of_an_hour(api: Api, export_id: str, clock: FakeClock) -> None:
    url = await minted(api, export_id)
    clock.advance(899.999)
    assert (await api.client.get(url, headers={"X-API-Key": ""})).content == DOCUMENT
    clock.advance(0.001)
    assert await refused(api.client, url) == (401, "authentication_invalid_token")


async def test_a_token_opens_nothing_else(api: Api, export_id: str, database: Database) -> None:
    url = await minted(api, export_id)
    other = await direct(database, "exp_other")
    for strange in (url.replace("exp_a%20b", other), url.replace("exp_a%20b", "exp_none")):
        assert await refused(api.client, strange) == (403, "authorization_foreign_token")
    for elsewhere in (url.replace("/download?", "?"), url.replace("exports/exp_a%20b/download", "indexes")):
        assert await refused(api.client, elsewhere) == (401, "authentication_invalid_api_key")


async def test_a_spoilt_token_opens_nothing(api: Api, export_id: str) -> None:
    url = await minted(api, export_id)
    for spoilt in (url[:-1], f"{url}x", url.replace("token=v1", "token=v2"), url.partition("v1.")[0]):
        assert await refused(api.client, spoilt) == (401, "authentication_invalid_token")


async def test_without_token_and_key_nothing_is_opened(api: Api, export_id: str) -> None:
    code = "authentication_invalid_api_key"
    assert await refused(api.client, f"/api/v2/exports/{export_id}/download") == (401, code)


async def test_a_key_that_comes_along_decides(api: Api, export_id: str, context: ApiContext) -> None:
    url = await minted(api, export_id)
    key = await key_with(context, Scope.SEARCH)
    assert (await api.client.get(url, headers={"X-API-Key": key})).status_code == 403


async def test_every_node_with_the_same_secrets_takes_the_token(
    api: Api, export_id: str, context: ApiContext
) -> None:
    url = await minted(api, export_id)
    async with client_of(replace(context)) as other:
        assert (await other.get(url)).content == DOCUMENT


async def test_no_log_holds_a_token(
    api: Api, export_id: str, caplog: pytest.LogCaptureFixture, context: ApiContext
) -> None:
    told: list[Any] = []
    context.telemetry.subscribe(lambda name, fields: told.append((name, fields)))
    url = await minted(api, export_id)
    for address in (url, f"{url}x", f"{url}&part=0"):
        await api.client.get(address, headers={"X-API-Key": ""})
    token = url.partition("token=")[2]
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert token not in repr((told, ours))
