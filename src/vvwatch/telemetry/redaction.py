"""Redact events: no secrets, no control characters and, on request, no names of objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "•••"
_SECRET_NAME: Final = re.compile(r"(?:key|secret|token|password|credentials)s?$", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(r"(sk_live_|whsec_)[A-Za-z0-9+/=_-]+")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_OBJECT_NAMES: Final = frozenset({"object_key", "object_keys", "prefix", "uri", "path", "title"})
_SPEAKING: Final = frozenset({"error", "reason"})
# As `repr` quotes: with the mark that the text lacks. An apostrophe within a word opens no quote.
_QUOTED: Final = re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*(?:'|$)|"(?:[^"\\]|\\.)*(?:"|$)""")


def redact(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` with secrets masked (by name, and inside texts) and control characters escaped.

    `object_key` and `object_keys` name objects of a store and are shown.
    """
    return {name: MASK if _is_secret(name) else _clean(value) for name, value in fields.items()}


def drop_object_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` without names of objects, which may be a customer's data.

    Fields that name an object are masked, quotes in `error` and `reason` are cut out, and `message`, which may say
    anything about an object, is left out.
    """
    return {name: _drop_name(name, value) for name, value in fields.items() if name != "message"}


def mask(text: str) -> str:
    """Return `text` with everything masked that looks like an API key or a webhook secret."""
    return _SECRET_TEXT.sub(rf"\1{MASK}", text)


def _drop_name(name: str, value: Any) -> Any:
    if name in _OBJECT_NAMES:
        return MASK
    return _QUOTED.sub("'…'", value) if name in _SPEAKING and isinstance(value, str) else value


def _is_secret(name: str) -> bool:
    return name not in _OBJECT_NAMES and _SECRET_NAME.search(name) is not None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNPRINTABLE.sub(lambda match: match.group().encode("unicode_escape").decode(), mask(value))
    if isinstance(value, Mapping):
        return redact(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    return value
