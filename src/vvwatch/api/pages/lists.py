"""Lists that page by cursor, newest first: only what is shown is read, whatever there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, Literal, TypeVar
from urllib.parse import urlencode

from fastapi import Query

from vvwatch.api.http.pagination import Cursor, cut_page

T = TypeVar("T")

LISTED: Final = 50
"""How much a page lists."""

After = Cursor
Shown = Annotated[Literal["", "open", "attention"], Query()]
"""Which rows a list shows."""

SHOWN: Final = (("", "All"), ("open", "Under way"), ("attention", "Needs attention"))


@dataclass(frozen=True, slots=True)
class Tab:
    """A link to the same list with another filter."""

    label: str
    query: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A page of a list. `more` and `first` are the queries of the next page and of the first one; empty: not needed."""

    rows: Sequence[T]
    tabs: Sequence[Tab]
    more: str
    first: str


def to_listing(
    rows: Sequence[T],
    last: Callable[[Any], str | int],
    cursor: str | None,
    tabs: Sequence[Tab] = (),
    query: Mapping[str, str] | None = None,
) -> Listing[T]:
    """Return the page of `rows`, which were read with one extra; `query` is what its links keep."""
    kept = {name: value for name, value in (query or {}).items() if value}
    here, following = cut_page(rows, LISTED, last)
    more = to_query(kept | {"cursor": following}) if following else ""
    return Listing(here, tabs, more, to_query(kept) if cursor else "")


def to_query(values: Mapping[str, str]) -> str:
    """Return a query with its question mark, which leads to the same page."""
    return "?" + urlencode({name: value for name, value in values.items() if value})


def to_tabs(
    current: str,
    name: str = "show",
    choices: Sequence[tuple[str, str]] = SHOWN,
    query: Mapping[str, str] | None = None,
) -> list[Tab]:
    """Return one tab for each choice of the filter `name`; `query` is what they keep."""
    kept = query or {}
    return [Tab(label, to_query({**kept, name: value}), value == current) for value, label in choices]
