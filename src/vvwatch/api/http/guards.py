"""Guards before routing: request ids, Host and Origin checks, body limits, security headers and HEAD."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from anyio import CancelScope
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vvwatch.api.http.auditing import note_refusal
from vvwatch.api.http.errors import HEADERS, REQUEST_ID, ApiError, error_response, internal_error, too_large
from vvwatch.core.audit import Reason

PROBES: Final = frozenset({"/healthz", "/livez", "/readyz"})
"""Probes: machines call them by any host name, and they reveal nothing."""

_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_NO_STORE: Final = (b"cache-control", b"no-store")
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_FOREIGN_HOST: Final = "host_not_allowed"
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class RequestIds:
    """Gives each request an id, the client's own if it is valid, and returns it in the response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        scope[REQUEST_ID] = request_id

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.update(scope.get(HEADERS, {}))
                _add_security_headers(headers.raw, scope)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _add_security_headers(headers: list[tuple[bytes, bytes]], scope: Scope) -> None:
    """Set headers that forbid sniffing, caching of private data and plain http later.

    Every response passes here; raw headers take a tenth of the time of Starlette's.
    """
    names = {name for name, _ in headers}
    if _NOSNIFF[0] not in names:
        headers.append(_NOSNIFF)
    if scope["path"].startswith("/api/") and _NO_STORE[0] not in names:
        headers.append(_NO_STORE)
    if scope.get("scheme") == "https" and not _is_own_machine(scope):
        headers.append(_HSTS)


def _is_own_machine(scope: Scope) -> bool:
    """Return whether the Host is the browser's own machine, where HSTS would apply to all other ports too."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    name = host.partition(b":")[0].lower()
    return name == b"localhost" or name.endswith(b".localhost")


class Failures:
    """Answers unexpected errors and keeps the connection; a response that has begun is cut off."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def note_and_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note_and_send)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await internal_error(Request(scope), error)(scope, receive, send)


class Heads:
    """Answers HEAD like GET without the body (RFC 9110 §9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with CancelScope() as answering:

            async def head_only(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    answering.cancel()

            await self._app({**scope, "method": "GET"}, receive, head_only)


class OwnHost:
    """Refuses foreign Host names (DNS rebinding) and writes from pages of other sites.

    IP addresses cannot be rebound and are always accepted. `names` are the accepted host names.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], public_origin: str | None) -> None:
        self._app = app
        self._names = frozenset(names)
        self._public_origin = public_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer 403."""
        refused = self._find_refusal(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            request = Request(scope)
            reason = Reason.HOST if refused.code == _FOREIGN_HOST else Reason.ORIGIN
            await error_response(request, note_refusal(request, reason, refused))(scope, receive, send)

    def _find_refusal(self, scope: Scope) -> ApiError | None:
        if scope["path"] in PROBES:
            return None
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = host_name(host)
        if not _is_number(name) and name not in self._names:
            hint = "use the server's listen address, or set public_url in its configuration"
            return ApiError(403, _FOREIGN_HOST, "this Host is not accepted", hint)
        origin = headers.get("origin")
        foreign = origin is not None and origin not in {f"{scope['scheme']}://{host}", self._public_origin}
        if foreign and scope["method"] not in _READING:
            hint = "make changes from a client, or from a page of this server"
            return ApiError(403, "origin_not_allowed", "pages of other origins may not change anything", hint)
        return None


class BoundedBody:
    """Refuses bodies over `most_bytes`, at once if the length is declared, else when it is exceeded.

    `uploads` overrides the limit for single routes (`POST /path`), from [api] max_upload_bytes.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, uploads: Mapping[str, int]) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        upload_bytes = self._uploads.get(f"{scope['method']} {scope['path']}")
        most = self._most_bytes if upload_bytes is None else upload_bytes
        hint = f"the limit is {most:,} bytes" + ("" if upload_bytes is None else ": [api] max_upload_bytes")
        if length.isdecimal() and (len(length) > 18 or int(length) > most):
            await error_response(Request(scope), too_large(hint))(scope, receive, send)
            return
        taken = 0

        async def receive_and_count() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(413, hint)
            return message

        await self._app(scope, receive_and_count, send)


def host_name(host: str) -> str:
    """Return the name or IP address in a Host header, lower case, without port and brackets; empty if invalid."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_number(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
