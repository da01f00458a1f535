"""List a large prefix in parallel, exactly, in whatever order the service lists.

A listing begins sequentially, which suffices for most prefixes. If it continues, a parallel survey lists levels below
the prefix: their folders, and the objects between them, are everything. If a split pays, shards list the folders
instead, grouped by common prefixes, and a long shard may be split again. Keys from before a split come twice; no
object that exists throughout is missed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing, suppress
from typing import Final

from anyio import CancelScope, create_memory_object_stream, create_task_group
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from vvwatch.core.known_pages import find_last_key
from vvwatch.core.shards import Course, split_prefixes
from vvwatch.errors import AccessDenied, StorageError
from vvwatch.providers.listing import ListedPage, Lister

_SERIAL_PAGES: Final = 8
"""A prefix of at most this many pages costs no extra requests."""

_SURVEY_PAGES: Final = 16
_SURVEY_OBJECTS: Final = 3_000
"""The most objects that a survey holds: a longer level is not opened."""


async def list_sharded(lister: Lister, prefix: str, *, in_flight: int = 16) -> AsyncGenerator[ListedPage]:
    """Yield all of `prefix`, unordered and partly twice, with at most `in_flight` requests at a time.

    Raises the lister's errors; the pages before one are incomplete.
    """
    # Without a buffer: a shard whose page is not taken asks for no other.
    pages, taken = create_memory_object_stream[ListedPage]()
    # The shards' task group has a task of its own. Its cancel scope in this generator would span the yields: it
    # would cancel what the consumer does there, and break when the loop closes the generator in another task.
    crew = asyncio.create_task(_ParallelListing(lister, pages, in_flight).run(prefix))
    try:
        with taken:
            async for page in taken:
                yield page
        await crew
    finally:
        crew.cancel()
        with CancelScope(shield=True):
            await asyncio.gather(crew, return_exceptions=True)


class _ParallelListing:
    """The shards of one listing. Each occupies a slot while it lists, and waits for one response at a time."""

    def __init__(self, lister: Lister, pages: MemoryObjectSendStream[ListedPage], in_flight: int) -> None:
        self._lister = lister
        self._pages = pages
        self._in_flight = in_flight
        self._free = in_flight
        self._prefixes: deque[str] = deque()
        self._parted = False

    async def run(self, prefix: str) -> None:
        """Send all pages and close the stream. Raises the first error, alone."""
        with self._pages:
            try:
                await self._list_in_shards(prefix)
            except AccessDenied:
                if not self._parted:
                    raise
                await self._list_whole(prefix)  # a policy may allow this prefix and no longer one

    async def _list_in_shards(self, prefix: str) -> None:
        self._prefixes.append(prefix)
        try:
            async with create_task_group() as self._shards:
                self._start()
        except BaseExceptionGroup as group:
            raise _first_error(group) from None

    async def _list_whole(self, prefix: str) -> None:
        async with aclosing(self._lister.pages(prefix)) as pages:
            async for page in pages:
                await self._pages.send(page)

    def _start(self) -> None:
        """Start a shard, which starts the next one: signing many requests in one loop turn takes too long."""
        if self._prefixes and self._free:
            self._free -= 1
            self._shards.start_soon(self._list, self._prefixes.popleft())

    def _release(self) -> None:
        self._free += 1
        self._start()

    async def _list(self, prefix: str) -> None:
        self._start()
        survey = _Survey(self._lister, prefix, self._in_flight)
        async with create_task_group() as beside:
            async with aclosing(self._lister.pages(prefix)) as pages:
                await self._follow(pages, survey, beside)
            beside.cancel_scope.cancel()
        if survey.calls:
            await self._pages.send(ListedPage((), calls=survey.calls))
        self._release()

    async def _follow(self, pages: AsyncGenerator[ListedPage], survey: _Survey, beside: TaskGroup) -> None:
        """Send the pages until the last one, or until the shard is split."""
        course, last_key = Course(), ""
        async for page in pages:
            await self._pages.send(page)
            last_key = find_last_key(page.objects) if page.objects else last_key
            course = course.after(last_key, survey.folders)
            if course.pages <= _SERIAL_PAGES or not self._free:
                continue
            if not survey.begun:
                survey.begun = True
                self._free -= 1
                beside.start_soon(self._look_around, survey)
            elif parts := split_prefixes(survey.folders, course, self._in_flight):
                await self._part(parts, survey.between)
                return

    async def _part(self, prefixes: Sequence[str], between: Sequence[ListedPage]) -> None:
        """Leave the prefixes to other shards, which begin as slots become free."""
        self._parted = True
        self._prefixes.extend(prefixes)
        for page in between:
            await self._pages.send(page)

    async def _look_around(self, survey: _Survey) -> None:
        try:
            await survey.run()
        finally:
            self._release()


class _Survey:
    """The contents below a prefix: once known, `folders` and the objects `between` are everything."""

    def __init__(self, lister: Lister, prefix: str, enough: int) -> None:
        self.begun = False
        self.folders: Sequence[str] = ()
        self.between: list[ListedPage] = []
        self.calls = 0
        self._lister = lister
        self._prefix = prefix
        self._enough = enough
        self._pages_left = _SURVEY_PAGES
        self._objects_left = _SURVEY_OBJECTS

    async def run(self) -> None:
        """Open one level after the other until there are enough folders to list in parallel.

        Of sibling folders the last opens first: names by date grow there.
        """
        cover = {self._prefix: None}
        closed = deque(cover)
        with suppress(StorageError):  # what cannot be split is listed as it is
            while closed and len(cover) < self._enough and self._pages_left:
                folder = closed.popleft()
                if inside := await self._list_folders(folder):
                    del cover[folder]
                    cover.update(inside)
                    closed.extend(reversed(inside))
        self.folders = sorted(cover)

    async def _list_folders(self, folder: str) -> dict[str, None]:
        """Return the distinct folders in `folder`; none if there are none or the level is too long."""
        inside: dict[str, None] = {}
        own: list[ListedPage] = []
        objects = 0
        async with aclosing(self._lister.pages(folder, level=True)) as pages:
            async for page in pages:
                inside.update(dict.fromkeys(page.folders))
                self.calls += 1
                own.append(ListedPage(page.objects, irregular=page.irregular, calls=0))
                objects += len(page.objects)
                self._pages_left -= 1
                if not self._pages_left or objects > self._objects_left:
                    return {}
        if not inside or not _lead_further(folder, inside):
            return {}
        self.between += own
        self._objects_left -= objects
        return inside


def _lead_further(folder: str, inside: Collection[str]) -> bool:
    """Return whether the folders are below `folder` and usable, whatever an odd server says."""
    try:
        "".join(inside).encode()
    except UnicodeEncodeError:
        return False
    return all(name != folder and name.startswith(folder) for name in inside)


def _first_error(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
