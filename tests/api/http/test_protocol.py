"""What holds of every request, whatever it is about: methods, paths, headers and bodies that nobody meant."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.asking import ADMIN_KEY, Api
from tests.api.http.test_guards import is_envelope
from tests.api.route_scopes import SCOPES
from vvwatch.api.http.auth import PREFIX

pytestmark = pytest.mark.anyio

PATHS = [
    name.split()[1] for name in SCOPES if name.startswith("GET ") and "{" not in name and "stream" not in name
]
BODIES: dict[str, dict[str, Any]] = {
    "POST /indexes": {"name": "TEXT"},
    "POST /prompts": {"name": "abc", "prompt_text": "TEXT", "json_schema": {"type": "object"}},
    "POST /webhooks": {"name": "TEXT", "url": "https://example.com/", "events": ["export.ready"]},
    "POST /api-keys": {"name": "TEXT"},
}


async def test_head_tells_what_get_would_without_the_body(api: Api) -> None:
    for path in ("/docs", "/healthz", f"{PREFIX}/indexes", f"{PREFIX}/indexes/nothing", "/nothing"):
        head, get = await api.client.head(path), await api.client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        assert head.headers["content-length"] == str(len(get.content))
        assert head.headers["x-request-id"]


async def test_head_wants_the_same_key(api: Api) -> None:
    del api.client.headers["X-API-Key"]
    assert (await api.client.head(f"{PREFIX}/indexes")).status_code == 401


async def test_another_method_is_told_all_that_the_path_takes(api: Api) -> None:
    for method, path, allowed in (
        ("PUT", f"{PREFIX}/webhooks/nothing", "DELETE, GET, HEAD, PATCH"),
        ("TRACE", f"{PREFIX}/indexes/nothing", "DELETE, GET, HEAD, PATCH"),
        ("OPTIONS", f"{PREFIX}/connectors/s3", "POST"),
        ("OPTIONS", f"{PREFIX}/videos/batch", "POST"),
        ("POST", "/docs", "GET, HEAD"),
    ):
        response = await api.client.request(method, path)
        assert response.status_code == 405
        assert response.headers["allow"] == allowed
        assert is_envelope(response, "method_not_allowed")


async def test_no_path_leads_elsewhere(api: Api) -> None:
    """Clients do not follow redirects: a slash more or less is another path."""
    for name in SCOPES:
        method, path = name.split()
        url = f"{PREFIX}{path}/".replace("{", "").replace("}", "")
        if not path.endswith(":path}"):
            response = await api.client.request(method, url)
            assert response.status_code < 300 or response.status_code >= 400, name
    for path in ("//api/v2/indexes", "/api/v2//indexes", "/api/v2/../v2/indexes", "/API/V2/indexes"):
        response = await api.client.get(f"http://127.0.0.1:8787{path}")
        assert response.status_code in {200, 404}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {ADMIN_KEY}"},
        {"Authorization": f"Bearer{ADMIN_KEY}"},
        {"Authorization": f"Bearer {ADMIN_KEY} {ADMIN_KEY}"},
        {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
        {"X-API-Key": ""},
        {"X-API-Key": f"{ADMIN_KEY}\x00"},
        {"X-API-Key": ADMIN_KEY.upper()},
        {"X-API-Key": "é".encode("latin-1")},
    ],
)
async def test_what_is_no_key_opens_nothing(api: Api, headers: dict[str, Any]) -> None:
    del api.client.headers["X-API-Key"]
    response = await api.client.get(f"{PREFIX}/indexes", headers=headers)
    assert response.status_code == 401
    assert is_envelope(response, "authentication_invalid_api_key")


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Request-ID", "X-Unknown", "If-None-Match", "Range"])
@pytest.mark.parametrize("value", ["x" * 60_000, "\x00\x01", "é".encode("latin-1"), ""])
async def test_headers_that_nobody_meant_harm_nothing(api: Api, header: str, value: Any) -> None:
    response = await api.client.post(f"{PREFIX}/indexes", json={"name": "a"}, headers={header: value})
    assert response.status_code in {201, 422}, response.text


ODD = ("\x00", "a\x00b", "\ud800", "a" * 3000, "💾\r\nX: y")


@pytest.mark.parametrize("odd", ODD, ids=ascii)
async def test_ids_that_nobody_gave_are_not_found(api: Api, odd: str) -> None:
    """Neither database takes all texts; none of them is an id."""
    quoted = quote(odd.encode("utf-8", "surrogatepass"), safe="")
    for name in SCOPES:
        method, path = name.split()
        if "{" in path and ":path}" not in path:
            url = PREFIX + re.sub(r"{\w+}", quoted, path)
            response = await api.client.request(method, url, json={})
            assert response.status_code < 500, f"{name}: {response.text}"
            assert is_envelope(response, response.json()["error"]["code"]), name


@pytest.mark.parametrize("odd", ODD, ids=ascii)
async def test_parameters_that_nobody_meant_harm_nothing(api: Api, odd: str) -> None:
    document = (await api.client.get("/openapi.json")).json()
    quoted = quote(odd.encode("utf-8", "surrogatepass"), safe="")
    for path in PATHS:
        for parameter in document["paths"][PREFIX + path]["get"]["parameters"]:
            if parameter.get("in") == "query":
                response = await api.client.get(f"{PREFIX}{path}?{parameter['name']}={quoted}")
                assert response.status_code < 500, f"{path} {parameter['name']}: {response.text}"


@pytest.mark.parametrize("odd", ODD, ids=ascii)
async def test_texts_that_no_database_takes_are_refused_or_kept(api: Api, odd: str) -> None:
    """A refusal says so; what is taken comes back as it was sent."""
    for name, body in BODIES.items():
        method, path = name.split()
        sent = json.dumps({key: odd if value == "TEXT" else value for key, value in body.items()})
        headers = {"Content-Type": "application/json"}
        response = await api.client.request(method, PREFIX + path, content=sent, headers=headers)
        assert response.status_code in {201, 422}, f"{name}: {response.text}"
        if response.status_code == 201:
            assert odd in response.json().values()
