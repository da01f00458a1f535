"""Conditions of a search without a model: up to four, and all must hold.

A field is a key of the document or a dotted path; a list on the path stands for each of its elements, and one match
suffices. Text comparison ignores case. A value of another type than the condition states never matches. A condition
without a type takes it from the value it finds, and numbers and truth values may be given as text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vvwatch.errors import InvalidInput

MOST_CONDITIONS: Final = 4

_COMPARED: Final = ("equals", "greater_than", "greater_equal", "less_than", "less_equal")
_EMPTINESS: Final = ("is_empty", "is_not_empty")
_OF_ONE_ITEM: Final = ("contains", "starts_with", "ends_with", *_COMPARED)
_LENGTHS: Final = ("length_equals", "length_greater", "length_less")

OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("equals", "contains", "starts_with", "ends_with", *_EMPTINESS),
    "integer": _COMPARED,
    "number": _COMPARED,
    "boolean": ("equals",),
    "array": ("item_equals", "item_contains", *_LENGTHS, *_EMPTINESS),
}
"""Maps each type to its operators."""
ALL_OPERATORS: Final = tuple(dict.fromkeys(each for operators in OPERATORS.values() for each in operators))

_Test = Callable[[Any, Any], bool]

_TESTS: Final[Mapping[str, _Test]] = {
    "equals": lambda found, wanted: bool(found == wanted),
    "contains": lambda found, wanted: wanted in found,
    "starts_with": lambda found, wanted: found.startswith(wanted),
    "ends_with": lambda found, wanted: found.endswith(wanted),
    "greater_than": lambda found, wanted: found > wanted,
    "greater_equal": lambda found, wanted: found >= wanted,
    "less_than": lambda found, wanted: found < wanted,
    "less_equal": lambda found, wanted: found <= wanted,
    "is_not_empty": lambda found, _: not _is_blank(found),
    "length_equals": lambda found, wanted: len(found) == wanted,
    "length_greater": lambda found, wanted: len(found) > wanted,
    "length_less": lambda found, wanted: len(found) < wanted,
    "item_equals": lambda found, wanted: any(_is_equal(item, wanted) for item in found),
    "item_contains": lambda found, wanted: any(isinstance(item, str) and wanted in item for item in found),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, created by `check_condition`; `value` is case-folded like documents.

    A `type` of None takes the type of each value found.
    """

    field: str
    operator: str
    type: str | None
    value: Any = None

    def holds(self, document: Mapping[str, Any]) -> bool:
        """Return whether the document meets the condition."""
        found = list(_values_at(document, self.field.split(".")))
        if self.operator == "is_empty":
            return all(_is_nothing(value, self.type) for value in found)
        return any(self._meets(value) for value in found)

    def _meets(self, found: Any) -> bool:
        if self.type is not None:
            return _has_type(found, self.type) and _TESTS[self.operator](_fold_case(found), self.value)
        if isinstance(found, list) and self.operator in _OF_ONE_ITEM:
            return any(self._meets(item) for item in found if not isinstance(item, list))
        type_ = next((name for name in OPERATORS if _has_type(found, name)), "")
        wanted = _as_type(self.value, type_)
        works = self.operator in OPERATORS.get(type_, ()) and _is_one(
            wanted, _describe_value(self.operator, type_)
        )
        return works and _TESTS[self.operator](_fold_case(found), wanted)


def check_condition(field: str, operator: str, type_: str | None, value: Any = None) -> Condition:
    """Return the condition. Raises InvalidInput if the operator does not fit the type, or for a wrong value.

    Without a type, any operator and any value that it accepts are valid.
    """
    operators = ALL_OPERATORS if type_ is None else OPERATORS.get(type_)
    if operators is None:
        raise InvalidInput("there is no such type", f"the types are {', '.join(OPERATORS)}")
    if operator not in operators:
        what = "there is no such operator" if type_ is None else f"the operator does not work on {type_}"
        raise InvalidInput(what, f"those that do are {', '.join(operators)}")
    if not field.strip():
        raise InvalidInput("a condition needs a field", "name a key of the metadata, such as subject")
    _check_value(operator, type_, value)
    return Condition(field.strip(), operator, type_, _fold_case(value))


def all_hold(conditions: Iterable[Condition], document: Mapping[str, Any]) -> bool:
    """Return whether the document meets every condition."""
    return all(condition.holds(document) for condition in conditions)


def _check_value(operator: str, type_: str | None, value: Any) -> None:
    if operator in _EMPTINESS:
        if value is not None:
            raise InvalidInput(f"{operator} takes no value", "leave the value out")
        return
    wanted = _describe_value(operator, type_)
    if not _is_one(value, wanted):
        raise InvalidInput(f"{operator} on {type_} needs another value", f"give {wanted}")


def _describe_value(operator: str, type_: str | None) -> str:
    """Return what the value of a condition must be, for people."""
    if operator in _EMPTINESS:
        return _NOTHING
    if operator in _LENGTHS:
        return _A_LENGTH
    if operator == "item_contains":
        return _A_TEXT
    if operator == "item_equals":
        return _A_SCALAR
    return _A_SCALAR if type_ is None else _VALUES[type_]


def _as_type(value: Any, type_: str) -> Any:
    """Return `value` converted to `type_` if it is text that says one; otherwise unchanged."""
    if isinstance(value, str) and type_ == "boolean":
        return {"true": True, "false": False}.get(value.strip(), value)
    if isinstance(value, str) and type_ in ("integer", "number"):
        try:
            return float(value)
        except ValueError:
            return value
    return value


_NOTHING: Final = "nothing"
_A_TEXT: Final = "a text that is not blank"
_A_NUMBER: Final = "a finite number"
_A_LENGTH: Final = "a whole number from 0 on"
_A_SCALAR: Final = "a text, a number, true or false"
_VALUES: Final = {
    "string": _A_TEXT,
    "integer": "a whole number",
    "number": _A_NUMBER,
    "boolean": "true or false",
}


def _is_one(value: Any, wanted: str) -> bool:
    """Return whether `value` is of the `wanted` kind."""
    return _KINDS[wanted](value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _values_at(value: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield the values at the path; a key with dots in it is one of the readings."""
    if not path:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _values_at(item, path)
    elif isinstance(value, Mapping):
        for end in range(1, len(path) + 1):
            key = ".".join(path[:end])
            if key in value:
                yield from _values_at(value[key], path[end:])


def _has_type(value: Any, type_: str) -> bool:
    if type_ == "integer":
        return _is_whole(value)
    if type_ == "number":
        return _is_number(value)
    return isinstance(value, {"string": str, "boolean": bool, "array": list}[type_])


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _is_nothing(value: Any, type_: str | None) -> bool:
    has_type = isinstance(value, str | list) if type_ is None else _has_type(value, type_)
    return value is None or (has_type and _is_blank(value))


def _is_blank(value: Any) -> bool:
    return not (value.strip() if isinstance(value, str) else value)


def _fold_case(value: Any) -> Any:
    """Return texts case-folded, also in lists."""
    if isinstance(value, str):
        return value.casefold()
    return (
        [_fold_case(item) if isinstance(item, str) else item for item in value]
        if isinstance(value, list)
        else value
    )


def _is_equal(one: Any, other: Any) -> bool:
    """Return JSON equality: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    _NOTHING: lambda value: value is None,
    _A_TEXT: _is_text,
    _A_NUMBER: _is_number,
    _A_LENGTH: lambda value: _is_whole(value) and value >= 0,
    _A_SCALAR: lambda value: _is_number(value) or isinstance(value, bool) or _is_text(value),
    _VALUES["integer"]: _is_whole,
    _VALUES["boolean"]: lambda value: isinstance(value, bool),
}
