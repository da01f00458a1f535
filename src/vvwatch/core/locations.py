"""Check keys and prefixes from outside, and build the addresses of objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from vvwatch.errors import InvalidInput

MAX_KEY_BYTES: Final = 4_096
"""The longest path that a local file can have; object stores allow 1,024."""


def normal_prefix(prefix: str) -> str:
    """Return `prefix` as it is stored: unchanged, because slashes and Unicode forms distinguish keys.

    Raises InvalidInput for a NUL, a `..` segment, text that is not UTF-8, or more than 4,096 bytes.
    """
    _check_text(prefix, "prefix")
    if ".." in prefix.split("/"):
        raise InvalidInput(f"the prefix {prefix!r} leaves the location", "leave out the '..' segments")
    return prefix


def check_key(key: str) -> None:
    """Raises InvalidInput if no object can have this key."""
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


@dataclass(frozen=True, slots=True)
class Address:
    """The start of all object addresses of a location; the key follows, percent-`encoded` or raw.

    Two connectors to the same objects have equal addresses.
    """

    base: str
    encoded: bool

    def of(self, key: str) -> str:
        """Return the address of the object at `key`."""
        return self.base + (quote(key) if self.encoded else key)

    def key_at(self, address: str) -> str | None:
        """Return the key of the object at `address`, empty for the location itself; None outside the location."""
        if address == self.base.removesuffix("/"):
            return ""
        if not address.startswith(self.base):
            return None
        rest = address.removeprefix(self.base)
        return unquote(rest) if self.encoded else rest


def bucket_address(scheme: str, bucket: str, endpoint_url: str = "") -> Address:
    """Return the address of a bucket: the public one, or that at `endpoint_url`.

    The latter includes the endpoint, so equal bucket names of two stores stay apart.
    """
    if endpoint_url:
        return Address(f"{endpoint_url.rstrip('/')}/{bucket}/", encoded=True)
    return Address(f"{scheme}://{bucket}/", encoded=False)


def bucket_addresses(scheme: str, location: Mapping[str, Any]) -> tuple[Address, ...]:
    """Return the address of the bucket at a connector's stored location, and the public one."""
    bucket = location["bucket"]
    return bucket_address(scheme, bucket, location.get("endpoint_url", "")), bucket_address(scheme, bucket)
