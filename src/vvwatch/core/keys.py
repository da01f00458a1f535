"""API keys: their form, what is kept of them, and what they allow."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

_START: Final = "sk_live_"
_RANDOM_BYTES: Final = 24
_FORM: Final = re.compile(rf"{_START}[0-9a-f]{{{2 * _RANDOM_BYTES}}}")


class Scope(StrEnum):
    """What a key may do; each scope includes those before it."""

    SEARCH = "search"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_RANKS: Final[dict[str, int]] = {scope: rank for rank, scope in enumerate(Scope)}


def allows_scope(granted: Iterable[str], needed: Scope) -> bool:
    """Whether one of the `granted` scopes is `needed` or above it; an unknown scope grants nothing."""
    return any(_RANKS.get(scope, -1) >= _RANKS[needed] for scope in granted)


def format_key(randomness: bytes) -> str:
    """The key made of exactly 24 random bytes."""
    if len(randomness) != _RANDOM_BYTES:
        raise ValueError(f"a key needs {_RANDOM_BYTES} random bytes")
    return _START + randomness.hex()


def has_valid_format(text: str) -> bool:
    """Whether `text` can be a key at all."""
    return _FORM.fullmatch(text) is not None


def digest_key(key: str) -> str:
    """What is stored of a key: its SHA-256 in hex. Keys are random, so there is nothing to guess."""
    return hashlib.sha256(key.encode()).hexdigest()
