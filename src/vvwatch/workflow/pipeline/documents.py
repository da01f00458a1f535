"""Write the document of an export element by element, in several files if one would be too large.

Each file is a complete document with the same head. The number of files is known last, so it is written last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from vvwatch import private_files
from vvwatch.core.events import canonical_json
from vvwatch.errors import Conflict
from vvwatch.ports import WriteResult
from vvwatch.workflow.pipeline import artifact

MOST_BYTES: Final = 64 << 20
"""The largest document for download: clients accept no larger one."""

_MEDIA: Final = b',"media":['
_TAIL_BYTES: Final = 64
_AGAIN: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class _Part:
    """An unfinished file and its final name."""

    path: Path
    draft: Path
    file: BinaryIO
    size_bytes: int = 0
    elements: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.size_bytes += len(data)

    def end(self, tail: bytes) -> None:
        with _open_binary(os.open(self.draft, _AGAIN)) as self.file:
            self.write(tail)
            self.file.flush()
            os.fsync(self.file.fileno())


class Document:
    """Writes a document whose head, without its media, is `head`. Blocks: it belongs in a worker thread.

    `path` names its files by their numbers, from 1 on. None of them becomes larger than `most_bytes`.
    """

    def __init__(self, path: Callable[[int], Path], head: dict[str, Any], most_bytes: int | None) -> None:
        self._path = path
        self._head = canonical_json(head)[:-1] + _MEDIA
        self._most_bytes = most_bytes
        self._parts: list[_Part] = []
        self._begin()

    def add(self, element: dict[str, Any]) -> None:
        """Add the next element of `media`. Raises Conflict if it is too large for a file of its own."""
        data = canonical_json(element)
        if self._parts[-1].elements and not self._has_room(len(data) + 1):
            self._begin()
        if not self._has_room(len(data)):
            raise Conflict(
                f"the results of video {element['video']['video_id']!r} alone have {len(data):,} bytes;"
                f" with the runs that is more than the {self._most_bytes:,} that can be downloaded",
                "export to a connector (destination_connector_id), or fewer prompt runs",
            )
        part = self._parts[-1]
        part.write((b"," if part.elements else b"") + data)
        part.elements += 1

    def end(self) -> list[WriteResult]:
        """Complete all files; they are then on the disk under their final names."""
        self._parts[-1].file.close()
        count = len(self._parts)
        for number, part in enumerate(self._parts, 1):
            part.end(_build_tail(number, count))
        for part in self._parts:
            part.draft.replace(part.path)
        return [WriteResult("", part.size_bytes, part.digest.hexdigest()) for part in self._parts]

    def abandon(self) -> None:
        """Delete all incomplete files."""
        for part in self._parts:
            part.file.close()
            part.draft.unlink(missing_ok=True)

    def _begin(self) -> None:
        if self._parts:
            self._parts[-1].file.close()
        path = self._path(len(self._parts) + 1)
        draft = path.with_suffix(".part")
        self._parts.append(_Part(path, draft, _open_binary(private_files.recreate_private(draft))))
        self._parts[-1].write(self._head)

    def _has_room(self, size_bytes: int) -> bool:
        whole = self._parts[-1].size_bytes + size_bytes + _TAIL_BYTES
        return self._most_bytes is None or whole <= self._most_bytes


def _open_binary(descriptor: int) -> BinaryIO:
    return os.fdopen(descriptor, "wb")


def _build_tail(number: int, count: int) -> bytes:
    """Return the end of a file; a single file does not mention parts."""
    if count == 1:
        return b"]}\n"
    return b"]," + canonical_json(artifact.part_document(number, count))[1:] + b"\n"


@contextmanager
def abandon_on_error(document: Document) -> Iterator[None]:
    """Abandon the document if the block raises."""
    try:
        yield
    except BaseException:
        document.abandon()
        raise
