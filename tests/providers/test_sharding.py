from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from vvwatch.core.objects import StorageObject
from vvwatch.errors import AccessDenied, StorageError, StorageUnavailable
from vvwatch.ports import Irregularity
from vvwatch.providers.listing import ListedPage
from vvwatch.providers.sharding import list_sharded

pytestmark = pytest.mark.anyio

Order = Callable[[str], Any]

ORDERS: dict[str, Order] = {
    "sorted": str,
    "backwards": lambda key: [-ord(character) for character in key],
    "shuffled": lambda key: hashlib.blake2b(key.encode()).digest(),
}


def obj(key: str) -> StorageObject:
    return StorageObject(key, "v", 1, 0.0, 0.0)


class Server:
    """A service in memory that lists in an order of its own, and each page as things stand when it is asked for."""

    def __init__(self, keys: Iterable[str], *, page: int = 4, order: Order = str) -> None:
        self.keys = set(keys)
        self.unusable: set[str] = set()
        self.asked: list[tuple[str, bool]] = []
        self.in_flight = self.most_in_flight = self.open = 0
        self._page = page
        self._order = order

    async def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:
        assert after == ""
        place = None
        self.open += 1
        try:
            while True:
                await self._answer(prefix, level)
                entries = sorted(self._entries(prefix, level), key=self._order)
                entries = [each for each in entries if place is None or self._order(each) > place]
                if entries:
                    place = self._order(entries[: self._page][-1])
                yield self._listed(entries[: self._page], prefix if level else None)
                if len(entries) <= self._page:
                    return
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(9):
                    await checkpoint()  # a connection takes a moment to end
            self.open -= 1

    async def request(self, prefix: str, level: bool) -> None:
        """What happens while the answer is under way; a test puts its own in place."""
        await checkpoint()

    async def _answer(self, prefix: str, level: bool) -> None:
        self.asked.append((prefix, level))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.request(prefix, level)
        finally:
            self.in_flight -= 1

    def _entries(self, prefix: str, level: bool) -> set[str]:
        found = {key for key in self.keys | self.unusable if key.startswith(prefix)}
        return {folded(prefix, key) for key in found} if level else found

    def _listed(self, entries: list[str], level: str | None) -> ListedPage:
        folders = [each for each in entries if level is not None and "/" in each[len(level) :]]
        irregular = [Irregularity(key, "unusable_key", "") for key in entries if key in self.unusable]
        objects = [obj(key) for key in entries if key in self.keys and key not in folders]
        return ListedPage(objects, folders, irregular)

    @property
    def shards(self) -> set[str]:
        """The prefixes that were listed otherwise than by level."""
        return {prefix for prefix, level in self.asked if not level}

    def pages_asked(self, *, level: bool) -> int:
        return sum(of_level is level for _, of_level in self.asked)


def folded(prefix: str, key: str) -> str:
    name, slash, _ = key[len(prefix) :].partition("/")
    return prefix + name + slash if slash else key


async def keys(server: Server, prefix: str = "", in_flight: int = 16) -> Counter[str]:
    async with aclosing(list_sharded(server, prefix, in_flight=in_flight)) as pages:
        return Counter([each.key async for page in pages for each in page.objects])


def files(folder: str, count: int) -> list[str]:
    return [f"{folder}{number:03}.mp4" for number in range(count)]


def tree(folders: int, each: int, below: str = "in/") -> list[str]:
    return [key for number in range(folders) for key in files(f"{below}{number:02}/", each)]


WIDE = tree(40, 20)
"""Of 200 pages."""


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncGenerator[None]:
    """After each test, however it went on, no task but the runner's own is there."""
    yield
    await wait_all_tasks_blocked()
    assert [task for task in asyncio.all_tasks() if "TestRunner" not in repr(task)] == []


@pytest.mark.parametrize("count", [0, 1, 7, 16])
async def test_a_small_prefix_costs_exactly_its_pages(count: int) -> None:
    server = Server([*files("in/a/", count), *files("other/", 50)], page=2)
    assert set(await keys(server, "in/")) == set(files("in/a/", count))
    assert server.asked == [("in/", False)] * max(1, -(-count // 2))


@pytest.mark.parametrize("shape", ["one folder", "a chain", "folders without end"])
async def test_what_cannot_be_split_is_listed_once(shape: str) -> None:
    stored = {
        "one folder": files("in/", 200),
        "a chain": files("a/b/c/d/", 200),
        "folders without end": [f"{number:03}/a.mp4" for number in range(200)],
    }[shape]
    server = Server(stored)
    assert await keys(server) == Counter(stored)
    assert server.pages_asked(level=False) == 50
    assert server.pages_asked(level=True) <= 16


async def test_a_level_of_many_objects_is_not_held() -> None:
    server = Server([f"in/{number}.mp4" for number in range(19_900)], page=1_000)
    assert (await keys(server, "in/")).total() == 19_900
    assert server.pages_asked(level=True) == 4


async def test_no_more_objects_are_held_on_the_way_down_than_of_one_level() -> None:
    stored = [f"{'a/' * depth}{number}.mp4" for depth in range(6) for number in range(1_900)]
    server = Server(stored, page=1_000)
    assert await keys(server) == Counter(stored)
    assert {prefix for prefix, level in server.asked if level} == {"", "a/"}


class HeldServer(Server):
    """Holds back the answers to shards until they are released."""

    def __init__(self, stored: Iterable[str]) -> None:
        super().__init__(stored)
        self.released = anyio.Event()

    async def request(self, prefix: str, level: bool) -> None:
        await checkpoint()
        if not level and prefix not in ("", "in/"):
            await self.released.wait()


async def test_a_wide_tree_is_listed_by_as_many_requests_as_may_be_in_flight() -> None:
    server = HeldServer(WIDE)
    listing = asyncio.create_task(keys(server, in_flight=6))
    await wait_all_tasks_blocked()
    assert server.in_flight == 6
    server.released.set()
    assert set(await listing) == set(WIDE)
    assert server.most_in_flight == 6
    assert len(server.asked) <= 1.2 * 200


class CountingServer(HeldServer):
    """Notes in which turns of the loop it is asked for pages that are no levels."""

    def __init__(self, stored: Iterable[str]) -> None:
        super().__init__(stored)
        self.turn = 0
        self.turns: list[int] = []

    def count(self) -> None:
        self.turn += 1
        self.counting = asyncio.get_running_loop().call_soon(self.count)

    async def request(self, prefix: str, level: bool) -> None:
        if not level:
            self.turns.append(self.turn)
        await super().request(prefix, level)


async def test_shards_begin_in_different_turns_of_the_loop_so_that_none_takes_long() -> None:
    server = CountingServer(WIDE)
    server.count()
    listing = asyncio.create_task(keys(server, "in/"))
    await wait_all_tasks_blocked()
    server.counting.cancel()
    assert server.in_flight == 16
    assert len(set(server.turns)) == len(server.turns)
    server.released.set()
    assert set(await listing) == set(WIDE)


async def test_with_one_request_at_a_time_nothing_is_listed_twice() -> None:
    server = Server(WIDE)
    assert await keys(server, in_flight=1) == Counter(WIDE)
    assert server.most_in_flight == 1


@pytest.mark.parametrize(
    "stored", [WIDE, files("in/", 200), tree(20, 20, "a/" * 9)], ids=["wide", "flat", "deep"]
)
async def test_each_request_is_counted_once(stored: list[str]) -> None:
    server = Server(stored)
    async with aclosing(list_sharded(server, "")) as pages:
        calls = sum([page.calls async for page in pages])
    assert calls == len(server.asked)


async def test_a_long_shard_is_split_again() -> None:
    stored = [*tree(30, 1), *tree(30, 10, "in/15/")]
    server = Server(stored)
    assert set(await keys(server)) == set(stored)
    assert {(f"in/15/{number:02}/", False) for number in range(30)} <= set(server.asked)


async def test_few_folders_are_opened_until_there_are_enough() -> None:
    stored = [key for year in (2024, 2025, 2026) for key in tree(9, 20, f"{year}/")]
    server = Server(stored)
    assert set(await keys(server)) == set(stored)
    assert {f"{year}/{month:02}/" for year in (2025, 2026) for month in range(9)} <= server.shards


async def test_objects_of_a_folder_that_was_opened_in_vain_come_once() -> None:
    server = Server([*tree(20, 20, "a/"), *files("z/", 5)])
    found = await keys(server)
    assert server.asked.count(("z/", True)) == 2
    assert {key: found[key] for key in files("z/", 5)} == dict.fromkeys(files("z/", 5), 1)


async def test_of_few_folders_the_last_one_is_opened_first() -> None:
    stored = ["a/a.mp4", "b/b.mp4", *tree(20, 20, "videos/")]
    server = Server(stored)
    assert set(await keys(server)) == set(stored)
    assert {f"videos/{number:02}/" for number in range(20)} <= server.shards
    assert not {("a/", True), ("b/", True)} & set(server.asked)


async def test_a_deep_chain_is_gone_down_to_where_it_branches() -> None:
    stored = tree(20, 20, "a/" * 9)
    server = Server(stored)
    assert set(await keys(server)) == set(stored)
    assert len(server.shards) > 1


async def test_objects_beside_folders_and_what_is_irregular_travel_too() -> None:
    server = Server([*WIDE, "in/", "in", "in/10", "in/aside.mp4", "in/10/"])
    server.unusable = {"in/../a.mp4", "in/bad\0name", "in/07/bad\0name"}
    async with aclosing(list_sharded(server, "")) as pages:
        found = [page async for page in pages]
    assert len(server.shards) > 1
    assert all(not page.folders for page in found)
    assert {each.key for page in found for each in page.objects} == server.keys
    assert {each.key for page in found for each in page.irregular} == server.unusable


NAMES = st.sampled_from(["a", "b", "ab", "é", "e\u0301", "🎬", "", "x y", "%2F", "."])
FOLDERS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "".join(f"{name}/" for name in names))
SIZES = st.sampled_from([0, 1, 7, 40])
TREES = st.dictionaries(FOLDERS, SIZES, max_size=9) | st.dictionaries(FOLDERS, SIZES, min_size=9, max_size=20)


def grown(counts: dict[str, int]) -> set[str]:
    """Folders with so many files; every other folder has a marker."""
    stored = {key for folder, count in counts.items() for key in files(folder, count)}
    return stored | {folder for folder, count in counts.items() if count % 2 and folder}


class UnevenServer(Server):
    """Answers after more or fewer turns of the loop."""

    turns = random.Random(0)

    async def request(self, prefix: str, level: bool) -> None:
        for _ in range(self.turns.randrange(5)):
            await checkpoint()


@given(
    counts=TREES,
    prefix=st.sampled_from(["", "", "", "a", "a/", "/", "é/", "nowhere/"]),
    page=st.integers(2, 4),
    order=st.sampled_from(sorted(ORDERS)),
    in_flight=st.integers(1, 6),
    seed=st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
async def test_the_listing_is_exact_whatever_the_tree_and_the_order(
    counts: dict[str, int], prefix: str, page: int, order: str, in_flight: int, seed: int
) -> None:
    server = UnevenServer(grown(counts), page=page, order=ORDERS[order])
    server.turns = random.Random(seed)
    found = await keys(server, prefix, in_flight)
    assert set(found) == {key for key in server.keys if key.startswith(prefix)}
    assert server.most_in_flight <= in_flight
    assert server.open == 0


class ChangingServer(UnevenServer):
    """While it is asked, some objects vanish and others appear."""

    leaving: list[str]
    coming: list[str]

    async def request(self, prefix: str, level: bool) -> None:
        await super().request(prefix, level)
        self.keys -= {self.leaving.pop() for _ in self.leaving[-2:]}
        self.keys |= {self.coming.pop() for _ in self.coming[-2:]}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", range(5))
async def test_list_mutating_never_misses_what_stays(order: str, seed: int) -> None:
    chance = random.Random(seed)
    stored = [*tree(30, 6), *tree(9, 9, "in/07/x/")]
    leaving = chance.sample(stored, len(stored) // 2)
    server = ChangingServer(stored, order=ORDERS[order])
    server.turns = chance
    server.leaving = list(leaving)
    server.coming = [f"in/{chance.randrange(60):02}/new-{number}" for number in range(300)]
    ever = set(stored) | set(server.coming)
    found = set(await keys(server))
    assert set(stored) - set(leaving) <= found <= ever
    assert len(server.shards) > 1


async def test_folders_that_a_server_repeats_on_each_page_are_listed_once() -> None:
    class Repeating(Server):
        def _listed(self, entries: list[str], level: str | None) -> ListedPage:
            page = super()._listed(entries, level)
            return ListedPage(page.objects, [*page.folders, "in/00/"] if page.folders else ())

    server = Repeating(tree(14, 20), page=2)
    found = await keys(server, "in/")
    assert set(found) == set(tree(14, 20))
    assert server.asked.count(("in/00/", False)) == 10


@pytest.mark.parametrize("folder", ["in/", "", "elsewhere/", "in/\ud800/"], ids=ascii)
async def test_a_server_that_names_strange_folders_is_listed_serially(folder: str) -> None:
    class Strange(Server):
        def _listed(self, entries: list[str], level: str | None) -> ListedPage:
            page = super()._listed(entries, level)
            return ListedPage(page.objects, [*page.folders, folder] if page.folders else ())

    server = Strange(tree(14, 20), page=2)
    assert await keys(server, "in/") == Counter(tree(14, 20))


class FailingServer(Server):
    """Fails when it is asked for a prefix, while requests for other shards wait for ever."""

    def __init__(
        self,
        stored: Iterable[str],
        prefix: str,
        *,
        level: bool = False,
        error: type[StorageError] = StorageUnavailable,
    ) -> None:
        super().__init__(stored)
        self._refused = prefix, level
        self._error = error

    async def request(self, prefix: str, level: bool) -> None:
        await checkpoint()
        if (prefix, level) == self._refused:
            raise self._error("no")
        if prefix.startswith("in/") and prefix != "in/":
            await anyio.sleep_forever()


async def test_an_error_in_one_shard_ends_the_listing_with_that_error() -> None:
    server = FailingServer(WIDE, "in/07/")
    with pytest.raises(StorageUnavailable, match=r"^no$"):
        await keys(server)
    assert len(server.shards) > 1
    assert server.open == 0


@pytest.mark.parametrize("error", [AccessDenied, StorageUnavailable])
async def test_an_error_on_the_first_page_is_raised(error: type[StorageError]) -> None:
    server = FailingServer(WIDE, "in/", error=error)
    with pytest.raises(error):
        await keys(server, "in/")
    assert server.asked == [("in/", False)]


async def test_where_a_policy_allows_only_the_whole_prefix_it_is_listed_whole() -> None:
    server = FailingServer(WIDE, "in/07/", error=AccessDenied)
    assert set(await keys(server, "in/")) == set(WIDE)
    assert len(server.shards) > 1
    assert server.asked[-200:] == [("in/", False)] * 200


async def test_of_errors_in_several_shards_one_is_raised() -> None:
    class Down(Server):
        async def request(self, prefix: str, level: bool) -> None:
            await checkpoint()
            if len(self.asked) > 40:
                raise StorageUnavailable("down")

    server = Down(WIDE)
    with pytest.raises(StorageUnavailable, match="down"):
        await keys(server)
    assert len(server.shards) > 1


async def test_a_level_that_is_refused_only_costs_the_parallelism() -> None:
    server = FailingServer(WIDE, "in/", level=True)
    assert await keys(server, "in/") == Counter(WIDE)


@pytest.mark.parametrize("taken", [1, 8, 12, 60])
async def test_an_early_close_ends_all_shards(taken: int) -> None:
    server = Server(WIDE)
    async with aclosing(list_sharded(server, "")) as pages:
        for _ in range(taken):
            await anext(pages)
    assert server.open == 0


@pytest.mark.parametrize("taken", [1, 60])
async def test_a_listing_that_is_dropped_ends_by_itself(taken: int) -> None:
    server = Server(WIDE)

    async def look() -> None:
        seen = 0
        async for _ in list_sharded(server, ""):
            seen += 1
            if seen == taken:
                return

    await look()
    await wait_all_tasks_blocked()
    assert server.open == 0


@pytest.mark.parametrize("taken", [1, 60])
async def test_a_cancelled_consumer_ends_all_shards(taken: int) -> None:
    server = Server(WIDE)
    with anyio.CancelScope() as scope:
        async with aclosing(list_sharded(server, "")) as pages:
            for _ in range(taken):
                await anext(pages)
            scope.cancel()
            await anext(pages)
    assert scope.cancelled_caught
    assert server.open == 0


async def test_a_consumer_cancelled_while_all_shards_wait_ends_them() -> None:
    server = FailingServer(WIDE, "nothing")
    listing = asyncio.create_task(keys(server))
    await wait_all_tasks_blocked()
    assert server.in_flight == 16
    listing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listing
    assert server.open == 0


async def test_what_a_consumer_does_meanwhile_is_not_cancelled_by_a_failing_shard() -> None:
    server = FailingServer(WIDE, "in/07/")
    done = 0

    async def consume() -> None:
        nonlocal done
        async with aclosing(list_sharded(server, "")) as pages:
            async for _ in pages:
                await wait_all_tasks_blocked()
                done += 1

    with pytest.raises(StorageUnavailable):
        await consume()
    assert done >= 8


async def test_no_shard_asks_for_more_than_the_consumer_takes() -> None:
    server = Server(WIDE)
    async with aclosing(list_sharded(server, "", in_flight=6)) as pages:
        for taken in range(1, 61):
            await anext(pages)
            if taken % 6 == 0:
                await wait_all_tasks_blocked()
                assert server.pages_asked(level=False) <= taken + 6
    assert len(server.shards) > 1
