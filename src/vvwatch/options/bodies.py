"""The base of request bodies of the API."""

from __future__ import annotations

from typing import Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

_MAX_UNKNOWN: Final = 20


class Body(BaseModel):
    """A request body: strict types, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _mostly_known(cls, given: Any) -> Any:
        """Refuse many unknown fields with one error: one each would take too long."""
        known = len(cls.model_fields)
        if isinstance(given, dict) and len(given) > known + _MAX_UNKNOWN:
            counts = {"count": len(given), "known": known}
            raise PydanticCustomError(
                "unknown_fields", "has {count} fields; at most {known} are known", counts
            )
        return given


def _check_visible(text: str) -> str:
    """Refuse names that are invisible or break a line of a log or a table."""
    if not text.strip():
        raise PydanticCustomError("name", "may not consist of spaces alone")
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in text):
        raise PydanticCustomError("name", "may not hold control characters")
    return text


Visible: Final = AfterValidator(_check_visible)
"""Marks a name that people read."""
