"""Read a page of Azure's listing blob by blob without a parser; leave unusual pages to an XML parser.

That costs a fiftieth of the SDK's parsing. It relies on escaped field values and on the order of a blob's first
fields. Both are checked, and any other page is parsed as XML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from itertools import compress, repeat
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes
from xml.etree.ElementTree import Element

from anyio import to_thread
from anyio.lowlevel import checkpoint

from vvwatch.core.filters import Reason
from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject
from vvwatch.errors import InvalidInput
from vvwatch.ports import Irregularity
from vvwatch.providers.listing import (
    MOST_ETAG_CHARACTERS,
    MOST_SIZE_DIGITS,
    ListedPage,
    report_long_etag,
    report_long_key,
    row_times,
)
from vvwatch.providers.markup import iter_xml_events
from vvwatch.providers.versions import bare_etag, version_of

_MAX_KEY_CHARACTERS: Final = 1_024
_PIECE_BYTES: Final = 1 << 18
"""The bytes read at once: about 400 blobs, in a millisecond or two."""

_MOST_ENTRIES: Final = 10_000
"""Twice the page size asked for."""

_HEAD: Final = re.compile(
    r'(?:<\?xml[^<>]*\?>\s*)?<EnumerationResults(?: (?:ServiceEndpoint|ContainerName)="[^"<>]*")*>'
    r"(?:<(\w+)(?: ?/>|>[^<]*</\1>))*<Blobs>"
)
_TAIL: Final = re.compile(r"</Blobs><NextMarker(?: ?/>|>([^<]*)</NextMarker>)</EnumerationResults>\s*")
_BLOB: Final = re.compile(
    r"<Blob><Name>([^<]*+)</Name>(?:<VersionId>[^<]*+</VersionId>)?+"
    r"(?:<IsCurrentVersion>true</IsCurrentVersion>)?+"
    r"<Properties>(?:<Creation-Time>[^<]*+</Creation-Time>)?+"
    r"<Last-Modified>(\w{3}, \d\d \w{3} \d{4}) (\d\d:\d\d):(\d\d) GMT</Last-Modified>"
    rf'<Etag>([^<"&]{{1,{MOST_ETAG_CHARACTERS}}}+)</Etag>'
    rf"<Content-Length>(\d{{1,{MOST_SIZE_DIGITS}}}+)</Content-Length>((?:<(?!/?Blob>)[^<]*+)*+)</Blob>",
    re.ASCII,
)
_WIDTH: Final = 1 + _BLOB.groups
"""Into how many pieces a blob splits: what precedes it, and its fields."""
_make: Final = partial(tuple.__new__, StorageObject)
"""As `StorageObject._make`, in a third of the time."""
_FOLDER: Final = re.compile(
    r"<BlobPrefix><Name>([^<]*)</Name>(?:<Properties>.*?</Properties>)?</BlobPrefix>", re.DOTALL
)
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_ESCAPED: Final = re.compile(r"&(?:lt|gt|quot|apos|amp);|&")
_NO_CHARACTER: Final = re.compile("[\0-\x08\x0b-\x1f\ufffe\uffff]")
"""Characters that XML lacks, and the carriage return, which a parser turns into a line feed."""

_END: Final = "</Blob>"
_ARCHIVED: Final = "<AccessTier>Archive</AccessTier>"
_DIRECTORY: Final = "<ResourceType>directory</ResourceType>"
_DATE: Final = re.compile(r"(\w{3}, \d\d \w{3} \d{4}) (\d\d:\d\d):(\d\d) GMT", re.ASCII)


class ParsedPage(NamedTuple):
    """One response and the marker of the next page; empty after the last."""

    listed: ListedPage
    next_marker: str


class Odd(Exception):
    """Raised for a page that Azure would not write; it may still be XML."""


class _EntryList(NamedTuple):
    objects: list[StorageObject]
    folders: list[str]
    irregular: list[Irregularity]

    def add(self, objects: Sequence[StorageObject]) -> None:
        """Add the objects, unaddressable ones as irregularities."""
        if _all_usable([obj.key for obj in objects]):
            self.objects.extend(objects)
            return
        self.objects.extend(obj for obj in objects if is_usable_key(obj.key))
        self.irregular.extend(_unusable_key(obj.key) for obj in objects if not is_usable_key(obj.key))


async def parse_in_steps(body: bytes) -> ParsedPage:
    """Return the page in `body`. Raises ValueError if it is no complete listing."""
    if body.count(_END.encode()) > _MOST_ENTRIES:
        raise ValueError("more blobs than requested")
    try:
        return await read_page(body)
    except Odd:
        return await to_thread.run_sync(parse_page, body)


async def read_page(body: bytes) -> ParsedPage:
    """Return the page without a parser, piece by piece. Raises Odd."""
    start, end = body.find(b"<Blobs>") + len(b"<Blobs>"), max(0, body.rfind(b"</Blobs>"))
    head, tail = _HEAD.fullmatch(body[:start].decode("utf-8-sig")), _TAIL.fullmatch(body[end:].decode())
    if not head or not tail:
        raise Odd
    found = _EntryList([], [], [])
    for piece in _split_pieces(body, start, end):
        _read_piece(piece.decode(), found)
        await checkpoint()
    marker = _unescape(tail[1] or "")
    _require_plain([*found.folders, marker])
    return ParsedPage(ListedPage(*found), marker)


def parse_page(body: bytes) -> ParsedPage:
    """Return the page by an XML parser. Raises ValueError."""
    found, path = _EntryList([], [], []), list[str]()
    whole, marker = False, None
    for event, element in iter_xml_events(body.decode("utf-8-sig")):
        if event == "start":
            path.append(element.tag)
            continue
        if path == ["EnumerationResults", "NextMarker"]:
            marker = element.text or ""
        elif path == ["EnumerationResults", "Blobs"]:
            whole = True
        elif len(path) == 3 and path[:2] == ["EnumerationResults", "Blobs"]:
            _take_entry(element, found)
            element.clear()  # to take down all of a page's elements at once would hold up the loop
        path.pop()
    if not whole or marker is None:
        raise ValueError("not the shape of a listing")
    return ParsedPage(ListedPage(*found), marker)


def is_usable_key(key: str) -> bool:
    """Return whether a request can address `key`: Azure rewrites '.' and '..' segments and backslashes."""
    try:
        check_key(key)
    except InvalidInput:
        return False
    return (
        len(key) <= _MAX_KEY_CHARACTERS and "\\" not in key and not {".", ".."}.intersection(key.split("/"))
    )


def epoch_seconds(date: str) -> float:
    """Return the epoch seconds of an HTTP date. Raises ValueError."""
    found = _DATE.fullmatch(date)
    if not found:
        raise ValueError("a time is no HTTP date")
    return next(row_times(_day_seconds, *([part] for part in found.groups())))


@lru_cache(maxsize=4096)
def _day_seconds(beginning: str) -> float:
    return parsedate_to_datetime(f"{beginning} 00:00:00 GMT").timestamp()


def _split_pieces(body: bytes, start: int, end: int) -> Iterator[bytes]:
    """Yield the stretch of the page in pieces that end with a blob."""
    while (found := body.find(_END.encode(), start + _PIECE_BYTES, end)) >= 0:
        cut = found + len(_END)
        yield body[start:cut]
        start = cut
    yield body[start:end]


def _read_piece(piece: str, found: _EntryList) -> None:
    if "!" in piece and "<!" in piece:
        raise Odd
    split = _BLOB.split(piece)
    between, names, days, minutes, seconds, etags, sizes, others = (
        split[column::_WIDTH] for column in range(_WIDTH)
    )
    for text in filter(None, between):
        if _after_folders(text, found.folders) != len(text):
            raise Odd
    keys = [_unescape(name) for name in names] if "&" in piece else names
    _require_plain(keys)
    try:
        times = list(row_times(_day_seconds, days, minutes, seconds))
    except ValueError:
        raise Odd from None
    archived = [_ARCHIVED in other for other in others] if _ARCHIVED in piece else repeat(False)
    objects = map(_make, zip(keys, etags, map(int, sizes), times, times, archived))  # noqa: B905  # one may be endless
    files = [_DIRECTORY not in other for other in others] if _DIRECTORY in piece else repeat(True)
    found.add(list(compress(objects, files)))


def _after_folders(text: str, folders: list[str]) -> int:
    """Return where the leading folders of `text` end; add them to `folders`."""
    end = 0
    while folder := _FOLDER.match(text, end):
        folders.append(_unescape(folder[1]))
        end = folder.end()
    return end


def _unescape(text: str) -> str:
    return _ESCAPED.sub(_to_character, text) if "&" in text else text


def _to_character(escaped: re.Match[str]) -> str:
    if escaped[0] == "&":  # of something else
        raise Odd
    return _ENTITIES[escaped[0]]


def _require_plain(texts: Sequence[str]) -> None:
    """Raise Odd for characters that XML lacks, or that a parser would change."""
    joined = "".join(texts)
    if not joined.isprintable() and _NO_CHARACTER.search(joined):
        raise Odd


def _take_entry(element: Element, found: _EntryList) -> None:
    name = element.find("Name")
    is_blob = element.tag == "Blob" and element.find("Properties") is not None
    if name is None or not (is_blob or element.tag == "BlobPrefix"):
        raise ValueError("not the shape of a blob")
    try:
        key = _decode_name(name)
    except UnicodeDecodeError as error:
        printable = error.object.decode(errors="backslashreplace")
        found.irregular.append(Irregularity(printable, "undecodable_name", "its name is no UTF-8; rename it"))
        return
    if element.tag == "BlobPrefix":
        found.folders.append(key)
    elif not _is_no_object(element):
        described = _to_object(key, element)
        if isinstance(described, Irregularity):
            found.irregular.append(described)
        else:
            found.add([described])


def _decode_name(name: Element) -> str:
    text = name.text or ""
    if len(name):
        raise ValueError("a name is no text")
    return unquote_to_bytes(text).decode() if name.get("Encoded") == "true" else text


def _is_no_object(blob: Element) -> bool:
    """Return whether it is a directory, a snapshot or a deleted blob."""
    directory = blob.findtext("Properties/ResourceType") == "directory"
    return directory or blob.findtext("Deleted") == "true" or blob.find("Snapshot") is not None


def _to_object(key: str, blob: Element) -> StorageObject | Irregularity:
    fields = [blob.findtext(f"Properties/{name}") for name in ("Etag", "Content-Length", "Last-Modified")]
    etag, size, date = (field or "" for field in fields)
    lacking = [] if size.isascii() and size.isdecimal() and len(size) <= MOST_SIZE_DIGITS else ["size"]
    try:
        at = epoch_seconds(date)
    except ValueError:
        lacking.append("time of change")
    if lacking:
        missing = " or ".join(lacking)
        return Irregularity(key, Reason.INCOMPLETE_ENTRY, f"the store's listing does not give its {missing}")
    if len(etag) > MOST_ETAG_CHARACTERS:
        return report_long_etag(key)
    archived = blob.findtext("Properties/AccessTier") == "Archive"
    version = bare_etag(etag) or version_of("", at, int(size))
    return StorageObject(key, version, int(size), at, at, archived)


def _all_usable(keys: Sequence[str]) -> bool:
    """Return whether all keys of a page are usable; one check for all costs a tenth."""
    joined = f"/{'/'.join(keys)}/"
    if "" in keys or len(max(keys, key=len, default="")) > _MAX_KEY_CHARACTERS:
        return False
    return not any(part in joined for part in ("/./", "/../", "\\", "\0"))


def _unusable_key(key: str) -> Irregularity:
    if len(key) > _MAX_KEY_CHARACTERS:
        return report_long_key(key.replace("\0", "\\x00"), f"{_MAX_KEY_CHARACTERS:,} characters")
    detail = "Azure makes another name of its key: '.' and '..' segments and backslashes; rename it"
    return Irregularity(key.replace("\0", "\\x00"), "unusable_key", detail)
