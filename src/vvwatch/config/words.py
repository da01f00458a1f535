"""Messages for wrong values, in files and in bodies and queries of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("is required", ""),
    "extra_forbidden": ("is not a known field", ""),
    "string_type": ("must be text", '"…" in quotes'),
    "string_sub_type": ("must be text", '"…" in quotes'),
    "is_instance_of": ("must be text", '"…" in quotes'),
    "string_unicode": ("is not valid text", "UTF-8"),
    "int_type": ("must be a whole number", ""),
    "int_from_float": ("must be a whole number", ""),
    "int_parsing": ("must be a whole number", ""),
    "int_parsing_size": ("is too large a number", ""),
    "float_type": ("must be a number", ""),
    "float_parsing": ("must be a number", ""),
    "finite_number": ("must be a finite number", ""),
    "bool_type": ("must be true or false", "true, false"),
    "bool_parsing": ("must be true or false", "true, false"),
    "tuple_type": ("must be a list", '["…", "…"]'),
    "list_type": ("must be a list", ""),
    "set_type": ("must be a list", ""),
    "dict_type": ("must be a table", ""),
    "model_type": ("must be a table", ""),
    "model_attributes_type": ("must be a JSON object", ""),
    "none_required": ("must be null", ""),
    "union_tag_not_found": ("does not say which kind it is", ""),
    "datetime_type": ("must be a moment", "2026-01-31T12:00:00Z"),
    "datetime_parsing": ("must be a moment", "2026-01-31T12:00:00Z"),
    "datetime_from_date_parsing": ("must be a moment", "2026-01-31T12:00:00Z"),
    "url_parsing": ("is not an address", "https://host/path"),
    "json_invalid": ("is not JSON", ""),
    "json_type": ("must be JSON text", ""),
    "invalid_key": ("has a field whose name is not text", ""),
    "value_error": (
        "must be a file",
        "a part with a file name",
    ),  # only uploads raise it; ours are of our own types
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("is too small", "more than {gt}"),
    "greater_than_equal": ("is too small", "{ge} or more"),
    "less_than": ("is too large", "less than {lt}"),
    "less_than_equal": ("is too large", "{le} or less"),
    "string_too_short": ("is too short", "{min_length} characters or more"),
    "string_too_long": ("is too long", "{max_length} characters or fewer"),
    "string_pattern_mismatch": ("has an unusable character", "{pattern}"),
    "too_short": ("has too few items", "{min_length} or more"),
    "too_long": ("has too many items", "{max_length} or fewer"),
    "literal_error": ("is not one of them", "{expected}"),
    "enum": ("is not one of them", "{expected}"),
    "union_tag_invalid": ("is not one of them", "{expected_tags}"),
}


_ONE_OF: Final = frozenset({"literal_error", "enum", "union_tag_invalid"})


def describe_error(detail: Mapping[str, Any]) -> tuple[str, str]:
    """Return (what is wrong, what is allowed or empty) for one of pydantic's error details.

    An unlisted error type is one of our own, and keeps its message.
    """
    kind = detail.get("type", "")
    if kind in _WORDS:
        return _WORDS[kind]
    what, allowed = _BOUNDS.get(kind, (str(detail["msg"]), ""))
    allowed = allowed.format(**detail.get("ctx", {}))
    return what, ", ".join(names_of(allowed)) if kind in _ONE_OF else allowed


def names_of(expected: str) -> list[str]:
    """Return the names in pydantic's `'a', 'b' or 'c'`."""
    return expected.replace(" or ", ", ").replace("'", "").split(", ")
