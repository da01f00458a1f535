"""Absolute URLs in responses, and links that open one resource for a while without a key."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request

from vvwatch.api.http.auditing import report_link
from vvwatch.api.http.context import ApiContext
from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.guards import host_name
from vvwatch.core.tokens import mint_token, verify_token
from vvwatch.errors import InvalidInput, TokenRefused
from vvwatch.store.admin import keys

_SECRET: Final = "links"  # noqa: S105  # the purpose of a secret, not a secret
_HINT: Final = "request a new link"
_GRANTED_BY: Final = "granted_by"


@dataclass(frozen=True, slots=True)
class Use:
    """What a token opens: the routes below `path` for the resource named by `parameter`, for `lifetime_seconds`."""

    name: str
    path: str
    parameter: str
    lifetime_seconds: float


EXPORT: Final = Use("export", "/exports/{export_id}/download", "export_id", 900.0)
MEDIA: Final = Use("media", "/media/{video_id}/content", "video_id", 3600.0)
THUMBNAIL: Final = Use("thumbnail", "/videos/segments/{segment_id}/thumbnail", "segment_id", 3600.0)
STORYBOARD: Final = Use("storyboard", "/videos/{video_id}/storyboard.jpg", "video_id", 3600.0)
CLIP: Final = Use("clip", "/videos/segments/{segment_id}/content", "segment_id", 3600.0)

USES: Final = {
    f"GET {EXPORT.path}": EXPORT,
    f"GET {MEDIA.path}": MEDIA,
    f"GET {CLIP.path}": CLIP,
    f"GET {THUMBNAIL.path}": THUMBNAIL,
    f"GET {STORYBOARD.path}": STORYBOARD,
    "GET /videos/{video_id}/storyboard.vtt": STORYBOARD,
}
"""Method and path of the routes that accept a token instead of a key."""


@dataclass(frozen=True, slots=True)
class Link:
    """A URL and its expiry in epoch seconds."""

    url: str
    expires_at: float


def create_link(request: Request, origin: str, prefix: str, use: Use, identifier: str) -> Link:
    """Return a URL below `origin` that opens `identifier` to everyone for a while, and log it.

    It expires with the API key of `request` at the latest.
    """
    context: ApiContext = request.app.state.context
    expires_at = context.clock.now() + use.lifetime_seconds
    report_link(request, identifier, expires_at)
    return Link(_sign_url(request, f"{origin}{prefix}", use, identifier, expires_at), expires_at)


def create_stable_links(
    request: Request, origin: str, prefix: str, use: Use, identifiers: Sequence[str]
) -> dict[str, str]:
    """Return a URL for each, as `create_link`; the same all through an hour, so that clients can cache what it opens.

    They are logged as one.
    """
    expires_at = _next_expiry(request, use)
    report_link(request, f"{use.name} of {len(identifiers)} from {identifiers[0]}", expires_at)
    return {each: _sign_url(request, f"{origin}{prefix}", use, each, expires_at) for each in identifiers}


def create_token(request: Request, use: Use, identifier: str) -> str:
    """Return the token of a stable link, for an address that the caller builds, and log it."""
    expires_at = _next_expiry(request, use)
    report_link(request, identifier, expires_at)
    return _mint(request, use, identifier, expires_at)


def _next_expiry(request: Request, use: Use) -> float:
    """Return the end of the lifetime that the next full one follows."""
    now: float = request.app.state.context.clock.now()
    return (now // use.lifetime_seconds + 2) * use.lifetime_seconds


def _sign_url(request: Request, base: str, use: Use, identifier: str, expires_at: float) -> str:
    path = use.path.replace(f"{{{use.parameter}}}", quote(identifier, safe=""))
    return f"{base}{path}?{urlencode({'token': _mint(request, use, identifier, expires_at)})}"


def _mint(request: Request, use: Use, identifier: str, expires_at: float) -> str:
    context: ApiContext = request.app.state.context
    granted_by = [request.state.key_id, request.state.key_created_at]
    claims = {"use": use.name, "id": identifier, _GRANTED_BY: granted_by}
    return mint_token(context.box.secret(_SECRET), claims, expires_at)


async def is_admitted(request: Request, use: Use) -> bool:
    """Return whether the request has a valid token for this resource; False without a token.

    Raises ApiError: 401 for an invalid or expired token or a revoked key, 403 for a token of another resource.
    """
    token = request.query_params.get("token")
    if token is None:
        return False
    context: ApiContext = request.app.state.context
    claims = _read_claims(context, token)
    key_id, created_at = claims.pop(_GRANTED_BY, ("", 0.0))  # tokens of older versions name no key
    if not await context.database.read(keys.is_still_active, key_id, created_at):
        what = "the API key that created this link was revoked or deleted, or has expired"
        raise ApiError(401, TokenRefused.code, what, _HINT)
    if claims != {"use": use.name, "id": request.path_params[use.parameter]}:
        raise ApiError(403, "authorization_foreign_token", "the token is for another resource", _HINT)
    return True


def _read_claims(context: ApiContext, token: str) -> dict[str, Any]:
    box, now = context.box, context.clock.now()
    with suppress(TokenRefused):
        return verify_token(box.secrets(_SECRET), token, now)
    with suppress(InvalidInput):
        box.refresh()  # another node may have signed it with a newer key
    try:
        return verify_token(box.secrets(_SECRET), token, now)
    except TokenRefused as error:
        raise ApiError(401, error.code, error.message, error.hint) from None


def own_origin(request: Request) -> str:
    """Return scheme, host and port by which the client reached this server, from the Host header."""
    host = request.headers["host"]
    name, port = host_name(host), host.rpartition(":")[2]
    address = f"[{name}]" if ":" in name else name
    return f"{request.url.scheme}://{address}" + (f":{port}" if port.isdecimal() else "")


def linked_origin(request: Request) -> str:
    """Return the origin for links: the client's own if it uses https, else the public_url, if set."""
    context: ApiContext = request.app.state.context
    own = own_origin(request)
    public = (context.settings.public_url or "").rstrip("/")
    return own if own.startswith("https:") or not public else public


def secure_origin(request: Request) -> str | None:
    """Return `linked_origin`, but None for plain http unless `[api] download_urls` allows it."""
    context: ApiContext = request.app.state.context
    origin = linked_origin(request)
    if origin.startswith("https:"):
        return origin
    return own_origin(request) if context.settings.any_download_url else None
