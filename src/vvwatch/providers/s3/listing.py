"""Parse S3's ListObjectsV2 responses: by columns if they are as plain as AWS writes them, else as XML.

The SDK's own parser takes forty times as long and would block the event loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Final, NamedTuple
from urllib.parse import unquote_plus, unquote_to_bytes
from xml.etree.ElementTree import Element

from vvwatch.core.filters import Reason
from vvwatch.core.known_pages import KnownPage, PageMemory
from vvwatch.core.objects import StorageObject
from vvwatch.ports import Irregularity
from vvwatch.providers.listing import (
    MOST_ETAG_CHARACTERS,
    MOST_SIZE_DIGITS,
    ListedPage,
    report_long_etag,
    report_long_key,
    row_times,
)
from vvwatch.providers.markup import parse_xml
from vvwatch.providers.replies import LARGE_BYTES
from vvwatch.providers.versions import bare_etag, epoch_seconds, version_of

LONGEST_KEY_BYTES: Final = 1_024
ARCHIVED: Final = frozenset(("GLACIER", "DEEP_ARCHIVE"))
"""The storage classes whose objects must be restored before reading."""

_ROW: Final = re.compile(
    r"<Contents><Key>([^<]++)</Key>"
    r"<LastModified>(\d{4}-\d\d-\d\d)T(\d\d:\d\d):(\d\d)(?:\.\d++)?+Z</LastModified>"
    rf'<ETag>(?:&quot;|&#34;|")([\w-]{{1,{MOST_ETAG_CHARACTERS}}}+)(?:&quot;|&#34;|")</ETag>'
    r"(?:<ChecksumAlgorithm>\w++</ChecksumAlgorithm>)*+(?:<ChecksumType>\w++</ChecksumType>)?+"
    rf"<Size>(\d{{1,{MOST_SIZE_DIGITS}}}+)</Size>(?:<StorageClass>(\w++)</StorageClass>)?+</Contents>",
    re.ASCII,
)
_WIDTH: Final = 1 + _ROW.groups
"""Into how many pieces a row splits: what precedes it, and its fields."""
_MOST_ENTRIES: Final = 50_000
"""S3 lists a thousand at once; another store may list more, and its page is parsed beside the event loop."""

_END_OF_ROW: Final = "</Contents>"
_SPLIT_CHARACTERS: Final = 1 << 18
_make: Final = partial(tuple.__new__, StorageObject)
"""As `StorageObject._make`, in a third of the time."""
_PLAIN: Final = b"\n" + bytes(byte for byte in range(0x20, 0x7F) if byte != ord("]"))
"""What stands for itself wherever it stands in XML, but for `<` and `&`."""

_SIZE: Final = re.compile(rf"\d{{1,{MOST_SIZE_DIGITS}}}", re.ASCII)
_FIELDS: Final = ("Key", "LastModified", "ETag", "Size", "StorageClass")
_REPEATED: Final = frozenset(("ChecksumAlgorithm",))


class NoListing(Exception):
    """Raised for a response that is no complete listing. It stays within the modules of this store."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A page and the token of the next one; empty after the last."""

    page: ListedPage
    next_token: str


class _Frame(NamedTuple):
    """The parts of a listing besides its objects; `encoded`: its keys are percent-encoded."""

    encoded: bool
    folders: Sequence[str | Irregularity]
    next_token: str


def parse_listing(body: bytes, memory: PageMemory | None = None) -> Listing:
    """Return everything that `body` lists. Raises NoListing.

    Objects that `memory` knows are parsed when somebody looks at them.
    """
    start, end = body.find(b"<Contents>"), body.rfind(b"</Contents>") + len(_END_OF_ROW)
    if memory is None or not 0 <= start < end:
        return _parse(body)[0]
    glance = memory.look(body[start:end])
    if glance.facts and (frame := _read_plain_frame(_decode(body[:start]), _decode(body[end:]))):
        return _to_listing(KnownPage(glance.facts, lambda: _parse(body)[0].page.objects), [], frame)
    listing, plain = _parse(body)
    if plain:
        memory.note(glance, listing.page.objects)
    return listing


def _parse(body: bytes) -> tuple[Listing, bool]:
    """Return everything that `body` lists, and whether it is plain enough for columns."""
    text = _decode(body)
    if len(text) > LARGE_BYTES and text.count("<Contents>") > _MOST_ENTRIES:
        raise NoListing(f"the answer lists more than {_MOST_ENTRIES:,} objects at once")
    listing = parse_by_columns(text)
    return listing or parse_by_elements(text), listing is not None


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NoListing("the answer is not UTF-8") from None


def parse_by_columns(text: str) -> Listing | None:
    """Return everything that `text` lists; None if it is no listing or not plain enough for columns."""
    if not text.isascii() or text.encode().translate(None, _PLAIN):
        return None
    start, end = text.find("<Contents>"), text.rfind(_END_OF_ROW) + len(_END_OF_ROW)
    columns: list[list[str]] = [[] for _ in range(_ROW.groups)]
    for row in _split_rows(text, start, end):
        between, *found = (row[column::_WIDTH] for column in range(_WIDTH))
        if any(between):
            return None
        for column, values in zip(columns, found, strict=True):
            column.extend(values)
    if not columns[0]:
        return None
    frame = _read_plain_frame(text[:start], text[end:])
    if frame is None:
        return None
    try:
        objects = _take_objects(*columns)
    except ValueError:
        return None
    return _to_listing(objects, [], frame)


def _read_plain_frame(before: str, after: str) -> _Frame | None:
    """Return the frame around the rows; None if they stand elsewhere than in the listing itself, or others do."""
    root = _parse_root(f"{before}<Rows/>{after}")
    frame = _read_frame(root)
    alone = len(_children_named(root, "Rows")) == 1 and not _children_named(root, "Contents")
    return frame if frame.encoded and alone else None


def _split_rows(text: str, start: int, end: int) -> Iterator[list[str]]:
    """Yield rows in blocks of some hundreds: one call for a large page would block other threads."""
    while 0 <= start < end:
        found = text.find(_END_OF_ROW, start + _SPLIT_CHARACTERS, end)
        cut = end if found < 0 else found + len(_END_OF_ROW)
        yield _ROW.split(text[start:cut])
        start = cut


def parse_by_elements(text: str) -> Listing:
    """Return everything that `text` lists, from any server. Raises NoListing."""
    root = _parse_root(text)
    frame = _read_frame(root)
    entries = [_describe_entry(element, frame.encoded) for element in _children_named(root, "Contents")]
    objects = [entry for entry in entries if isinstance(entry, StorageObject)]
    return _to_listing(objects, [entry for entry in entries if isinstance(entry, Irregularity)], frame)


def _to_listing(objects: Sequence[StorageObject], irregular: list[Irregularity], frame: _Frame) -> Listing:
    folders = [folder for folder in frame.folders if isinstance(folder, str)]
    irregular += [folder for folder in frame.folders if isinstance(folder, Irregularity)]
    return Listing(ListedPage(objects, folders, irregular), frame.next_token)


def _take_objects(*columns: Sequence[str]) -> list[StorageObject]:
    """Return the objects in the columns. Raises ValueError for an unusual key or time."""
    encoded, days, minutes, seconds, etags, sizes, classes = columns
    keys = _decode_keys(encoded)
    times = list(row_times(_day_seconds, days, minutes, seconds))
    versions = [f"{etag}:{size}" for etag, size in zip(etags, sizes, strict=True)]
    archived = map(ARCHIVED.__contains__, classes)
    fields = zip(keys, versions, map(int, sizes), times, times, archived, strict=True)
    return list(map(_make, fields))


def _decode_keys(encoded: Sequence[str]) -> Sequence[str]:
    text = "".join(encoded)
    if "&" in text:
        raise ValueError
    keys = [unquote_plus(key, errors="strict") for key in encoded] if "%" in text or "+" in text else encoded
    if "%00" in text or max(map(len, encoded)) > LONGEST_KEY_BYTES:
        raise ValueError
    return keys


@lru_cache(4096)
def _day_seconds(text: str) -> float:
    return datetime.fromisoformat(f"{text}T00:00Z").timestamp()


def _decode_key(raw: str, encoded: bool) -> str | Irregularity:
    key = raw
    if encoded and ("%" in raw or "+" in raw):
        try:
            key = unquote_plus(raw, errors="strict")
        except UnicodeDecodeError:
            printable = unquote_to_bytes(raw.replace("+", " ")).decode(errors="backslashreplace")
            return Irregularity(printable, Reason.UNDECODABLE_NAME, "the key is not valid UTF-8")
        if "\0" in key:
            printable = key.replace("\0", "\\x00")
            return Irregularity(
                printable, Reason.UNUSABLE_KEY, "the key holds a NUL, which no request can name"
            )
    return (
        key
        if len(key.encode(errors="surrogatepass")) <= LONGEST_KEY_BYTES
        else report_long_key(key, f"{LONGEST_KEY_BYTES:,} bytes")
    )


def _parse_root(text: str) -> Element:
    try:
        root = parse_xml(text)
    except ValueError as error:
        raise NoListing(f"the answer breaks off, or is no listing: {error}") from None
    if _local_name(root) != "ListBucketResult":
        raise NoListing("the answer is no listing")
    return root


def _read_frame(root: Element) -> _Frame:
    said = {
        name: _only_text(_children_named(root, name))
        for name in ("EncodingType", "IsTruncated", "NextContinuationToken")
    }
    encoded, truncated, token = (
        said["EncodingType"] == "url",
        said["IsTruncated"],
        said["NextContinuationToken"],
    )
    if (truncated, bool(token)) not in (("true", True), ("false", False)):
        raise NoListing("the answer does not say clearly whether there is more")
    groups = _children_named(root, "CommonPrefixes")
    prefixes = [_leaf_text(prefix) for group in groups for prefix in _children_named(group, "Prefix")]
    return _Frame(encoded, [_decode_key(prefix, encoded) for prefix in prefixes], token)


def _describe_entry(element: Element, encoded: bool) -> StorageObject | Irregularity:
    """Return the object of a <Contents>, or an irregularity if a required field is missing."""
    children = _fields_of(element)
    fields: dict[str, str] = {name: _leaf_text(children[name]) for name in _FIELDS if name in children}
    if not fields.get("Key"):
        raise NoListing("an object in the answer has no key")
    key = _decode_key(fields["Key"], encoded)
    if isinstance(key, Irregularity):
        return key
    lacking = _list_missing(fields)
    if lacking:
        return Irregularity(key, Reason.INCOMPLETE_ENTRY, f"the store's listing does not give its {lacking}")
    if len(fields.get("ETag", "")) > MOST_ETAG_CHARACTERS:
        return report_long_etag(key)
    at, size = epoch_seconds(fields["LastModified"]), int(fields["Size"])
    archived = fields.get("StorageClass") in ARCHIVED and not _is_restored(children.get("RestoreStatus"))
    version = version_of(bare_etag(fields.get("ETag")), at, size)
    return StorageObject(key, version, size, at // 1, at // 1, archived)


def _list_missing(fields: Mapping[str, str]) -> str:
    """Return the missing or unreadable fields of an entry."""
    lacking = [] if _SIZE.fullmatch(fields.get("Size", "").strip()) else ["size"]
    try:
        epoch_seconds(fields.get("LastModified", ""))
    except (ValueError, OverflowError):
        lacking.append("time of change")
    return " or ".join(lacking)


def _is_restored(status: Element | None) -> bool:
    """Return whether an archived object has a readable copy now."""
    fields = {} if status is None else {name: _leaf_text(field) for name, field in _fields_of(status).items()}
    return fields.get("IsRestoreInProgress") == "false" and bool(fields.get("RestoreExpiryDate"))


def _fields_of(element: Element) -> dict[str, Element]:
    fields: dict[str, Element] = {}
    for child in element:
        name = _local_name(child)
        if name in fields and name not in _REPEATED:
            raise NoListing(f"the answer has two {name} in one place")
        fields[name] = child
    return fields


def _only_text(elements: list[Element]) -> str:
    """Return the text of the only element; empty without one."""
    if len(elements) > 1:
        raise NoListing(f"the answer has two {_local_name(elements[0])}")
    return _leaf_text(elements[0]) if elements else ""


def _leaf_text(element: Element) -> str:
    if len(element):
        raise NoListing(f"a {_local_name(element)} in the answer is no text")
    return element.text or ""


def _children_named(element: Element, name: str) -> list[Element]:
    return [child for child in element if _local_name(child) == name]


def _local_name(element: Element) -> str:
    """Return the tag without its namespace: some compatible servers use another one."""
    return element.tag.rpartition("}")[2]
