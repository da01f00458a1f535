"""What stands before every route: ids, hosts, origins, sizes; and the envelope of all that goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, cast

import httpx2
import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.api.asking import ADMIN_KEY, BASE_URL, Api, client_of
from vvwatch.api.app import create_app
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.guards import Failures
from vvwatch.store.admin import keys
from vvwatch.store.catalog import catalog

pytestmark = pytest.mark.anyio


def is_envelope(response: httpx2.Response, code: str) -> bool:
    """Whether it is the one envelope, with its id in all three places."""
    body = response.json()
    request_id = response.headers["x-request-id"]
    return (
        set(body) == {"error", "request_id"}
        and set(body["error"]) == {"code", "message", "details", "request_id", "timestamp"}
        and body["error"]["code"] == code
        and body["error"]["timestamp"].endswith("Z")
        and isinstance(body["error"]["details"], dict)
        and body["error"]["request_id"] == body["request_id"] == request_id
    )


async def test_unknown_routes_and_methods(api: Api) -> None:
    unknown = await api.client.get("/api/v2/nothing")
    assert unknown.status_code == 404
    assert is_envelope(unknown, "resource_route_not_found")
    wrong = await api.client.patch("/api/v2/indexes")
    assert wrong.status_code == 405
    assert is_envelope(wrong, "method_not_allowed")
    assert "allow" in wrong.headers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://watch.example.org", "max-age=31536000"),
        ("https://192.0.2.1", "max-age=31536000"),
        ("https://localhost:8787", None),
        ("http://watch.example.org", None),
    ],
)
async def test_browsers_are_told_to_come_back_with_tls(
    context: ApiContext, url: str, expected: str | None
) -> None:
    public = replace(context, settings=replace(context.settings, public_url="https://watch.example.org"))
    async with client_of(public) as client:
        answer = await client.get(f"{url}/livez")
    assert answer.status_code == 200
    assert answer.headers.get("strict-transport-security") == expected


async def test_no_answer_is_kept_or_taken_for_another_type(api: Api) -> None:
    for path in ("/api/v2/indexes", "/api/v2/nothing", "/api/v2/openapi.json"):
        answer = await api.client.get(path)
        assert answer.headers["cache-control"] == "no-store", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
    assert "cache-control" not in (await api.client.get("/livez")).headers


async def test_a_trailing_slash_is_no_redirect(api: Api) -> None:
    assert (await api.client.get("/api/v2/indexes/")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"null",
        b"\xff\xfe",
        b'{"name": "a", "name": }',
        b'{"name": "\\ud800"}',
        b'{"name": NaN}',
        b"[" * 10_000,
        b"9" * 5_000,
    ],
)
async def test_a_body_that_is_no_sound_json_is_refused(api: Api, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = await api.client.post("/api/v2/indexes", content=body, headers=headers)
    assert response.status_code == 422
    assert is_envelope(response, "validation_error")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"name": }', "the body is not JSON (at character 10)"),
        (b'{"name": "\xff"}', "the body is not JSON (at byte 11: it is not valid UTF-8)"),
        (b"[" * 10_000, "the JSON body cannot be parsed"),
    ],
)
async def test_where_a_body_is_no_json_is_told(api: Api, body: bytes, what: str) -> None:
    headers = {"Content-Type": "application/json"}
    error = await api.error("POST", "/indexes", 422, content=body, headers=headers)
    assert error["message"].startswith(what)
    assert error["details"]["errors"] == [{"where": "body", "what": error["message"]}]


async def test_a_body_of_another_type_is_refused(api: Api) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}):
        response = await api.client.post("/api/v2/indexes", content=b'{"name": "a"}', headers=headers)
        assert response.status_code == 422
        assert is_envelope(response, "validation_error")
        assert response.json()["error"]["details"]["hint"] == "send Content-Type: application/json"


async def test_what_was_sent_is_not_repeated(api: Api) -> None:
    body = {"name": {"secret": "hunter2"}, "hunter3": 1}
    response = await api.client.post("/api/v2/indexes", json=body)
    assert response.status_code == 422
    assert "hunter2" not in response.text


async def test_of_what_is_wrong_with_a_body_so_much_is_told(api: Api) -> None:
    body = {"targets": [{"a": 1, "b": 1, "c": 1}] * 50}
    error = await api.error("POST", "/videos/batch/segments", 422, json=body)
    assert len(error["details"]["errors"]) == 100


async def test_who_goes_away_in_the_middle_of_a_request_is_no_failure_of_ours(context: ApiContext) -> None:
    app, answers = create_app(context), []
    await context.database.write(keys.seed_admin, ADMIN_KEY)

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answers.append(message["type"])

    headers = {"host": "localhost", "x-api-key": ADMIN_KEY, "idempotency-key": "k", "content-length": "2"}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    path = "/api/v2/prompt-runs/run_1/cancel"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw}
    await app(scope, gone, send)  # what is raised here is logged as a failure
    assert answers


async def test_what_fails_inside_shows_nothing_of_itself(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(catalog, "list_indexes", broken)
    response = await api.client.get("/api/v2/indexes")
    assert response.status_code == 500
    assert is_envelope(response, "internal_error")
    assert "hunter2" not in response.text


async def test_what_fails_inside_is_told_by_its_id_and_breaks_no_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("no wonder")

    told: list[tuple[str, Mapping[str, Any]]] = []
    monkeypatch.setattr(catalog, "list_indexes", broken)
    api.context.telemetry.subscribe(lambda *event: told.append(event))
    app = cast("Any", api.client._transport).app
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE_URL) as client:
        response = await client.get("/api/v2/indexes", headers={"X-API-Key": ADMIN_KEY})
    [(event, fields)] = told
    assert (event, fields["error"], fields["path"]) == ("request.failed", "no wonder", "/api/v2/indexes")
    assert fields["request_id"] == response.headers["x-request-id"]


async def test_an_answer_that_fails_when_it_was_begun_is_broken_off() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("no wonder")

    transport = httpx2.ASGITransport(Failures(app))
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        with pytest.raises(RuntimeError):
            await client.get("/")


@pytest.mark.parametrize("given", ["abc-123", "a" * 128, "8f2b:7.1_x"])
async def test_a_sane_request_id_is_kept(api: Api, given: str) -> None:
    response = await api.client.get("/livez", headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "<script>", "é".encode("latin-1")])
async def test_another_request_id_is_replaced(api: Api, given: Any) -> None:
    response = await api.client.get("/livez", headers={"X-Request-ID": given})
    assert response.headers["x-request-id"].startswith("req_")
    assert len(response.headers.get_list("x-request-id")) == 1


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 65_536


async def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    response = await api.client.post("/api/v2/indexes", content=b" " * ((1 << 20) + 1))
    assert response.status_code == 413
    assert is_envelope(response, "body_too_large")


async def test_a_body_that_does_not_tell_its_length_is_counted(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    response = await api.client.post("/api/v2/indexes", content=pieces(17), headers=headers)
    assert response.status_code == 413
    assert is_envelope(response, "body_too_large")
    told = await api.error("POST", "/indexes", 413, content=b" " * ((1 << 20) + 1))
    for part in ("message", "details"):
        assert response.json()["error"][part] == told[part]
    response = await api.client.post("/api/v2/indexes", content=pieces(16), headers=headers)
    assert response.status_code == 422


@pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1", "[::1]:8787", "LOCALHOST", "192.168.1.7:80"])
async def test_our_own_hosts_are_answered(api: Api, host: str) -> None:
    assert (await api.client.get("/api/v2/indexes", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::1", "a b", "localhost@evil"],
)
async def test_foreign_hosts_are_refused(api: Api, host: str) -> None:
    response = await api.client.get("/api/v2/indexes", headers={"Host": host})
    assert response.status_code == 403
    assert is_envelope(response, "host_not_allowed")
    assert "public_url" in response.json()["error"]["details"]["hint"]


async def test_probes_answer_whoever_asks(api: Api) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert (await api.client.get(path, headers={"Host": "10-0-0-7.pod"})).status_code == 200


async def test_pages_of_other_origins_change_nothing(api: Api) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:3000", "https://127.0.0.1:8787"):
        headers = {"Origin": origin}
        response = await api.client.post("/api/v2/indexes", json={"name": "a"}, headers=headers)
        assert response.status_code == 403
        assert is_envelope(response, "origin_not_allowed")
        assert (await api.client.get("/api/v2/indexes", headers=headers)).status_code == 200
    assert await api.get("/indexes") == []


async def test_our_own_pages_may_change_things(api: Api) -> None:
    headers = {"Origin": "http://127.0.0.1:8787"}
    response = await api.client.post("/api/v2/indexes", json={"name": "a"}, headers=headers)
    assert response.status_code == 201


async def test_the_public_address_is_our_own(api: Api, context: ApiContext) -> None:
    public = replace(context.settings, public_url="https://vv.example:8443/base", listen_host="box.lan")
    headers = {"X-API-Key": ADMIN_KEY}
    async with client_of(replace(context, settings=public), headers=headers) as client:
        for host in ("vv.example:8443", "box.lan"):
            sent = {"Host": host, "Origin": "https://vv.example:8443"}
            response = await client.post("/api/v2/indexes", json={"name": "a"}, headers=sent)
            assert response.status_code == 201
