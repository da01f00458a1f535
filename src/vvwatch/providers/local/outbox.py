"""Pending hints of a source, merged: a slow listener costs little memory and loses nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import anyio

from vvwatch.ports import Hint

_KEYS_PER_HINT: Final = 1000
_MOST_KEYS: Final = 50_000
_MOST_PREFIXES: Final = 200


class Outbox:
    """Collects touched keys and prefixes to list again, and passes them on as hints."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._prefixes: set[str] = set()
        self._filled = anyio.Event()

    def add(self, keys: Iterable[str] = (), rescan: Iterable[str] = ()) -> None:
        """Keep these until delivered. Too many of either become one listing of everything."""
        self._keys.update(dict.fromkeys(keys))
        self._prefixes.update(rescan)
        if len(self._keys) > _MOST_KEYS:
            self._keys.clear()
            self._prefixes = {""}
        if len(self._prefixes) > _MOST_PREFIXES:
            self._prefixes = {""}
        if self._keys or self._prefixes:
            self._filled.set()

    async def deliver(self, notify: Callable[[Hint], Awaitable[None]]) -> None:
        """Deliver until cancelled: keys before prefixes, because a look is quick and a listing may be long."""
        while True:
            await self._filled.wait()
            if self._keys:
                await notify(Hint(keys=self._taken_keys()))
            elif self._prefixes:
                await notify(Hint(rescan=self._taken_prefixes()))
            else:
                self._filled = anyio.Event()

    def _taken_keys(self) -> tuple[str, ...]:
        keys = tuple(key for key, _ in zip(self._keys, range(_KEYS_PER_HINT), strict=False))
        for key in keys:
            del self._keys[key]
        return keys

    def _taken_prefixes(self) -> tuple[str, ...]:
        """Return the prefixes that no other one covers, and forget all."""
        kept: list[str] = []
        for prefix in sorted(self._prefixes):
            if not kept or not prefix.startswith(kept[-1]):
                kept.append(prefix)
        self._prefixes.clear()
        return tuple(kept)
