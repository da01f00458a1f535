"""Detect patterns written as regular expressions: allowed as globs, but they match next to nothing."""

from __future__ import annotations

import re
from typing import Final

_SIGNS: Final = (
    (re.compile(r"^\^"), "^"),
    (re.compile(r"\$$"), "$"),
    (re.compile(r"\\[.dDwWsSbB]"), "\\"),
    (re.compile(r"(?:^|[^*{},?\w\]]|_)\.\*|\.\*(?!$)"), ".*"),
    (re.compile(r"\.\+"), ".+"),
    (re.compile(r"\([^()]*\|[^()]*\)|\(\?"), "(…|…)"),
)
HINT: Final = 'a pattern is a glob: "*.jpg", "*.{mp4,mov}", "IMG_*.jpg", "2026/**"'


def regular_expression_in(pattern: str) -> str:
    """Return what makes a pattern look like a regular expression, for people; empty if it looks like a glob."""
    found = [sign for expression, sign in _SIGNS if expression.search(pattern)]
    if not found:
        return ""
    return (
        f"looks like a regular expression ({', '.join(found)}), and is read as a glob: it may match nothing"
    )
