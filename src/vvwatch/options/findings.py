"""Findings of checks, before their file and line are known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from vvwatch.options.lines import Loc


class Finding(NamedTuple):
    """An error, or a warning, about the value at `loc`."""

    loc: Loc
    what: str
    allowed: str = ""
    hint: str = ""
    warning: bool = False


def find_closest(word: str, names: Iterable[str]) -> str:
    """Return the one of `names` closest to `word`; empty if none is close."""
    close = get_close_matches(word, sorted(names), n=1)
    return close[0] if close else ""


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the closest of `names`; empty if none is close."""
    close = find_closest(word, names)
    return f"did you mean {close!r}?" if close else ""


def join_names(names: Iterable[str]) -> str:
    """Return names in order, for the `allowed` of a problem."""
    return ", ".join(sorted(names))
