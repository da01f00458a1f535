"""Check whether a store delivers other objects: distinguish one object's failure from an unreachable store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import anyio

from vvwatch.core.objects import StorageObject
from vvwatch.errors import AccessDenied, StorageError, StorageUnavailable
from vvwatch.ports import Storage
from vvwatch.workflow.listings import closing

_LOOK_SECONDS: Final = 40.0
_READ_SECONDS: Final = 5.0
_LASTS_SECONDS: Final = 5.0
_MOST_READ: Final = 4
_MOST_PAGES: Final = 4
_BEHIND_SLASH: Final = "0"
"""The character that follows the slash: with it in place of its slash, a key sorts after the whole folder."""


class StoreState(Enum):
    """The state of a store, apart from one object; `REFUSES`: it answers, but denies the listing."""

    ANSWERS = "answers"
    REFUSES = "refuses"
    AWAY = "away"


@dataclass
class Liveness:
    """Recent answers of stores, in monotonic seconds. In memory only: after a start stores are checked again."""

    _answered: dict[str, float] = field(default_factory=dict)
    _looked: dict[tuple[str, str, bool], tuple[float, StoreState]] = field(default_factory=dict)

    def note(self, connector_id: str, now: float) -> None:
        """Note that the store has just delivered an object."""
        self._answered[connector_id] = now

    def has_answered(self, connector_id: str, since: float) -> bool:
        """Return whether it has delivered an object since then."""
        return self._answered.get(connector_id, -1.0) >= since

    async def find_state(
        self,
        connector_id: str,
        key: str,
        now: Callable[[], float],
        open_storage: Callable[[], Awaitable[Storage]],
        sample: float,
        *,
        reads: bool,
    ) -> StoreState:
        """Return the state of the store apart from the object at `key`; a result of a moment ago counts.

        `sample` in [0, 1) chooses among neighbours. `reads`: an answer to a listing is not enough if there are
        neighbours to read.
        """
        folder = key[: key.rfind("/") + 1]
        which = connector_id, folder, reads
        self._forget_old(now())
        if which not in self._looked:
            found = await _check_store(open_storage, folder, key, sample, reads=reads)
            self._looked[which] = (now(), found)
            return found
        return self._looked[which][1]

    def _forget_old(self, now: float) -> None:
        for which in [which for which, (at, _) in self._looked.items() if now - at >= _LASTS_SECONDS]:
            del self._looked[which]


async def _check_store(
    open_storage: Callable[[], Awaitable[Storage]], folder: str, key: str, sample: float, *, reads: bool
) -> StoreState:
    with anyio.move_on_after(_LOOK_SECONDS):
        try:
            storage = await open_storage()
            async with closing(storage.list(folder, recursive=False)) as pages:
                page = await anext(pages, None)
        except AccessDenied:
            return StoreState.REFUSES
        except StorageError:
            return StoreState.AWAY
        neighbours = _choose_neighbours(page.objects, key, sample) if page and reads else []
        if not neighbours or await _can_read_any(storage, neighbours):
            return StoreState.ANSWERS
        return await _check_elsewhere(storage, folder, sample)
    return StoreState.AWAY


async def _check_elsewhere(storage: Storage, folder: str, sample: float) -> StoreState:
    """Check objects outside the folder: what affects one object may affect its whole folder."""
    for place in _list_parents(folder):
        try:
            others = await _find_outside(storage, place, folder)
        except StorageError:  # permission to list the folder need not cover more
            break
        if others and await _can_read_any(storage, _choose_neighbours(others, "", sample)):
            return StoreState.ANSWERS
    return StoreState.AWAY


def _list_parents(folder: str) -> list[str]:
    """Return the parent of the folder, and the root."""
    parent = folder[: folder.rstrip("/").rfind("/") + 1]
    return list(dict.fromkeys((parent, ""))) if folder else []


async def _find_outside(storage: Storage, place: str, folder: str) -> list[StorageObject]:
    """Return some objects at the place outside the folder, which may fill the first pages or many of them."""
    afters = [""]
    if storage.capabilities.start_after:
        afters.append(folder[:-1] + _BEHIND_SLASH)
    for after in afters:
        async with closing(storage.list(place, recursive=True, after=after)) as pages:
            for _ in range(_MOST_PAGES):
                page = await anext(pages, None)
                if page is None:
                    break
                if others := [obj for obj in page.objects if not obj.key.startswith(folder)]:
                    return others
    return []


def _choose_neighbours(objects: Sequence[StorageObject], key: str, sample: float) -> list[StorageObject]:
    """Return a few objects that are far apart, others each time: what affects one object may affect the next."""
    others = [obj for obj in objects if obj.key != key and obj.size_bytes and not obj.archived]
    many, first = len(others), int(sample * len(others))
    chosen = [
        others[(first + position * many // _MOST_READ) % many]
        for position in range(_MOST_READ if many else 0)
    ]
    return list(dict.fromkeys(chosen))


async def _can_read_any(storage: Storage, neighbours: Sequence[StorageObject]) -> bool:
    """Return whether the store answers for one of them, even by a refusal: for the first, or else any of the rest."""
    if not neighbours or await _can_read(storage, neighbours[0]):
        return bool(neighbours)
    given = False

    async def ask(obj: StorageObject) -> None:
        nonlocal given
        if await _can_read(storage, obj):
            given = True
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for obj in neighbours[1:]:
            tasks.start_soon(ask, obj)
    return given


async def _can_read(storage: Storage, obj: StorageObject) -> bool:
    with anyio.move_on_after(_READ_SECONDS):
        try:
            async with storage.stream(obj.key, obj.version, 0, 1) as chunks:
                async for _ in chunks:
                    break
        except StorageUnavailable:
            return False
        except StorageError:
            return True
        return True
    return False
