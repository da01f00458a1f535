"""How tests ask the API: a client that knows what it expects, and what has to stand in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi import FastAPI

from tests.api.openapi.described import DescribedTransport
from vvwatch.api.app import create_app
from vvwatch.api.http.context import ApiContext
from vvwatch.core.keys import Scope
from vvwatch.store.admin import keys

BASE_URL = "http://127.0.0.1:8787"
ADMIN_KEY = "sk_live_" + "a" * 48
PROMPT = {
    "name": "Shots",
    "prompt_text": "Describe every shot.",
    "json_schema": {"type": "object", "properties": {"subject": {"type": "string"}}},
}


def client_of(context: ApiContext, **options: Any) -> httpx2.AsyncClient:
    """A client of an application of its own; what fails inside becomes an answer, as on a real server."""
    return _client(create_app(context), **options)


def shared_client_of(context: ApiContext) -> httpx2.AsyncClient:
    """A client of the one application that most tests share, since its routes take a while to be built."""
    app = _shared_app(context)
    app.state.context = context
    return _client(app)


_shared: dict[tuple[object, ...], FastAPI] = {}


def _shared_app(context: ApiContext) -> FastAPI:
    """What the guards were made for must be the same; all else is the context's."""
    settings = context.settings
    bounds = settings.max_body_bytes, settings.max_upload_bytes
    guarded = settings.listen_host, settings.public_url, *bounds
    if guarded not in _shared:
        _shared[guarded] = create_app(context)
    return _shared[guarded]


def _client(app: FastAPI, **options: Any) -> httpx2.AsyncClient:
    transport = DescribedTransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=BASE_URL, **options)


async def key_with(context: ApiContext, *scopes: Scope, expires_at: float | None = None) -> str:
    """A fresh key."""
    number = await context.database.read(lambda tx: len(keys.list_all(tx)))
    _, key = await context.database.write(keys.create, "test", scopes, bytes([number] * 24), expires_at)
    return key


@dataclass
class Api:
    """Asks with an administrator's key; every method returns the decoded answer of the expected status."""

    client: httpx2.AsyncClient
    context: ApiContext

    @classmethod
    async def prepared(cls, client: httpx2.AsyncClient, context: ApiContext) -> Api:
        """With the administrator's key in the database."""
        await context.database.write(keys.seed_admin, ADMIN_KEY)
        client.headers["X-API-Key"] = ADMIN_KEY
        return cls(client, context)

    async def ask(self, method: str, path: str, *, status: int = 200, **options: Any) -> Any:
        response = await self.client.request(method, f"/api/v2{path}", **options)
        assert response.status_code == status, response.text
        return response.json()

    async def get(self, path: str, **params: Any) -> Any:
        return await self.ask("GET", path, params=params)

    async def post(self, path: str, body: Any = None, *, status: int = 200) -> Any:
        return await self.ask("POST", path, status=status, json=body)

    async def put(self, path: str, body: Any, *, status: int = 200) -> Any:
        return await self.ask("PUT", path, status=status, json=body)

    async def error(self, method: str, path: str, status: int, **options: Any) -> Any:
        """The error of an answer that must be a refusal."""
        return (await self.ask(method, path, status=status, **options))["error"]

    async def index(self) -> str:
        """A new index."""
        return str((await self.post("/indexes", {"name": "films"}, status=201))["index_id"])

    async def prompt(self, **changes: Any) -> str:
        """A new prompt."""
        return str((await self.post("/prompts", {**PROMPT, **changes}, status=201))["prompt_id"])

    async def connector(self, *scopes: str, **changes: Any) -> str:
        """A new connector for the allowed folder."""
        path = str(self.context.settings.local_roots[0])
        body = {"name": "in", "path": path, "scopes": scopes or ("import",), **changes}
        return str((await self.post("/connectors/local", body, status=201))["connector_id"])
