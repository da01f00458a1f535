"""Who may do what: every route, every kind of key."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import httpx2
import pytest

from tests.api.asking import Api, key_with
from tests.api.route_scopes import SCOPES, print_table
from tests.clock import FakeClock
from vvwatch.api.app import create_app
from vvwatch.api.http.auth import PREFIX, resource_router
from vvwatch.api.http.context import ApiContext
from vvwatch.core.keys import Scope
from vvwatch.store.admin import keys

pytestmark = pytest.mark.anyio

WORLD = {name: scope for name, scope in SCOPES.items() if scope is None}
GUARDED = {name: scope for name, scope in SCOPES.items() if scope is not None}
ORDER = (Scope.SEARCH, Scope.READ, Scope.WRITE, Scope.ADMIN)


def filled(path: str) -> str:
    """The path with ids of nothing."""
    return PREFIX + re.sub(r"\{\w+\}", "nothing", path)


async def ask(client: httpx2.AsyncClient, name: str, key: str | None) -> httpx2.Response:
    """With a body that no route accepts, and a query that none does: a check of it before the key would show."""
    method, path = name.split()
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    bad = {"batch_size": "nonsense"}  # without it a stream would begin, and never end
    return await client.request(method, filled(path), headers=headers, content=b"{nonsense", params=bad)


def test_the_table_of_scopes() -> None:
    """A route that opens to more keys than before shows in the diff of this file.

    Write it with `python -m tests.api.route_scopes > tests/api/scopes.txt`.
    """
    assert (Path(__file__).parents[1] / "scopes.txt").read_text() == print_table()


async def test_every_route_below_the_prefix_states_its_scope(context: ApiContext) -> None:
    described = create_app(context).openapi()["paths"]
    routes = {
        f"{method.upper()} {path.removeprefix(PREFIX)}"
        for path, methods in described.items()
        for method in methods
        if path.startswith(PREFIX)
    }
    assert routes == set(SCOPES)


def test_a_route_without_a_scope_fails_when_it_is_declared() -> None:
    with pytest.raises(TypeError, match=r"GET /nothing states no scope: add \*\*require\(Scope.READ\)"):
        resource_router("test").get("/nothing")(lambda: None)


async def test_without_a_valid_key_nothing_is_told(
    stranger: httpx2.AsyncClient, context: ApiContext, clock: FakeClock
) -> None:
    revoked = await key_with(context, Scope.ADMIN)
    [row] = await context.database.read(keys.list_all)
    await context.database.write(keys.revoke, row.id)
    expired = await key_with(context, Scope.ADMIN, expires_at=clock.now())
    bad = (None, revoked, expired, "sk_live_" + "0" * 48, "sk_test_" + "0" * 48, "x" * 5000)
    for name, key in product(GUARDED, bad):
        response = await ask(stranger, name, key)
        assert response.status_code == 401, name
        assert response.json()["error"]["code"] == "authentication_invalid_api_key"
        assert response.headers["www-authenticate"] == "Bearer"


async def test_each_route_opens_from_its_scope_upwards(
    stranger: httpx2.AsyncClient, context: ApiContext
) -> None:
    made = {scope: await key_with(context, scope) for scope in Scope}
    none = await key_with(context)
    for (name, needed), (scope, key) in product(GUARDED.items(), [*made.items(), (None, none)]):
        response = await ask(stranger, name, key)
        if scope is not None and ORDER.index(scope) >= ORDER.index(needed):
            assert response.status_code not in {401, 403}, name
        else:
            assert response.status_code == 403, name
            assert response.json()["error"]["code"] == "authorization_insufficient_scope"
            assert needed in response.json()["error"]["message"]


@pytest.mark.parametrize("name", WORLD)
async def test_public_routes_need_no_key(stranger: httpx2.AsyncClient, name: str) -> None:
    assert (await ask(stranger, name, None)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "KEY"},
        {"Authorization": "Bearer KEY"},
        {"Authorization": "bearer KEY "},
        {"X-API-Key": "KEY", "Authorization": "Bearer sk_live_" + "0" * 48},
    ],
)
async def test_a_key_comes_in_either_header(
    stranger: httpx2.AsyncClient, context: ApiContext, headers: dict[str, str]
) -> None:
    key = await key_with(context, Scope.SEARCH)
    sent = {name: value.replace("KEY", key) for name, value in headers.items()}
    assert (await stranger.get("/api/v2/indexes", headers=sent)).status_code == 200


async def test_the_last_use_is_noted_once_a_minute(
    stranger: httpx2.AsyncClient, context: ApiContext, clock: FakeClock
) -> None:
    headers = {"X-API-Key": await key_with(context, Scope.SEARCH)}

    async def used() -> float:
        assert (await stranger.get("/api/v2/indexes", headers=headers)).status_code == 200
        return (await context.database.read(keys.list_all))[0].last_used_at or 0.0

    first = await used()
    clock.advance(59)
    assert await used() == first
    clock.advance(1)
    assert await used() == first + 60


async def test_a_full_disk_does_not_lock_the_operator_out(
    stranger: httpx2.AsyncClient, context: ApiContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def full(*_args: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    headers = {"X-API-Key": await key_with(context, Scope.SEARCH)}
    monkeypatch.setattr(keys, "note_use", full)
    assert (await stranger.get("/api/v2/indexes", headers=headers)).status_code == 200


async def test_the_description_names_each_scope(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    create = document["paths"]["/api/v2/webhooks"]["post"]
    assert create["x-scope"] == "write"
    assert create["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert document["paths"]["/api/v2/webhooks/events"]["get"]["security"] == []
    assert document["paths"]["/api/v2/windows"]["get"]["x-extension"] is True
    assert set(document["components"]["securitySchemes"]) == {"ApiKey", "Bearer"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
