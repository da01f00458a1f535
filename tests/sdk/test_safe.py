"""A daemon with a certificate and a limit: links that open an export without a key, and what an eager key is told."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import videovector
from anyio.from_thread import BlockingPortal

from tests import samples
from tests.daemon_process import ADMIN_KEY, Daemon
from tests.sdk.twins import CLIENTS, Twin
from tests.tls import Tls, certificate

SOON = {"poll_interval": 0.2, "timeout": 30}
MOST = 200
TOKEN = re.compile(r"v1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass
class Safe:
    """A daemon that speaks https, and the run of one picture that was sent there."""

    daemon: Daemon
    tls: Tls
    run_id: str

    def asked(self, method: str, url: str, **headers: str) -> httpx2.Response:
        """What whoever has the address gets."""
        return httpx2.request(method, url, headers=headers, verify=self.tls.context)


@pytest.fixture(scope="module")
def safe(portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Safe]:
    base = tmp_path_factory.mktemp("safe")
    tls = certificate(base)
    options = f"{tls.options}requests_per_minute = {MOST}\n"
    picture = io.BytesIO(samples.image(base / "picture.png").read_bytes())
    picture.name = "picture.png"
    with Daemon(base / "daemon", extra=options) as daemon:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(tls.authority))
            sync = client_of(daemon, "sync", portal, ADMIN_KEY)
        job = sync.workflow.upload(picture)
        begun = sync.workflow.process(prompt_id="prompt_technical", import_job_id=job.job_id)
        run = sync.workflow.wait_until_searchable(begun.run.run_id, **SOON)
        sync.close()
        yield Safe(daemon, tls, run.run_id)


@pytest.fixture
def trusting(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients take no certificates, but look where Python does."""
    monkeypatch.setenv("SSL_CERT_FILE", str(safe.tls.authority))


def client_of(daemon: Daemon, kind: str, portal: BlockingPortal, key: str) -> Twin:
    client = CLIENTS[kind](api_key=key, base_url=f"{daemon.url}/api/v2", max_retries=0)
    return Twin(client, portal if kind == "async" else None)


@pytest.fixture(params=CLIENTS)
def sdk(request: pytest.FixtureRequest, safe: Safe, trusting: None, portal: BlockingPortal) -> Iterator[Twin]:
    twin = client_of(safe.daemon, request.param, portal, ADMIN_KEY)
    yield twin
    twin.close()


def exported(sdk: Twin, safe: Safe) -> str:
    made = sdk.exports.create_prompt_run_export(safe.run_id)
    sdk.exports.wait_for_completion(made.export_id, **SOON)
    return str(made.export_id)


def test_a_link_opens_one_export_without_a_key(sdk: Twin, safe: Safe) -> None:
    export_id = exported(sdk, safe)
    url = sdk.exports.download_url(export_id)
    assert url.startswith(f"{safe.daemon.url}/api/v2/exports/{export_id}/download?token=")
    query = parse_qs(urlsplit(url).query)
    assert query.keys() == {"token"}
    [token] = query["token"]
    assert TOKEN.fullmatch(token)
    assert 32 <= len(token) <= 2048
    answer = safe.asked("GET", url)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.content == b"".join(sdk.exports.iter_download(export_id))
    assert [item["video"]["title"] for item in json.loads(answer.content)["media"]] == ["picture"]


def test_a_link_opens_nothing_else(sdk: Twin, safe: Safe) -> None:
    export_id, other = exported(sdk, safe), exported(sdk, safe)
    url = sdk.exports.download_url(export_id)
    for wrong, status in (
        (url.replace(export_id, other), 403),
        (url.replace("/download?", "?"), 401),
        (url + "A", 401),
        (url.partition("?")[0], 401),
    ):
        assert safe.asked("GET", wrong).status_code == status


def test_the_answer_with_a_link_has_five_keys(sdk: Twin, safe: Safe) -> None:
    export_id = exported(sdk, safe)
    url = f"{safe.daemon.url}/api/v2/exports/{export_id}/download-url"
    minted = safe.asked("POST", url, **{"X-API-Key": ADMIN_KEY}).json()
    assert minted.keys() == {
        *("export_id", "status", "destination_type", "destination_connector_id", "download_url")
    }
    assert minted["destination_connector_id"] is None


def test_a_key_that_asks_too_often_is_told_when_to_ask_again(
    sdk: Twin, safe: Safe, portal: BlockingPortal
) -> None:
    made = sdk.api_keys.create(name="eager", scopes=["search"])
    eager = client_of(safe.daemon, "async" if sdk.portal else "sync", portal, made.key)
    with pytest.raises(videovector.RateLimitError) as caught:
        asked_often(eager)
    assert caught.value.error_code == "rate_limit_exceeded"
    assert 1 <= (caught.value.retry_after or 0) <= 60
    [category] = eager.rate_limits.get_status().categories.values()
    assert category.minute_limit == MOST
    eager.close()


def asked_often(sdk: Twin) -> None:
    for _ in range(2 * MOST + 1):  # the minute of the clock may end in between
        sdk.indexes.list()
