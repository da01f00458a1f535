"""API keys: their format, their stored form, and their scopes."""

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
    """A key's permission; each scope includes those before it."""

    SEARCH = "search"
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_RANKS: Final[dict[str, int]] = {scope: rank for rank, scope in enumerate(Scope)}


def allows_scope(granted: Iterable[str], needed: Scope) -> bool:
    """Return whether one of the `granted` scopes includes `needed`; an unknown scope grants nothing."""
    return any(_RANKS.get(scope, -1) >= _RANKS[needed] for scope in granted)


def format_key(randomness: bytes) -> str:
    """Return the key made of exactly 24 random bytes."""
    if len(randomness) != _RANDOM_BYTES:
        raise ValueError(f"a key needs {_RANDOM_BYTES} random bytes")
    return _START + randomness.hex()


def has_valid_format(text: str) -> bool:
    """Return whether `text` has the format of a key."""
    return _FORM.fullmatch(text) is not None


def digest_key(key: str) -> str:
    """Return the stored form of a key: its SHA-256 in hex. Keys are random, so nothing can be guessed."""
    return hashlib.sha256(key.encode()).hexdigest()
