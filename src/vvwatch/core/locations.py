"""Keys and prefixes that came from outside, before anything is looked up with them."""

from __future__ import annotations

from typing import Final

from vvwatch.errors import InvalidInput

MAX_KEY_BYTES: Final = 4_096
"""The longest path that a local file can have; object stores allow 1,024."""


def normal_prefix(prefix: str) -> str:
    """`prefix` as it is stored: just as it came, since slashes and Unicode forms distinguish keys.

    Raises InvalidInput for a NUL, a `..` segment, text that is not UTF-8, or more than 4,096 bytes.
    """
    _check_text(prefix, "prefix")
    if ".." in prefix.split("/"):
        raise InvalidInput(f"the prefix {prefix!r} leaves the location", "leave out the '..' segments")
    return prefix


def check_key(key: str) -> None:
    """Raises InvalidInput when no object can stand at `key`."""
    if not key:
        raise InvalidInput("an object's key cannot be empty")
    _check_text(key, "key")


def _check_text(text: str, name: str) -> None:
    if "\0" in text:
        raise InvalidInput(f"the {name} {text!r} holds a NUL character")
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidInput(f"the {name} {text!r} is not valid UTF-8") from None
    if size_bytes > MAX_KEY_BYTES:
        raise InvalidInput(f"the {name} is {size_bytes:,} bytes long; {MAX_KEY_BYTES:,} are possible")
