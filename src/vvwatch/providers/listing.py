"""Shared parts of object listings: a page as the service gives it, and its split into pages of the port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from vvwatch.core.filters import Reason
from vvwatch.core.objects import StorageObject
from vvwatch.errors import StorageUnavailable
from vvwatch.ports import Irregularity, Page
from vvwatch.providers.failures import LATER

PAGE_ENTRIES: Final = 1_000
"""The most entries in a page of the port."""

MOST_ETAG_CHARACTERS: Final = 1_024
MOST_SIZE_DIGITS: Final = 18
"""More digits than any object's size has; longer numbers may not fit the database."""

_MOST_TOKEN_CHARACTERS: Final = 16_384
_MOST_EMPTY_PAGES: Final = 10_000
"""The most empty pages in a row: a bucket with millions of delete markers has some."""
_MOST_KEY_CHARACTERS: Final = 4_096
_MINUTES: Final = {f"{n // 60:02}:{n % 60:02}": n * 60.0 for n in range(1_440)}
_SECONDS: Final = {f"{n:02}": float(n) for n in range(60)}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One response: objects, and, for one level, common prefixes with their slash.

    `calls` is the number of requests behind it.
    """

    objects: Sequence[StorageObject]
    folders: Sequence[str] = ()
    irregular: Sequence[Irregularity] = ()
    calls: int = 1


class Lister(Protocol):
    """A service with listings."""

    def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:
        """Yield all keys that start with `prefix`, page by page, strictly in sequence.

        With `level`, keys with a slash after `prefix` are folded into `folders`. `after` skips keys up to it if the
        service supports that. Raises StorageError; never ends early without one.
        """
        ...


def row_times(
    day: Callable[[str], float], days: Iterable[str], minutes: Iterable[str], seconds: Iterable[str]
) -> Iterator[float]:
    """Yield the epoch seconds of each row: the start of its day, by `day`, plus its time (`23:59` and `59`, no zone).

    So a page parses only its few distinct days. Raises ValueError for an impossible time.
    """
    try:
        for began, minute, second in zip(map(day, days), minutes, seconds, strict=True):
            yield began + _MINUTES[minute] + _SECONDS[second]
    except KeyError as error:
        raise ValueError(f"{error} is no time") from None


def report_long_etag(key: str) -> Irregularity:
    """Return the irregularity of an object whose versions cannot be distinguished."""
    detail = f"the ETag in the store's listing is longer than {MOST_ETAG_CHARACTERS:,} characters"
    return Irregularity(key, Reason.INCOMPLETE_ENTRY, detail)


def report_long_key(key: str, limit: str) -> Irregularity:
    """Return the irregularity of a key beyond the store's `limit`."""
    return Irregularity(
        key, Reason.KEY_TOO_LONG, f"its key has more than the {limit} that a request can name"
    )


class Continuations:
    """The tokens of one listing; they show whether it ends. `what` begins the error message."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._number = 0
        self._kept = ""
        self._empty = 0

    def follow(self, token: str, page: ListedPage) -> None:
        """Record the token of `page`. Raises StorageUnavailable if the listing does not end."""
        if token == self._kept:
            raise self._endless("the store gave the same continuation token twice")
        if len(token) > _MOST_TOKEN_CHARACTERS:
            raise self._endless(
                f"its continuation token is longer than {_MOST_TOKEN_CHARACTERS:,} characters"
            )
        self._empty = 0 if page.objects or page.folders or page.irregular else self._empty + 1
        if self._empty > _MOST_EMPTY_PAGES:
            raise self._endless(f"more than {_MOST_EMPTY_PAGES:,} pages in a row were empty")
        self._number += 1
        if self._number & (self._number - 1) == 0:  # so a circle of any length comes back to the kept token
            self._kept = token

    def _endless(self, why: str) -> StorageUnavailable:
        hint = f"check endpoint_url and proxy; {LATER}"
        return StorageUnavailable(f"{self._what} cannot be listed: {why}", hint)


def split_page(page: ListedPage) -> list[Page]:
    """Return the page as pages of the port; the first one carries its calls."""
    pages = [Page(objects) for objects in _split_entries(page.objects)]
    irregular = [replace(each, key=_shorten_key(each.key)) for each in page.irregular]
    pages += [Page((), pieces) for pieces in _split_entries(irregular)]
    first = replace(pages[0], calls=page.calls) if pages else Page((), calls=page.calls)
    return [first, *pages[1:]]


def _shorten_key(key: str) -> str:
    """Return the start and the end of a key too long to keep: its prefix and extension."""
    half = _MOST_KEY_CHARACTERS // 2
    return key if len(key) <= _MOST_KEY_CHARACTERS else f"{key[: half - 1]}…{key[-half:]}"


def _split_entries(entries: Sequence[_T]) -> list[Sequence[_T]]:
    if 0 < len(entries) <= PAGE_ENTRIES:
        return [entries]  # a slice of a known page would parse it
    return [entries[start : start + PAGE_ENTRIES] for start in range(0, len(entries), PAGE_ENTRIES)]
