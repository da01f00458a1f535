from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from tests.api.asking import BASE_URL, client_of, key_with
from vvwatch.api.app import create_app
from vvwatch.api.http.context import ApiContext
from vvwatch.core.keys import Scope

pytestmark = pytest.mark.anyio


BY_NAME, TOTALS = b"of all by name\n", b"totals\n"


def coming_from(context: ApiContext, client: str) -> httpx2.AsyncClient:
    """A client at this address."""
    transport = httpx2.ASGITransport(create_app(context), client=(client, 4711))
    return httpx2.AsyncClient(transport=transport, base_url=BASE_URL)


async def test_it_is_alive(stranger: httpx2.AsyncClient) -> None:
    for path in ("/healthz", "/livez"):
        response = await stranger.get(path)
        assert (response.status_code, response.text) == (200, "ok\n")


async def test_it_is_ready_when_every_condition_is_met(stranger: httpx2.AsyncClient) -> None:
    assert (await stranger.get("/readyz")).text == "ok\n"
    assert (await stranger.get("/readyz?verbose")).text == "[+]database ok\nready\n"


async def test_what_is_missing_is_named(context: ApiContext) -> None:
    starting = replace(context, readiness=lambda: {"database": True, "sources": False})
    async with client_of(starting) as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.text == "[+]database ok\n[-]sources not yet\nnot ready\n"


async def test_figures_in_prometheus_format(stranger: httpx2.AsyncClient) -> None:
    response = await stranger.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.content == BY_NAME


@pytest.mark.parametrize("client", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_is_told_the_names(context: ApiContext, client: str) -> None:
    async with coming_from(context, client) as asking:
        assert (await asking.get("/metrics")).content == BY_NAME


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto"])
async def test_a_proxy_on_this_machine_speaks_for_strangers(context: ApiContext, header: str) -> None:
    async with coming_from(context, "127.0.0.1") as asking:
        assert (await asking.get("/metrics", headers={header: "127.0.0.1"})).content == TOTALS


@pytest.mark.parametrize("client", ["10.0.0.9", "2a00::1", "testclient", ""])
async def test_strangers_are_told_no_names(context: ApiContext, client: str) -> None:
    async with coming_from(context, client) as asking:
        assert (await asking.get("/metrics")).content == TOTALS


async def test_a_key_that_may_read_is_told_the_names(context: ApiContext) -> None:
    async with coming_from(context, "10.0.0.9") as asking:
        reads, searches = await key_with(context, Scope.READ), await key_with(context, Scope.SEARCH)
        answers = [
            await asking.get("/metrics", headers={"Authorization": f"Bearer {key}"})
            for key in (reads, searches, "sk_live_wrong")
        ]
    assert [answer.status_code for answer in answers] == [200, 403, 401]
    assert answers[0].content == BY_NAME


async def test_the_first_request_waits_for_no_route_to_be_built(
    context: ApiContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(context)
    monkeypatch.setattr("fastapi.routing.get_dependant", lambda **_: pytest.fail("a route is built"))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        assert (await client.get("/livez")).status_code == 200
