"""Findings of checks, and the lines of a TOML file that they are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final, NamedTuple


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


Loc = tuple[str | int, ...]
"""The path of a value: keys, and positions in lists."""

_TOKEN: Final = re.compile(
    r"(?P<gap>[ \t\r]+|\#[^\n]*)"
    r"|(?P<newline>\n)"
    r'|(?P<text>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<bare>[A-Za-z0-9_-]+)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_SHORT_ESCAPES: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}

_Token = tuple[str, str, int]


def key_lines(text: str) -> dict[Loc, int]:
    """Return the line (from 1) of each table header and key of a valid TOML text.

    Keys in inline tables and items of lists have the line of the key that holds them.
    """
    lines: dict[Loc, int] = {}
    table: Loc = ()
    counts: dict[Loc, int] = {}
    for statement in _split_statements(text):
        line = statement[0][2]
        if statement[0][1] == "[":
            table = _read_header(statement, counts)
            lines.setdefault(table, line)
        else:
            key = table + _read_names(_take_key(statement))
            for length in range(len(table) + 1, len(key) + 1):
                lines.setdefault(key[:length], line)
    return lines


def nearest_line(lines: dict[Loc, int], loc: Loc) -> int | None:
    """Return the line of `loc` or of its first content, else of the closest key around it; None if none has one."""
    inside = [line for key, line in lines.items() if key[: len(loc)] == loc]
    if inside:
        return min(inside)
    for length in range(len(loc), 0, -1):
        if (line := lines.get(loc[:length])) is not None:
            return line
    return None


def _tokenize(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "gap":
            yield kind, match.group(), line
        line += match.group().count("\n")


def _split_statements(text: str) -> Iterator[list[_Token]]:
    """Yield the tokens up to each newline outside brackets."""
    depth = 0
    statement: list[_Token] = []
    for token in _tokenize(text):
        kind, word, _line = token
        if kind == "newline":
            if statement and depth == 0:
                yield statement
                statement = []
            continue
        if kind == "sign":
            depth += (word in "[{") - (word in "]}")
        statement.append(token)
    if statement:
        yield statement


def _take_key(statement: list[_Token]) -> list[_Token]:
    signs = [word if kind == "sign" else "" for kind, word, _line in statement]
    return statement[: signs.index("=")]


def _read_header(statement: list[_Token], counts: dict[Loc, int]) -> Loc:
    """Return the table that a header opens; `counts` numbers the elements of arrays of tables."""
    path = _read_names(statement)
    loc: Loc = ()
    for name in path:
        loc = (*loc, name)
        if loc in counts and len(loc) < len(path):
            loc = (*loc, counts[loc] - 1)
    if len(statement) > 1 and statement[1][1] == "[":
        counts[loc] = counts.get(loc, 0) + 1
        loc = (*loc, counts[loc] - 1)
    return loc


def _read_names(tokens: list[_Token]) -> Loc:
    return tuple(_unquote(kind, word) for kind, word, _line in tokens if kind in ("bare", "text"))


def _unquote(kind: str, word: str) -> str:
    if kind == "bare":
        return word
    if word.startswith("'"):
        return word[1:-1]
    return _ESCAPE.sub(_unescape, word[1:-1])


def _unescape(match: re.Match[str]) -> str:
    short, long, letter = match.groups()
    if letter is not None:
        return _SHORT_ESCAPES.get(letter, letter)
    return chr(int(short or long, 16))
