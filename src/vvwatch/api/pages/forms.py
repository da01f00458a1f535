"""Forms for bodies of the API: their fields, what a person typed, and what the API says about each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from vvwatch.api.pages.calls import Answer

Kind = Literal["text", "password", "secret", "number", "checkbox", "select", "set", "lines"]
"""`secret` is a password of several lines, `set` several checkboxes, `lines` a list of texts."""

_HIDDEN: Final = frozenset({"password", "secret"})


@dataclass(frozen=True, slots=True)
class Field:
    """An input; `name` is the dotted path of the body's field. `choices` are values and their labels."""

    name: str
    label: str
    kind: Kind = "text"
    hint: str = ""
    required: bool = False
    choices: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Filled:
    """A field with its value, never that of a secret, and with what is wrong with it."""

    field: Field
    value: str
    problem: str = ""

    @property
    def values(self) -> frozenset[str]:
        """The chosen values of a set."""
        return frozenset(self.value.splitlines())


@dataclass(frozen=True, slots=True)
class FilledForm:
    """A form, and what the API said when it was sent: a message, a hint, and problems that belong to no field."""

    fields: Sequence[Filled]
    message: str = ""
    hint: str = ""
    others: Sequence[str] = ()


def fill_form(fields: Sequence[Field], values: Mapping[str, str], answer: Answer | None = None) -> FilledForm:
    """Return the form with these values, and with the problems of a refused `answer`."""
    problems = {} if answer is None else answer.problems
    named = {field.name for field in fields}
    placed = {name: _find_place(name, named) for name in problems}
    found: dict[str, str] = {}
    for name, text in problems.items():
        place = placed[name]
        found[place] = f"{found[place]}; {text}" if place in found else text
    filled = [
        Filled(
            field,
            "" if field.kind in _HIDDEN else values.get(field.name, ""),
            found.get(field.name, ""),
        )
        for field in fields
    ]
    others = [f"{name}: {text}" for name, text in problems.items() if placed[name] not in named]
    refused = answer is not None and not answer.ok
    message, hint = (answer.message, answer.hint) if answer is not None and refused else ("", "")
    return FilledForm(filled, message, hint, others)


def _find_place(name: str, named: Iterable[str]) -> str:
    """Return the field that a problem belongs to: of `exclude.2` the field `exclude`."""
    return next((each for each in named if name == each or name.startswith(f"{each}.")), name)


def build_body(
    fields: Sequence[Field], values: Mapping[str, str], *, keep_empty: bool = False
) -> dict[str, Any]:
    """Return the body that the form describes. Empty texts are left out, or null if `keep_empty`.

    What is no number stays a text: the API says what is wrong with it.
    """
    body: dict[str, Any] = {}
    for field in fields:
        value = _convert(field, values.get(field.name, ""))
        if value is None and not keep_empty:
            continue
        *path, last = field.name.split(".")
        inner = body
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return body


def _convert(field: Field, text: str) -> Any:
    if field.kind == "checkbox":
        return bool(text)
    if field.kind in {"lines", "set"}:
        return [line.strip() for line in text.splitlines() if line.strip()] or None
    stripped = text if field.kind in _HIDDEN else text.strip()
    if field.kind == "number" and stripped.isdecimal() and len(stripped) < 19:
        return int(stripped)
    return stripped or None


def to_values(fields: Sequence[Field], document: Mapping[str, Any]) -> dict[str, str]:
    """Return the values that the form has for a resource of the API."""
    return {field.name: _to_text(_look_up(document, field.name)) for field in fields}


def _look_up(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


def _to_text(value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "on"
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
