"""Read fields from keys by a template such as `{show}/{episode}/{camera}_{*}.mxf`. No regular expressions of users."""

from __future__ import annotations

import re
from typing import Final

from vvwatch.errors import InvalidInput

MOST_FIELDS: Final = 20
_LONGEST: Final = 500
_PART: Final = re.compile(r"\{([^{}]*)\}|([^{}]+)|([{}])")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_HINT: Final = (
    "write it as {show}/{episode}/{camera}_{*}.mxf: names of letters, digits and _, and {*} for any text"
)


class PathTemplate:
    """A checked template. Raises InvalidInput, with a hint, for one that cannot be used."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise InvalidInput(f"the template is longer than {_LONGEST} characters", _HINT)
        self._levels = [_parse_level(level) for level in text.split("/")]
        names = [name for level in self._levels for name in level[1::2] if name != "*"]
        if not names:
            raise InvalidInput("the template names no field", _HINT)
        if len(names) > MOST_FIELDS or len(set(names)) < len(names):
            raise InvalidInput(f"the template needs at most {MOST_FIELDS} different names", _HINT)

    def read(self, key: str) -> dict[str, str] | None:
        """Return the fields of a key below the prefix; None if it does not fit. Takes linear time for each field."""
        levels = key.split("/")
        if len(levels) != len(self._levels):
            return None
        found: dict[str, str] = {}
        for level, text in zip(self._levels, levels, strict=True):
            values = _match_level(level, text)
            if values is None:
                return None
            found |= {name: value for name, value in zip(level[1::2], values, strict=True) if name != "*"}
        return found


def check_template(text: str) -> None:
    """Raise InvalidInput if the template cannot be used."""
    PathTemplate(text)


def _parse_level(text: str) -> list[str]:
    """Return literal, name, literal, … of one level of folders: an odd number of texts."""
    parts = [""]
    for name, literal, stray in _PART.findall(text):
        if literal:
            parts[-1] += literal
            continue
        if stray or (name != "*" and not _NAME.fullmatch(name)):
            raise InvalidInput(
                f"the template has {{{name}}}" if not stray else f"a {stray} stands alone", _HINT
            )
        if len(parts) > 1 and not parts[-1]:
            raise InvalidInput("nothing is between two fields of the template", _HINT)
        parts += [name, ""]
    if parts == [""]:
        raise InvalidInput("the template has an empty folder name", _HINT)
    return parts


def _match_level(parts: list[str], text: str) -> list[str] | None:
    """Return what each field takes: as little as it can, at least one character, the last one the rest."""
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return [] if text == first else None
    if not text.startswith(first) or not text.endswith(last):
        return None
    at, end = len(first), len(text) - len(last)
    values: list[str] = []
    for literal in parts[2:-1:2]:
        until = text.find(literal, at + 1, end)
        if until < 0:
            return None
        values.append(text[at:until])
        at = until + len(literal)
    return [*values, text[at:end]] if at < end else None
