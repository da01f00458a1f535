"""Reads JSON from a model's answer: within bounds, in time linear in the text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from vvwatch.processors.validation import DEEPEST, TOO_DEEP, check_extent

_MOST_STARTS: Final = 16
_MOST_MARKS: Final = 100_000
_MOST_VALUES: Final = 20_000
_FENCE: Final = "```"
_THOUGHT: Final = "</think>"
_MARKS: Final = '"\\{}[]'
_MARK: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
"""A quoted string, or a bracket outside of strings."""
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


def read_object(text: str) -> dict[str, Any]:
    """Return the JSON object in an answer: all of it, the content of a fence, or the first balanced object.

    Unpaired surrogates and NUL, which no database takes, become U+FFFD. Raises ValueError, with the reason, if there
    is none.
    """
    if sum(map(text.count, _MARKS)) > _MOST_MARKS:
        raise ValueError(f"the answer has more than {_MOST_MARKS:,} brackets and quotation marks")
    reason = "there is no JSON object in the answer"
    for candidate in _iter_candidates(text.rpartition(_THOUGHT)[2].strip()):
        try:
            value = _load_json(candidate)
        except ValueError as error:
            reason = f"the answer is not JSON: {error}"
            continue
        if isinstance(value, dict):
            return value
        reason = "the answer is JSON, but no object"
    raise ValueError(reason)


def _iter_candidates(text: str) -> Iterator[str]:
    if text.startswith(("{", "[")):
        yield text
    start = text.find(_FENCE)
    end = text.find(_FENCE, start + 3)
    if 0 <= start < end:
        yield text[start + 3 : end].removeprefix("json").strip()
    yield from _iter_balanced(text)


def _iter_balanced(text: str) -> Iterator[str]:
    """Yield the separate stretches from a brace to its partner; stop after many marks."""
    start, left = text.find("{"), _MOST_MARKS
    for _ in range(_MOST_STARTS):
        if start < 0 or left <= 0:
            return
        end, left = _find_partner(text, start, left)
        if end is not None:
            yield text[start:end]
        start = text.find("{", end or start + 1)


def _find_partner(text: str, start: int, most_marks: int) -> tuple[int | None, int]:
    """Return where the object that begins at `start` ends, and how many marks may still be looked at.

    None if it does not end; 0 marks if it is nested too deeply, because nothing inside is the answer.
    """
    depth = looked_at = 0
    for looked_at, mark in enumerate(_MARK.finditer(text, start), 1):
        depth += _STEPS.get(mark[0], 0)
        if depth == 0:
            return mark.end(), most_marks - looked_at
        if depth > DEEPEST or looked_at == most_marks:
            return None, 0
    return None, most_marks - looked_at


_STEPS: Final = {"{": 1, "[": 1, "}": -1, "]": -1}


def _load_json(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_parse_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(str(error).partition(":")[0]) from None
    check_extent(value, _MOST_VALUES)
    return _to_storable(value)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _parse_finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:20]} is too large a number")
    return number


def to_storable_text(text: str) -> str:
    """Return the text without characters that a database refuses."""
    return _UNSTORABLE.sub("\ufffd", text)


def _to_storable(value: Any) -> Any:
    if isinstance(value, str):
        return to_storable_text(value)
    if isinstance(value, list):
        return [_to_storable(each) for each in value]
    if isinstance(value, dict):
        named = {to_storable_text(name): _to_storable(each) for name, each in value.items()}
        if len(named) < len(value):
            raise ValueError("names in it differ only in characters that cannot be stored")
        return named
    return value
