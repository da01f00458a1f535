"""What an import leaves out, as a body asks for it: patterns of keys, and bounds of the size."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from vvwatch.api.http.wire import Body
from vvwatch.config.fields import Excluded, Positive
from vvwatch.core.globs import compile_cost

_MAX_COST: Final = 20_000


def _check_expansion(given: Any) -> Any:
    """Refuse a list of patterns whose braces expand to too much: each alone has a limit, but all are slow to judge."""
    left = _MAX_COST
    for pattern in given if isinstance(given, list) else ():
        if isinstance(pattern, str) and "{" in pattern:
            left -= compile_cost(pattern)
        if left < 0:
            raise PydanticCustomError("patterns", "the braces of all patterns together expand to too much")
    return given


Patterns = Annotated[list[Excluded], Field(max_length=100), BeforeValidator(_check_expansion)]


class LeftOutBody(Body):
    """Null, or left out: nothing is excluded, and every size is meant."""

    exclude: Patterns | None = None
    min_size_bytes: Positive | None = None
    max_size_bytes: Positive | None = None
