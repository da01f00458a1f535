from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from tests.api.asking import client_of
from vvwatch.api.context import ApiContext

pytestmark = pytest.mark.anyio


async def test_it_is_alive(stranger: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/livez"):
        response = await stranger.get(path)
        assert (response.status_code, response.text) == (200, "ok\n")


async def test_it_is_ready_when_every_condition_is_met(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/readyz")).text == "ok\n"
    assert (await stranger.get("/readyz?verbose")).text == "[+]database ok\nready\n"


async def test_what_is_missing_is_named(context: ApiContext) -> None:
    starting = replace(context, readiness=lambda: {"database": True, "sources": False})
    async with client_of(starting) as client:
        response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.text == "[+]database ok\n[-]sources not yet\nnot ready\n"


async def test_figures_in_prometheus_format(stranger: httpx.AsyncClient) -> None:
    response = await stranger.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response.content == b"vvwatch_up 1\n"
