"""Tell files that exports wrote from those that people edited or put in their place."""

from __future__ import annotations

import hashlib

from vvwatch.core.objects import StorageObject
from vvwatch.core.outputs import Output
from vvwatch.ports import Storage


async def is_unchanged(storage: Storage, obj: StorageObject, output: Output) -> bool:
    """Return whether the object is what exports wrote there; it is read only if its size leaves that open.

    Raises as `Storage.stream`.
    """
    if not output.written or not output.may_have(obj.size_bytes):
        return not output.written
    digest = hashlib.sha256()
    async with storage.stream(obj.key, obj.version) as pieces:
        async for piece in pieces:
            digest.update(piece)
    return output.has(obj.size_bytes, digest.hexdigest())
