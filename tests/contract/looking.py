"""Where the contract's tests run, and how they look at a place."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.contract.places import PLACES, PROVIDERS, STORE_PLACES, UNLIKE_S3, Place
from vvwatch.core.objects import StorageObject

everywhere = pytest.mark.parametrize("place", [*PLACES, *UNLIKE_S3], indirect=True)
each_store = pytest.mark.parametrize("place", STORE_PLACES, indirect=True)
in_providers = pytest.mark.parametrize("cloud", PROVIDERS, indirect=True)


async def look(place: Place, prefix: str = "", *, recursive: bool = True) -> dict[str, StorageObject]:
    """The objects that are listed, by key."""
    return {
        obj.key: obj async for page in place.storage.list(prefix, recursive=recursive) for obj in page.objects
    }


async def read(place: Place, obj: StorageObject) -> bytes:
    """All bytes of that version."""
    async with place.storage.descriptor(obj.key, obj.version) as fd:
        return os.pread(fd, obj.size_bytes + 1, 0)


def source(folder: Path, data: bytes) -> Path:
    """A file to be written from."""
    path = folder / f"source-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(data)
    return path
