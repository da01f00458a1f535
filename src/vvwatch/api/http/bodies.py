"""Bound the cost of a JSON body: count its values before parsing it.

Parsing and validation hold the interpreter lock in any thread; only this bound keeps them short.
"""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request

from vvwatch.api.http.errors import too_large

MAX_VALUES: Final = 12_000
"""How many values (fields, items, objects and arrays) a JSON body may hold."""

_TEXT: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BEFORE_A_VALUE: Final = (b",", b"[", b"{")


async def check_values(request: Request) -> None:
    """Read the body. Raises ApiError (413) if its JSON holds more than MAX_VALUES values."""
    if _has_too_many(await request.body()):
        raise too_large(f"a body may hold at most {MAX_VALUES:,} values: send less at once")


def _has_too_many(body: bytes) -> bool:
    """Return whether the JSON of `body` holds more than MAX_VALUES values, ignoring the content of strings."""
    if _count_separators(body) <= MAX_VALUES:
        return False
    # A value has at most two strings, one of them its name, so strings need not be cut out first.
    texts = (body.count(b'"') - body.count(b'\\"')) // 2
    return texts > 2 * MAX_VALUES or _count_separators(_TEXT.sub(b"", body)) > MAX_VALUES


def _count_separators(body: bytes) -> int:
    return sum(map(body.count, _BEFORE_A_VALUE))
