"""Values that must never be shown, and the files that hold them."""

from __future__ import annotations

import hmac
import stat
from pathlib import Path
from typing import Final

_MASK: Final = "•••"
_LONGEST: Final = 1 << 20
_LONGEST_SECRET: Final = 4096

Why = tuple[str, str] | None
"""What is wrong with a value, without any of it, and what is allowed; None if nothing is."""


class Secret:
    """A text that prints as `•••`; `reveal()` returns it. Compares in constant time."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return _MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


def secret_keys(name: str) -> tuple[str, str]:
    """Return the table keys for the secret `name`: a file, a variable."""
    return f"{name}_file", f"{name}_env"


def check_secret(text: str) -> Why:
    """Return why no service would accept `text` as a secret."""
    sound = 0 < len(text) <= _LONGEST_SECRET and text.isascii() and text.isprintable() and " " not in text
    allowed = f"1 to {_LONGEST_SECRET:,} printable characters, no spaces"
    return None if sound else ("is no such secret", allowed)


def read_secret(path: Path) -> Secret:
    """Return the content of the file at `path` without trailing newlines. Raises OSError, UnicodeDecodeError."""
    with path.open("rb") as file:
        return Secret(file.read(_LONGEST).decode().rstrip("\r\n"))


def is_readable_by_others(path: Path) -> bool:
    """Return whether every user of this machine may read the file at `path`; False if unknown."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
