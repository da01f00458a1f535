"""Canonical JSON of many values at once: objects with equal names of fields are encoded field by field.

So nothing but the texts themselves costs anything for each value. The texts are those of `canonical_text`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from json.encoder import encode_basestring
from math import isfinite
from operator import itemgetter
from types import NoneType
from typing import Any, Final

from vvwatch.core.events import canonical_text

_FEW: Final = 4
_DEEPEST: Final = 8


def canonical_texts(values: Sequence[Any], levels: int = _DEEPEST) -> list[str]:
    """Return `canonical_text` of each of the values. Raises as it does.

    Objects below so many `levels` are encoded one by one, which needs less of the stack.
    """
    kinds = set(map(type, values))
    if len(values) > _FEW and len(kinds) == 1:
        (kind,) = kinds
        if kind is dict and levels and (names := common_names(values)):
            parts = _iter_parts("{", values, names, "}", levels - 1)
            return list(map("".join, zip(*parts, strict=False)))
        if kind in _ENCODE and (kind is not float or all(map(isfinite, values))):
            return list(map(_ENCODE[kind], values))
    return list(map(canonical_text, values))


def common_names(values: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the sorted names of the fields that each of `values` has; none if they differ, or are not texts."""
    layouts = set(map(tuple, values))
    names = layouts.pop() if len(layouts) == 1 else ()
    return sorted(names) if set(map(type, names)) == {str} else []


def join_fields(start: str, values: Sequence[Mapping[str, Any]], names: Sequence[str], end: str) -> str:
    """Return the objects of `values` one after the other, each between `start` and `end`, with the fields `names`."""
    parts = _iter_parts(start, values, names, end, _DEEPEST)
    return "".join(chain.from_iterable(zip(*parts, strict=False)))


def _iter_parts(
    start: str, values: Sequence[Mapping[str, Any]], names: Sequence[str], end: str, levels: int
) -> Iterator[Iterable[str]]:
    """Yield what all texts begin with, their first field, what follows it, and so on; all but the fields repeat."""
    fields = zip(*map(itemgetter(names[0], *names), values), strict=True)
    for name, field in zip(names, islice(fields, 1, None), strict=True):
        yield repeat(f"{start}{encode_basestring(name)}:")
        yield canonical_texts(field, levels)
        start = ","
    yield repeat(end)


_ENCODE: Final[Mapping[type, Callable[[Any], str]]] = {
    str: encode_basestring,
    int: int.__repr__,
    float: float.__repr__,
    bool: {True: "true", False: "false"}.__getitem__,
    NoneType: {None: "null"}.__getitem__,
}
