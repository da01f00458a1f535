"""Addresses in answers: absolute ones, and such as open one thing for a while to whoever has them, without a key."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request

from vvwatch.api.http.auditing import report_link
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.guards import host_name
from vvwatch.core.tokens import mint, verify
from vvwatch.errors import InvalidInput, TokenRefused
from vvwatch.store.admin import keys

_SECRET: Final = "links"  # noqa: S105  # the purpose of a secret, not one
_HINT: Final = "ask for a new address"
_GRANTED_BY: Final = "granted_by"


@dataclass(frozen=True, slots=True)
class Use:
    """What a token is for: the routes below `path` of what `parameter` names there, for `lifetime_seconds`."""

    name: str
    path: str
    parameter: str
    lifetime_seconds: float


EXPORT: Final = Use("export", "/exports/{export_id}/download", "export_id", 900.0)
MEDIA: Final = Use("media", "/media/{video_id}/content", "video_id", 3600.0)

USES: Final = {
    f"GET {EXPORT.path}": EXPORT,
    f"GET {MEDIA.path}": MEDIA,
}
"""Method and path of the routes that a token opens as well as a key."""


@dataclass(frozen=True, slots=True)
class Link:
    """An address, and until when it works, in epoch seconds."""

    url: str
    expires_at: float


def create_link(request: Request, origin: str, prefix: str, use: Use, identifier: str) -> Link:
    """The address below `origin` at which `identifier` is open to everyone from now on, for a while.

    It works no longer than the API key of `request`, who asks for it; the log says who that was.
    """
    context: ApiContext = request.app.state.context
    expires_at = context.clock.now() + use.lifetime_seconds
    granted_by = [request.state.key_id, request.state.key_created_at]
    claims = {"use": use.name, "id": identifier, _GRANTED_BY: granted_by}
    token = mint(context.box.secret(_SECRET), claims, expires_at)
    report_link(request, identifier, expires_at)
    path = use.path.replace(f"{{{use.parameter}}}", quote(identifier, safe=""))
    return Link(f"{origin}{prefix}{path}?{urlencode({'token': token})}", expires_at)


async def is_admitted(request: Request, use: Use) -> bool:
    """Whether the request has a token for what it asks for; False without one.

    Raises ApiError: 401 for a token that counts no more or never did, or whose key opens nothing any more, 403 for
    one that opens something else.
    """
    token = request.query_params.get("token")
    if token is None:
        return False
    context: ApiContext = request.app.state.context
    claims = _read_claims(context, token)
    key_id, created_at = claims.pop(_GRANTED_BY, ("", 0.0))  # an older version's token names no key
    if not await context.database.read(keys.is_still_active, key_id, created_at):
        what = "the API key that granted this address is revoked, has expired or is deleted"
        raise ApiError(401, TokenRefused.code, what, _HINT)
    if claims != {"use": use.name, "id": request.path_params[use.parameter]}:
        raise ApiError(403, "authorization_foreign_token", "the token opens something else", _HINT)
    return True


def _read_claims(context: ApiContext, token: str) -> dict[str, Any]:
    box, now = context.box, context.clock.now()
    with suppress(TokenRefused):
        return verify(box.secrets(_SECRET), token, now)
    with suppress(InvalidInput):
        box.refresh()  # another node may have signed it with a key that has come since
    try:
        return verify(box.secrets(_SECRET), token, now)
    except TokenRefused as error:
        raise ApiError(401, error.code, error.message, error.hint) from None


def own_origin(request: Request) -> str:
    """Scheme, host and port at which the client has reached this server: the Host, of which no more is taken."""
    host = request.headers["host"]
    name, port = host_name(host), host.rpartition(":")[2]
    address = f"[{name}]" if ":" in name else name
    return f"{request.url.scheme}://{address}" + (f":{port}" if port.isdecimal() else "")


def linked_origin(request: Request) -> str:
    """Where others reach what the client is told of: where it came itself by https, else the public_url, if any."""
    context: ApiContext = request.app.state.context
    own = own_origin(request)
    public = (context.settings.public_url or "").rstrip("/")
    return own if own.startswith("https:") or not public else public


def secure_origin(request: Request) -> str | None:
    """As `linked_origin`, but None where that is in clear text and `[api] download_urls` does not take it."""
    context: ApiContext = request.app.state.context
    origin = linked_origin(request)
    if origin.startswith("https:"):
        return origin
    return own_origin(request) if context.settings.any_download_url else None
