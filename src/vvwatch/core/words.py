"""Words: what a search without a model compares. Case and accents do not count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from unicodedata import combining, normalize

from vvwatch.errors import InvalidInput

MOST_PHRASES: Final = 32
"""The most words and phrases of a query that count."""

_WORD: Final = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+")
_QUOTED_OR_PLAIN: Final = re.compile(r'"([^"]*)(?:"|$)|([^"\s]+)')
_SHORTEST_PREFIX: Final = 2
_BEFORE: Final = 60
_SNIPPET: Final = 200


class Word(NamedTuple):
    """A word without case and accents, and where it stands in its text."""

    folded: str
    start: int
    end: int


def words_of(text: str) -> Iterator[Word]:
    """Yield the words of a text in NFC: letters and digits in a row."""
    for found in _WORD.finditer(text):
        yield Word(_fold(found[0]), found.start(), found.end())


@lru_cache(maxsize=20_000)
def _fold(word: str) -> str:
    """Return the word in lower case without accents, as SQLite's `unicode61 remove_diacritics 2` compares it."""
    if word.isascii():
        return word.lower()
    return normalize("NFC", "".join(each for each in normalize("NFD", word) if not combining(each))).lower()


@dataclass(frozen=True, slots=True)
class Query:
    """What to find: phrases of words in a row. With `prefix`, the last word may continue.

    `cut`: the query was longer, and the rest does not count.
    """

    phrases: tuple[tuple[str, ...], ...]
    prefix: bool
    cut: bool = False

    def matches(self, word: str) -> bool:
        """Return whether the folded word is one of the query's."""
        if self.prefix and word.startswith(self.phrases[-1][-1]):
            return True
        return any(word in phrase for phrase in self.phrases)


def parse_query(text: str) -> Query:
    """Return what a person searches for. Nothing in it is syntax but double quotes around a phrase.

    The last word may be unfinished, unless it is quoted or a space follows. Raises InvalidInput without a word.
    """
    text = normalize("NFC", text)
    found = list(_QUOTED_OR_PLAIN.finditer(text))
    phrases = [tuple(word.folded for word in words_of(each[1] or each[2] or "")) for each in found]
    some = [phrase for phrase in phrases if phrase]
    if not some:
        raise InvalidInput("the query has no words", "give at least one word of letters or digits")
    open_end = bool(phrases[-1]) and found[-1][2] is not None and not text[-1].isspace()
    cut = len(some) > MOST_PHRASES
    prefix = open_end and not cut and len(some[-1][-1]) >= _SHORTEST_PREFIX
    return Query(tuple(some[:MOST_PHRASES]), prefix, cut)


class Snippet(NamedTuple):
    """The part of a text around the first match, and the words there that match, as the text has them."""

    text: str
    matched: tuple[str, ...]


def make_snippet(texts: Sequence[str], query: Query) -> Snippet:
    """Return a snippet of the first text with a word of the query, else of the first text without matches."""
    for text in map(_normalized, texts):
        first = next((word for word in words_of(text) if query.matches(word.folded)), None)
        if first is not None:
            part = _cut_around(text, first.start)
            matched = (part[word.start : word.end] for word in words_of(part) if query.matches(word.folded))
            return Snippet(part, tuple(dict.fromkeys(matched)))
    return Snippet(next(iter(texts), "")[:_SNIPPET], ())


def _normalized(text: str) -> str:
    return normalize("NFC", text)


def _cut_around(text: str, place: int) -> str:
    """Return about `_SNIPPET` characters around `place`; an ellipsis shows where text is left out."""
    start = max(place - _BEFORE, 0)
    if start:
        start = text.find(" ", start, place) + 1 or place
    end = min(start + _SNIPPET, len(text))
    return ("…" if start else "") + text[start:end].strip() + ("…" if end < len(text) else "")
