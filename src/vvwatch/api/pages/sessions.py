"""Sessions of browsers: a sealed cookie that names an API key, until it expires or the key is revoked.

The server keeps no sessions. Each request looks its key up, so that revoking the key ends its sessions.
"""

from __future__ import annotations

import hmac
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request, Response

from vvwatch.api.http.context import ApiContext
from vvwatch.core.keys import Scope, allows_scope
from vvwatch.errors import StoreError
from vvwatch.store.admin import keys
from vvwatch.store.models.admin import ApiKey

COOKIE: Final = "vvwatch_session"
LIFETIME_SECONDS: Final = 12 * 3600.0

_FLASH_COOKIE: Final = "vvwatch_flash"
_FLASH_SECONDS: Final = 60.0
_USE: Final = "session"
_FLASH_USE: Final = "flash"
_MOST_FLASH_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Session:
    """An open session. `csrf` is the token that its forms carry."""

    key: ApiKey
    csrf: str
    expires_at: float

    def may(self, scope: Scope) -> bool:
        """Return whether its key has this scope."""
        return allows_scope(self.key.scopes, scope)

    def owns(self, token: str) -> bool:
        """Return whether `token` comes from a form of this session."""
        return hmac.compare_digest(self.csrf.encode(), token.encode())


@dataclass(frozen=True, slots=True)
class Flash:
    """The outcome of an action, shown on the next page. `kind` is `good` or `bad`."""

    kind: str
    message: str
    hint: str = ""


def open_session(request: Request, response: Response, key: ApiKey) -> None:
    """Begin a session of this key in the browser that gets `response`."""
    context: ApiContext = request.app.state.context
    claims = {"key": key.id, "made": key.created_at, "csrf": secrets.token_hex(16)}
    _set_cookie(request, response, COOKIE, _seal(context, _USE, claims, LIFETIME_SECONDS))


def close_session(request: Request, response: Response) -> None:
    """End the session of the browser that gets `response`."""
    response.delete_cookie(COOKIE, secure=_is_secure(request), httponly=True, samesite="strict")


async def find_session(request: Request) -> Session | None:
    """Return the request's session; None without one, after it expired, and if its key is no longer valid."""
    context: ApiContext = request.app.state.context
    claims = _open(context, _USE, request.cookies.get(COOKIE, ""))
    if claims is None:
        return None
    key = await context.database.read(keys.find_by_id, claims["key"], claims["made"])
    return None if key is None else Session(key, claims["csrf"], claims["until"])


def set_flash(request: Request, response: Response, flash: Flash) -> None:
    """Show `flash` on the next page of the browser that gets `response`."""
    texts = [text[:_MOST_FLASH_CHARACTERS] for text in (flash.kind, flash.message, flash.hint)]
    context: ApiContext = request.app.state.context
    _set_cookie(
        request, response, _FLASH_COOKIE, _seal(context, _FLASH_USE, {"texts": texts}, _FLASH_SECONDS)
    )


def find_flash(request: Request) -> Flash | None:
    """Return the outcome to show, or None."""
    claims = _open(request.app.state.context, _FLASH_USE, request.cookies.get(_FLASH_COOKIE, ""))
    return None if claims is None else Flash(*claims["texts"])


def clear_flash(request: Request, response: Response) -> None:
    """Forget the outcome: it was shown."""
    response.delete_cookie(_FLASH_COOKIE, secure=_is_secure(request), httponly=True, samesite="strict")


def _seal(context: ApiContext, use: str, claims: dict[str, Any], seconds: float) -> str:
    until = context.clock.now() + seconds
    return context.box.seal(json.dumps({"use": use, "until": until, **claims})).decode()


def _open(context: ApiContext, use: str, sealed: str) -> dict[str, Any] | None:
    """Return the claims of a cookie; None if it is missing, altered, expired, or of another use."""
    if not sealed.isascii() or not sealed:
        return None
    with suppress(StoreError, ValueError):
        claims = json.loads(context.box.open(sealed.encode()))
        if isinstance(claims, dict) and claims.get("use") == use and claims["until"] > context.clock.now():
            return claims
    return None


def _set_cookie(request: Request, response: Response, name: str, value: str) -> None:
    response.set_cookie(name, value, secure=_is_secure(request), httponly=True, samesite="strict", path="/")


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
