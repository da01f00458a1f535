"""Parse Cloud Storage listings and object resources at once and strictly.

Requests name only the needed fields: the response is seven times shorter than the SDK's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
from typing import Any, Final, NamedTuple

import orjson

from vvwatch.core.filters import Reason
from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject
from vvwatch.errors import InvalidInput
from vvwatch.ports import Irregularity
from vvwatch.providers.listing import MOST_SIZE_DIGITS, ListedPage, report_long_key
from vvwatch.providers.replies import LARGE_BYTES

_FIELDS: Final = ("name", "generation", "size", "updated")
_ALL_FIELDS: Final = frozenset(_FIELDS)
OBJECT_FIELDS: Final = ",".join(_FIELDS)
LIST_FIELDS: Final = f"kind,items({OBJECT_FIELDS}),prefixes,nextPageToken"
_MOST_MARKS: Final = 1_100_000
"""Brackets and commas of a reply, which is parsed in one call: the keys of a page may consist of them."""

_MOST_ENTRIES: Final = 10_000
"""Of a page: ten times what is asked for."""

_LONGEST_KEY_BYTES: Final = 1_024
_MOST_GENERATION_DIGITS: Final = 20
_TOO_LARGE_BYTES: Final = 10**MOST_SIZE_DIGITS
_RESERVED: Final = frozenset(("", ".", ".."))
"""Names that no object has: in a URL they would address something else."""

_OBJECT_OF: Final = partial(tuple.__new__, StorageObject)
"""From a row of all its values; a third of the time that calling the class takes."""

_SHAPELESS: Final = (KeyError, TypeError, AttributeError, RecursionError)


class ParsedPage(NamedTuple):
    """One response and the token of the next page; empty after the last."""

    listed: ListedPage
    next_token: str


def parse_page(body: bytes) -> ParsedPage:
    """Return the page in `body`. Raises ValueError if it is no listing."""
    try:
        answer = _load_json(body)
        if answer["kind"] != "storage#objects":
            raise ValueError("another kind of answer")
        if len(answer.get("items", ())) > _MOST_ENTRIES or len(answer.get("prefixes", ())) > _MOST_ENTRIES:
            raise ValueError("more entries than requested")
        entries, incomplete = _read_entries(answer.get("items", ()))
        objects, irregular = _sort_out_entries(entries)
        folders, token = answer.get("prefixes", ()), answer.get("nextPageToken", "")
        _require_text((*folders, token))
    except _SHAPELESS:
        raise ValueError("not the shape of a listing") from None
    return ParsedPage(ListedPage(objects, folders, [*irregular, *incomplete]), token)


def parse_object(body: bytes) -> StorageObject:
    """Return the object that `body` describes. Raises ValueError if it is no object."""
    try:
        return _to_objects((_load_json(body),))[0]
    except _SHAPELESS:
        raise ValueError("not the shape of an object") from None


def is_usable_key(key: str) -> bool:
    """Return whether a request can address an object at `key`."""
    try:
        check_key(key)
    except InvalidInput:
        return False
    return key not in _RESERVED and len(key.encode()) <= _LONGEST_KEY_BYTES


def read_json(body: bytes) -> Any:
    """Return the JSON in `body`, also with half a surrogate pair, which orjson refuses. Raises ValueError."""
    if len(body) > LARGE_BYTES and sum(map(body.count, (b"[", b"{", b","))) > _MOST_MARKS:
        raise ValueError("more values than a reply needs")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def _load_json(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object in `body`."""
    answer = read_json(body)
    if not isinstance(answer, dict):
        raise TypeError
    return answer


def _read_entries(
    items: Sequence[Mapping[str, str]],
) -> tuple[list[StorageObject], Sequence[Irregularity]]:
    """Return the objects of the complete entries, and the incomplete ones; an entry without a name is dropped."""
    try:
        return _to_objects(items), ()
    except KeyError:
        whole = [item for item in items if item.keys() >= _ALL_FIELDS]
        odd = [_incomplete_entry(item) for item in items if not item.keys() >= _ALL_FIELDS]
        return _to_objects(whole), odd


def _incomplete_entry(item: Mapping[str, str]) -> Irregularity:
    lacking = " or ".join(field for field in _FIELDS if field not in item)
    detail = f"the store's listing does not give its {lacking}"
    return Irregularity(_escape_surrogates(item["name"]), Reason.INCOMPLETE_ENTRY, detail)


def _to_objects(items: Sequence[Mapping[str, str]]) -> list[StorageObject]:
    """Return the objects, checked and built by columns without a Python step for each."""
    names, generations, sizes, updated = ([item[field] for item in items] for field in _FIELDS)
    _require_text(names)
    if items and not "".join(generations + sizes).isdecimal():
        raise ValueError("a generation or a size is no number")
    numbers = list(map(int, sizes))
    if max(numbers, default=0) >= _TOO_LARGE_BYTES:
        raise ValueError("a size is more than any object has")
    if max(map(len, generations), default=0) > _MOST_GENERATION_DIGITS:
        raise ValueError("a generation is no 64-bit number")
    if "".join(updated).count("Z") != len(updated):  # more than one in a time is no ISO format
        raise ValueError("a time is not UTC")
    seconds = list(map(datetime.timestamp, map(datetime.fromisoformat, updated)))
    rows = zip(names, generations, numbers, seconds, seconds, repeat(False))  # one is endless
    return list(map(_OBJECT_OF, rows))


def _require_text(values: Sequence[str]) -> None:
    "".join(values)  # else a TypeError


def _sort_out_entries(objects: list[StorageObject]) -> tuple[Sequence[StorageObject], Sequence[Irregularity]]:
    """Return the addressable objects, and the others."""
    if _all_usable([obj.key for obj in objects]):
        return objects, ()
    usables = [obj for obj in objects if is_usable_key(obj.key)]
    return usables, [_irregular_entry(obj.key) for obj in objects if not is_usable_key(obj.key)]


def _all_usable(keys: Sequence[str]) -> bool:
    """Return whether all keys of a page are usable; one check for all costs a tenth."""
    text = "".join(keys)
    if max(map(len, keys), default=0) * (1 if text.isascii() else 4) > _LONGEST_KEY_BYTES:
        return all(map(is_usable_key, keys))
    is_printable = text.isascii() or text == _escape_surrogates(text)
    return "\0" not in text and _RESERVED.isdisjoint(keys) and is_printable


def _irregular_entry(key: str) -> Irregularity:
    printable = _escape_surrogates(key)
    reason = "unusable_key" if printable == key else "undecodable_name"
    if printable == key and len(key.encode()) > _LONGEST_KEY_BYTES:
        return report_long_key(key.replace("\0", "\\x00"), f"{_LONGEST_KEY_BYTES:,} bytes")
    return Irregularity(printable.replace("\0", "\\x00"), reason, "no request can name its key; rename it")


def _escape_surrogates(text: str) -> str:
    """Return `text` with lone surrogates, which are not UTF-8, backslash-escaped."""
    return text.encode(errors="backslashreplace").decode()
