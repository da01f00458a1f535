"""Encodes requests. Pictures and sound are inserted as they are, because escaping them would double the cost."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

_MARK: Final = secrets.token_hex(16)
"""Marks a blob's place in the text around it; it is secret, so no file name can contain it."""


class Blob:
    """Bytes as base64 behind a prefix: a JSON string that needs no escaping."""

    __slots__ = ("text",)

    def __init__(self, prefix: str, content: bytes) -> None:
        self.text = prefix.encode("ascii") + base64.b64encode(content)

    def __len__(self) -> int:
        return len(self.text)


def encode_body(request: Mapping[str, Any]) -> bytes:
    """Return the request as JSON, blobs included. Equal requests give equal bytes."""
    blobs: list[bytes] = []

    def lifted(value: Any) -> str:
        if not isinstance(value, Blob):
            raise TypeError(type(value))
        blobs.append(value.text)
        return _MARK

    first, *others = json.dumps(request, separators=(",", ":"), default=lifted).encode().split(_MARK.encode())
    return b"".join([first, *(piece for pair in zip(blobs, others, strict=True) for piece in pair)])
