"""What a JSON body may cost: how much it holds is found before it is parsed.

Parsing and validation keep the interpreter to themselves, in whatever thread they run: only a bound keeps them short.
"""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request

from vvwatch.api.http.errors import too_large

MAX_VALUES: Final = 12_000
"""How many values (fields, items, tables and lists) the JSON of a body may hold."""

_TEXT: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BEFORE_A_VALUE: Final = (b",", b"[", b"{")


async def check_values(request: Request) -> None:
    """Read the body. Raises ApiError (413) when its JSON holds more than MOST_VALUES values."""
    if _has_too_many(await request.body()):
        raise too_large(f"a body may hold at most {MAX_VALUES:,} values: send less at once")


def _has_too_many(body: bytes) -> bool:
    """Whether the JSON of `body` holds more than MOST_VALUES values; what its texts say does not count."""
    if _count_separators(body) <= MAX_VALUES:
        return False
    # A value has two texts at most, one of them its name: so many need not be cut out first.
    texts = (body.count(b'"') - body.count(b'\\"')) // 2
    return texts > 2 * MAX_VALUES or _count_separators(_TEXT.sub(b"", body)) > MAX_VALUES


def _count_separators(body: bytes) -> int:
    return sum(map(body.count, _BEFORE_A_VALUE))
