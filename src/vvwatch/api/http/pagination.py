"""Pagination: opaque cursors, and the two shapes of a page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Query

from vvwatch.api.http.errors import ApiError
from vvwatch.api.http.wire import Resource

T = TypeVar("T")
Row = TypeVar("Row")

_MARK: Final = "after:"
_LARGEST: Final = 2**63 - 1
_MOST_DIGITS: Final = 19

Cursor = Annotated[str | None, Query(max_length=8192, description="where the previous page ended")]
Limit = Annotated[int, Query(ge=1, le=100)]


class Pagination(Resource):
    """The position of a page; `next_cursor` is set if `has_more`."""

    limit: int
    has_more: bool
    next_cursor: str | None


class Page(Resource, Generic[T]):
    """One page of a list."""

    data: list[T]
    pagination: Pagination


class Items(Resource, Generic[T]):
    """One page of a list with a known total."""

    items: list[T]
    next_cursor: str | None
    total: int


def encode_cursor(last: str | int) -> str:
    """Return the cursor of the page after `last`."""
    return base64.urlsafe_b64encode(f"{_MARK}{last}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """Return the position in a cursor; None for the first page (no or an empty cursor). Raises ApiError (400)."""
    if not cursor:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if not text.startswith(_MARK):
        raise ApiError(
            400, "invalid_cursor", "the cursor is not one of this server", "start without a cursor"
        )
    return text.removeprefix(_MARK)


def decode_number(cursor: str | None) -> int | None:
    """Return the position in a cursor of a numbered list."""
    text = decode_cursor(cursor)
    if text is None:
        return None
    digits = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    if not digits or int(text) > _LARGEST:
        raise ApiError(400, "invalid_cursor", "the cursor belongs to another list", "start without a cursor")
    return int(text)


def to_page(
    rows: Sequence[Row], limit: int, shown: Callable[[Row], T], last: Callable[[Row], str | int]
) -> Page[T]:
    """Return a page of `limit` from rows read with one extra."""
    here, next_cursor = cut_page(rows, limit, last)
    pagination = Pagination(limit=limit, has_more=next_cursor is not None, next_cursor=next_cursor)
    return Page(data=[shown(row) for row in here], pagination=pagination)


def cut_page(
    rows: Sequence[Any], limit: int, last: Callable[[Any], str | int]
) -> tuple[Sequence[Any], str | None]:
    """Return the first `limit` rows, and the next cursor if there are more."""
    here = rows[:limit]
    return here, encode_cursor(last(here[-1])) if len(rows) > limit else None
