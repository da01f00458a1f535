"""Listing a large prefix in parallel."""

from __future__ import annotations

from collections.abc import AsyncIterator

from vvwatch.storage.listing import ListedPage, Lister


async def sharded(lister: Lister, prefix: str) -> AsyncIterator[ListedPage]:
    """All of `prefix`, in no order."""
    async for page in lister.pages(prefix):
        yield page
