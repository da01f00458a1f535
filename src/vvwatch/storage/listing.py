"""What object stores share in listing: a page as the service gives it, before it is a page of the port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from vvwatch.core.objects import StorageObject
from vvwatch.ports import Irregularity, Page

PAGE_ENTRIES: Final = 1_000
"""The most entries that a page of the port has."""

_MINUTES: Final = {f"{n // 60:02}:{n % 60:02}": n * 60.0 for n in range(1_440)}
_SECONDS: Final = {f"{n:02}": float(n) for n in range(60)}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One answer of the service: objects, and the common prefixes (each with its slash) when a level was listed.

    `calls` is how many requests it took.
    """

    objects: Sequence[StorageObject]
    folders: Sequence[str] = ()
    irregular: Sequence[Irregularity] = ()
    calls: int = 1


class Lister(Protocol):
    """A service that lists."""

    def pages(self, prefix: str, *, level: bool = False, after: str = "") -> AsyncGenerator[ListedPage]:
        """All keys that start with `prefix`, page by page as the service gives them, strictly one after the other.

        With `level` keys that have a slash behind `prefix` are folded into `folders`. `after` leaves out the keys
        up to it, where the service has that. Raises StorageError; never ends early without one.
        """
        ...


def moments(
    day: Callable[[str], float], days: Iterable[str], minutes: Iterable[str], seconds: Iterable[str]
) -> Iterator[float]:
    """Of each row the epoch seconds: when its day began, by `day`, and its time (`23:59` and `59`, without zone).

    So a page costs no parsing of dates but that of its few days. Raises ValueError for a time that there is none of.
    """
    try:
        for began, minute, second in zip(map(day, days), minutes, seconds, strict=True):
            yield began + _MINUTES[minute] + _SECONDS[second]
    except KeyError as error:
        raise ValueError(f"{error} is no time") from None


def cut(page: ListedPage) -> list[Page]:
    """The page as pages of the port; the first of them has its calls."""
    pages = [Page(objects) for objects in _pieces(page.objects)]
    pages += [Page((), irregular) for irregular in _pieces(page.irregular)]
    first = replace(pages[0], calls=page.calls) if pages else Page((), calls=page.calls)
    return [first, *pages[1:]]


def _pieces(entries: Sequence[_T]) -> list[Sequence[_T]]:
    return [entries[start : start + PAGE_ENTRIES] for start in range(0, len(entries), PAGE_ENTRIES)]
