"""Pages of listings that came before, byte for byte: they are compared with the ledger without parsing them again.

Most scans of a large bucket find what the last one found. The first sight of a page is noted, the second one is parsed
and digested, and from the third on the page is only hashed. Nothing is believed from memory alone: the bytes of the
listing and the rows of the ledger are both read each time, and both digests must agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain
from typing import Final, NamedTuple, overload

from vvwatch.core.objects import StorageObject

LEAST_OBJECTS: Final = 500
"""Smaller pages are parsed each time: several of them share one look into the ledger."""
_MOST_PAGES: Final = 20_000
"""Of a thousand keys each, in about 10 MB."""
_EDGE_BYTES: Final = 256


class PageFacts(NamedTuple):
    """What a page holds: the number of its objects, its first and last key, and the digest of its pairs."""

    objects: int
    first_key: str
    last_key: str
    digest: bytes


class Glance(NamedTuple):
    """A look at a page's bytes; `digest` is None at first sight, `facts` unless it was parsed before."""

    edges: tuple[int, bytes, bytes]
    digest: bytes | None
    facts: PageFacts | None


class KnownPage(Sequence[StorageObject]):
    """The objects of a page that came before. They are parsed when somebody looks at one."""

    __slots__ = ("_objects", "_parse", "facts")

    def __init__(self, facts: PageFacts, parse: Callable[[], Sequence[StorageObject]]) -> None:
        self.facts = facts
        self._parse = parse
        self._objects: Sequence[StorageObject] | None = None

    def __len__(self) -> int:
        return self.facts.objects

    @overload
    def __getitem__(self, index: int) -> StorageObject: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StorageObject]: ...
    def __getitem__(self, index: int | slice) -> StorageObject | Sequence[StorageObject]:
        return self._load()[index]

    def __iter__(self) -> Iterator[StorageObject]:
        return iter(self._load())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as of any list

    def _load(self) -> Sequence[StorageObject]:
        if self._objects is None:
            self._objects = self._parse()
        return self._objects


class PageMemory:
    """The latest pages of one store, by the bytes of their rows. It saves work; correctness never depends on it."""

    def __init__(self, most: int = _MOST_PAGES) -> None:
        self._most = most
        self._pages: dict[tuple[int, bytes, bytes], Glance] = {}

    def look(self, rows: bytes) -> Glance:
        """Return what is known of a page with these rows; its digest is made only if it looks familiar."""
        edges = len(rows), rows[:_EDGE_BYTES], rows[-_EDGE_BYTES:]
        before = self._pages.pop(edges, None)
        if before is None:
            return Glance(edges, None, None)
        self._pages[edges] = before
        digest = sha256(rows).digest()
        return Glance(edges, digest, before.facts if digest == before.digest else None)

    def note(self, glance: Glance, objects: Sequence[StorageObject]) -> None:
        """Remember a page that was parsed. Folder markers need a look each time, so pages with them are not kept."""
        if len(objects) < LEAST_OBJECTS or any(obj[0][-1:] == "/" for obj in objects):
            return
        facts = None if glance.digest is None else _describe(objects)
        self._pages[glance.edges] = glance._replace(facts=facts)
        if len(self._pages) > self._most:
            del self._pages[next(iter(self._pages))]


def digest_pairs(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return the digest of keys and versions in their order. Neither can hold a NUL: no database stores one."""
    return sha256("\0".join(chain.from_iterable(pairs)).encode(errors="surrogatepass")).digest()


def find_last_key(objects: Sequence[StorageObject]) -> str:
    """Return the last key of a page that is not empty, without parsing one that is known."""
    return objects.facts.last_key if isinstance(objects, KnownPage) else objects[-1].key


def _describe(objects: Sequence[StorageObject]) -> PageFacts:
    digest = digest_pairs(obj[:2] for obj in objects)
    return PageFacts(len(objects), objects[0].key, objects[-1].key, digest)
