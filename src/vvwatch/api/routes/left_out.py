"""The fields that exclude objects from an import: key patterns and size limits."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from vvwatch.api.http.wire import Body
from vvwatch.core.globs import compile_cost
from vvwatch.options.fields import Excluded, Positive

_MAX_COST: Final = 20_000


def _check_expansion(given: Any) -> Any:
    """Refuse patterns whose braces expand too far together: each has a limit, but all are slow to match."""
    left = _MAX_COST
    for pattern in given if isinstance(given, list) else ():
        if isinstance(pattern, str) and "{" in pattern:
            left -= compile_cost(pattern)
        if left < 0:
            raise PydanticCustomError("patterns", "the braces of all patterns together expand too far")
    return given


Patterns = Annotated[list[Excluded], Field(max_length=100), BeforeValidator(_check_expansion)]


class LeftOutBody(Body):
    """Exclusions; null or missing means none."""

    exclude: Patterns | None = None
    min_size_bytes: Positive | None = None
    max_size_bytes: Positive | None = None
