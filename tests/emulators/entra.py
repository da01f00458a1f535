"""A token endpoint like that of Microsoft Entra ID, for client-secret credentials without a cloud."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import jwt
import pytest
import trustme
from aiohttp import web

from tests.fault_proxy import LOOPBACK, free_port

TENANT_ID = "11111111-1111-1111-1111-111111111111"
CLIENT_ID = "22222222-2222-2222-2222-222222222222"
CLIENT_SECRET = "the-secret-of-the-client"
SIGNING_KEY = "x" * 32  # whoever takes the tokens looks at their claims only


class Entra:
    """Gives tokens for one client of one tenant over https, inside the `with` block.

    `token_seconds` is how long the next tokens live, `issued` how many there were. With `secret_expired` the
    right secret is one that was right until yesterday. An `outage` (status, page) is all that anybody gets,
    and the word to come back in an hour, or to go to the address `elsewhere`.
    """

    def __init__(self, folder: Path) -> None:
        self.token_seconds = 3600
        self.issued = 0
        self.secret_expired = False
        self.outage: tuple[int, str] | None = None
        self.elsewhere = ""
        self.authority = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.authority_url = f"https://{LOOPBACK}:{free_port()}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="entra")
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._token)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(LOOPBACK).configure_cert(context)
        port = int(self.authority_url.rpartition(":")[2])
        await web.TCPSite(self._runner, LOOPBACK, port, ssl_context=context).start()

    async def _configuration(self, request: web.Request) -> web.Response:
        base = f"{self.authority_url}/{request.match_info['tenant']}"
        return web.json_response(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "issuer": f"{base}/v2.0",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        if self.outage:
            status, text = self.outage
            said = {"Location": self.elsewhere} if self.elsewhere else {"Retry-After": "3600"}
            return web.Response(status=status, text=text, content_type="text/html", headers=said)
        form = await request.post()
        if request.match_info["tenant"] != TENANT_ID:
            return _refused(400, "invalid_request", 90002, "Tenant not found.")
        if form.get("client_id") != CLIENT_ID:
            return _refused(400, "unauthorized_client", 700016, "Application was not found.")
        if form.get("client_secret") != CLIENT_SECRET:
            return _refused(401, "invalid_client", 7000215, "Invalid client secret provided.")
        if self.secret_expired:
            return _refused(401, "invalid_client", 7000222, "The provided client secret keys are expired.")
        self.issued += 1
        return web.json_response(self._grant(str(form["scope"]).removesuffix("/.default")))

    def _grant(self, audience: str) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{TENANT_ID}/",
            "iat": now,
            "nbf": now - 5,
            "exp": now + self.token_seconds,
            "appid": CLIENT_ID,
            "tid": TENANT_ID,
        }
        return {
            "token_type": "Bearer",
            "expires_in": self.token_seconds,
            "access_token": jwt.encode(claims, SIGNING_KEY, algorithm="HS256"),
        }


def _refused(status: int, error: str, code: int, text: str) -> web.Response:
    description = f"AADSTS{code}: {text} Trace ID: 0 Correlation ID: 0"
    answer = {"error": error, "error_description": description, "error_codes": [code]}
    return web.json_response(answer, status=status)


@pytest.fixture(scope="session")
def entra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entra]:
    """One token endpoint for all tests of a run; `azurite_oauth` takes its tokens."""
    with Entra(tmp_path_factory.mktemp("entra")) as endpoint:
        yield endpoint
