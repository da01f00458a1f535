"""`${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$` in text values, after parsing, never in keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from vvwatch.options.findings import Finding, Loc

_PLACE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<rule>:-|:\?)(?P<rest>[^}]*))?\}"
    r"|(?P<broken>\{[^}]*\}?))"
)

_UNSHOWN: Final = ("database_url",)
"""Options that may hold a password, which no problem shows."""


class Substituted(str):
    """Text from a substitution, which may stand for a number or a truth value."""

    __slots__ = ()


def substitute(value: Any, environ: Mapping[str, str], report: Callable[[Finding], None]) -> Any:
    """Return `value` (a TOML document) with all variables filled in; report and empty what cannot be filled."""
    return _Substitution(environ, report).walk(value, ())


def find_variables(value: Any) -> set[str]:
    """Return the names of all variables in the document."""
    if isinstance(value, str):
        return {match["name"] for match in _PLACE.finditer(value) if match["name"]}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for item in inner for name in find_variables(item)}


class _Substitution:
    def __init__(self, environ: Mapping[str, str], report: Callable[[Finding], None]) -> None:
        self._environ = environ
        self._report = report

    def walk(self, value: Any, loc: Loc) -> Any:
        if isinstance(value, dict):
            return {key: self.walk(item, (*loc, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, (*loc, position)) for position, item in enumerate(value)]
        if isinstance(value, str) and _PLACE.search(value):
            return Substituted(_PLACE.sub(lambda match: self._fill(match, loc), value))
        return value

    def _fill(self, match: re.Match[str], loc: Loc) -> str:
        if match["dollar"]:
            return "$"
        if match["broken"]:
            shown = "a part of it" if loc == _UNSHOWN else repr(match.group())
            what = f"{shown} is not a substitution"
            self._report(
                Finding(loc, what, "${VAR}, ${VAR:-default}, ${VAR:?message}", "write $$ for a dollar")
            )
            return ""
        value = self._environ.get(match["name"])
        return self._present(match["name"], value, loc) if value else self._absent(match, value, loc)

    def _present(self, name: str, value: str, loc: Loc) -> str:
        if "\n" in value:
            self._report(Finding(loc, f"the variable {name} holds more than one line"))
        return value

    def _absent(self, match: re.Match[str], value: str | None, loc: Loc) -> str:
        name, rule, rest = match["name"], match["rule"], match["rest"]
        if rule == ":-":
            return str(rest)
        if rule == ":?":
            self._report(Finding(loc, f"the variable {name} is needed: {rest or 'not set'}"))
        elif value is None:
            hint = f"set {name}, or write ${{{name}:-default}}"
            self._report(Finding(loc, f"the variable {name} is not set", hint=hint))
        return ""
