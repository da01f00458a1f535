"""Style sheet, scripts and icon of the pages, from the package; their URLs change with their content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Response

from vvwatch.api.http.errors import ApiError

PREFIX: Final = "/static"

router = APIRouter(include_in_schema=False)

_KINDS: Final = {
    "pages.css": "text/css; charset=utf-8",
    "lists.css": "text/css; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "htmx-4.0.1.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the pages and its URL."""

    content: bytes
    media_type: str
    url: str


@cache
def load_asset(name: str) -> Asset:
    """Return the asset of this name. Raises KeyError if there is none."""
    media_type = _KINDS[name]
    content = (files("vvwatch.api.pages") / "static" / name).read_bytes()
    return Asset(content, media_type, f"{PREFIX}/{sha256(content).hexdigest()[:16]}/{name}")


def asset_url(name: str) -> str:
    """Return the URL of an asset."""
    return load_asset(name).url


@router.get(f"{PREFIX}/{{digest}}/{{name}}")
def get_asset(digest: str, name: str) -> Response:
    """Return an asset. An old digest gets 404: what is cached for ever must be what its URL says."""
    asset = load_asset(name) if name in _KINDS else None
    if asset is None or asset.url != f"{PREFIX}/{digest}/{name}":
        raise ApiError(404, "resource_asset_not_found", "there is no such file", "reload the page")
    return Response(asset.content, media_type=asset.media_type, headers=_FOR_EVER)
