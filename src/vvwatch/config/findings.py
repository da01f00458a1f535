"""What a check has found, before it is known in which file and line that stands."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from vvwatch.config.lines import Loc


class Finding(NamedTuple):
    """Something wrong (or, as a warning, doubtful) with the value at `loc`."""

    loc: Loc
    what: str
    allowed: str = ""
    hint: str = ""
    warning: bool = False


def find_closest(word: str, names: Iterable[str]) -> str:
    """The one of `names` that `word` was probably meant to be; empty when none is close."""
    close = get_close_matches(word, sorted(names), n=1)
    return close[0] if close else ""


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """`did you mean 'x'?` for the closest of `names`; empty when none is close."""
    close = find_closest(word, names)
    return f"did you mean {close!r}?" if close else ""


def join_names(names: Iterable[str]) -> str:
    """Names in order, for the `allowed` of a problem."""
    return ", ".join(sorted(names))
