"""Reads answers of models and programs within bounds, and validates them against the prompt's schema."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Final, TypeVar

import anyio.to_thread
from jsonschema_rs import Draft202012Validator
from jsonschema_rs import ValidationError as Misfit

from vvwatch.errors import InvalidInput
from vvwatch.processors.effort import count_steps

DEEPEST: Final = 64
"""The deepest nesting of an answer."""
_MOST_VALUES: Final = 500_000
_MOST_ERRORS: Final = 20
_LONGEST_ERROR: Final = 300
_SCHEMAS_KEPT: Final = 64
_MOST_STEPS: Final = 1_000_000
_MOST_STEPS_OF_ALL: Final = 10_000
_QUICKLY_READ: Final = 32 << 10
_Value = TypeVar("_Value")
Validator = Callable[[Any], list[str]]


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise InvalidInput if answers cannot be validated against `schema`. Fetches nothing."""
    _check_schema(json.dumps(schema))


def _check_schema(schema: str) -> Draft202012Validator:
    try:
        # Compiling the schema reveals unresolved references and bad patterns.
        return _compile_schema(schema)
    except (Misfit, ValueError) as error:
        raise InvalidInput(f"not a JSON Schema: {_shorten_line(_first_line(error))}") from error


def validate(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return why `value` does not fit `schema`, one line a reason; empty if it fits.

    A line names the place and the rule, and never repeats the value, which may be large. If the schema makes
    validation too slow, the reason says so. Raises InvalidInput for a schema that `check_schema` refuses.
    """
    return validator_of(schema)(value)


def validator_of(schema: Mapping[str, Any]) -> Validator:
    """Return a validator of many values by one schema, which may be large. Raises as `validate`."""
    text = json.dumps(schema)
    return partial(_find_misfits, _check_schema(text), schema, "$ref" in text or "$dynamicRef" in text)


def _find_misfits(
    compiled: Draft202012Validator,
    schema: Mapping[str, Any],
    refers: bool,  # whether the schema refers to parts of itself
    value: Any,
) -> list[str]:
    if refers and count_steps(schema, value) > _MOST_STEPS:
        return ["$: it takes too many steps to hold the value against the schema"]
    if compiled.is_valid(value):
        return []
    # The library makes all errors before it yields the first: of many values, ask only for the first.
    few = count_steps(schema, value) <= _MOST_STEPS_OF_ALL
    misfits = islice(compiled.iter_errors(value), _MOST_ERRORS) if few else _first_misfits(compiled, value)
    return [_shorten_line(f"{_format_place(misfit)}: {misfit.message}") for misfit in misfits]


def _first_misfits(compiled: Draft202012Validator, value: Any) -> list[Misfit]:
    try:
        compiled.validate(value)
    except Misfit as misfit:
        return [misfit]
    return []


def parse_object(text: bytes, most_bytes: int) -> dict[str, Any]:
    """Return the one JSON object in `text`.

    Raises ValueError, with the reason, if it is anything else, longer than `most_bytes`, nested too deeply, of too
    many values, or holds what cannot be stored: infinite numbers, unpaired surrogates.
    """
    if len(text) > most_bytes:
        raise ValueError(f"more than {most_bytes:,} bytes")
    check_values(text, _MOST_VALUES)
    value = _parse_storable(text)
    if not isinstance(value, dict):
        raise ValueError(f"no JSON object but {_KINDS[type(value)]}")  # noqa: TRY004  # of a text, not of a caller
    check_extent(value)
    return value


def _parse_storable(text: bytes) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except UnicodeEncodeError:
        raise ValueError("half of a character (a lone surrogate)") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # Python's advice after the colon is for programmers
        raise ValueError(_first_line(error).partition(":")[0]) from None
    return value


def check_values(text: bytes, most: int) -> None:
    """Raise ValueError for JSON that may have more than `most` values: reading it would take much time and memory."""
    if count_values(text) > most:
        raise ValueError(f"more than {most:,} values")


def count_values(text: bytes) -> int:
    """Return an upper bound of the values in a piece of JSON, without parsing it."""
    return sum(map(text.count, _BEFORE_A_VALUE))


def check_extent(value: Any, most_values: float = math.inf) -> None:
    """Raise ValueError when `value` is nested too deeply or holds more than `most_values` values."""
    level, count = [value], 0
    for _ in range(DEEPEST):
        level = [container for container in level if isinstance(container, dict | list)]
        count += sum(map(len, level))
        if count > most_values:
            raise ValueError(f"more than {most_values:,} values")
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
    if any(isinstance(inner, dict | list) for inner in level):
        raise ValueError(TOO_DEEP)


async def call_in_thread(length: int, function: Callable[..., _Value], *arguments: Any) -> _Value:
    """Return `function(*arguments)` for an answer of `length` bytes; run it in a thread if it may take long."""
    if length <= _QUICKLY_READ:
        return function(*arguments)
    return await anyio.to_thread.run_sync(function, *arguments)


_BEFORE_A_VALUE: Final = (b",", b"[", b"{")
TOO_DEEP: Final = f"nested deeper than {DEEPEST} levels"
_KINDS: Final = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


@lru_cache(_SCHEMAS_KEPT)
def _compile_schema(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema), mask="the value", offline=True)


def _format_place(misfit: Misfit) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in misfit.instance_path)
    return "$" + "".join(steps)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _shorten_line(line: str) -> str:
    return line if len(line) <= _LONGEST_ERROR else f"{line[:_LONGEST_ERROR]}…"
