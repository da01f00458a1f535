"""Describe a file to upload, and read it in parts."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to create from the file `source`; `sha256` is the digest of its content in hex.

    `over` is the version that it replaces, if any.
    """

    key: str
    source: Path
    size_bytes: int
    sha256: str
    content_type: str
    over: str = ""


async def read_parts(source: Path, part_bytes: int) -> AsyncGenerator[bytes]:
    """Yield the content of a file in parts of `part_bytes`, the last one shorter; nothing for an empty file.

    No file stays open between parts, so a caller may stop early.
    """
    start = 0
    while part := await to_thread.run_sync(_read_part, source, start, part_bytes):
        start += len(part)
        yield part


def _read_part(source: Path, start: int, length: int) -> bytes:
    with source.open("rb") as file:
        file.seek(start)
        return file.read(length)


def digest_file(source: Path) -> tuple[int, str]:
    """Return the size of a file and its SHA-256 in hex; blocks."""
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()
