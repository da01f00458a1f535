"""Ogg: pages, each with its length; the last of each stream is marked."""

from __future__ import annotations

from typing import Final, NamedTuple

from vvwatch.processors.media.structure.source import ByteSource, Structure, judge_end, report_cut_within

_MARK: Final = b"OggS"
_HEAD_BYTES: Final = 27
_LONGEST_PAGE: Final = 27 + 255 + 255 * 255
_MOST_TAIL_BYTES: Final = 64 << 20
_LAST: Final = 4


class Page(NamedTuple):
    """One page: its flags, and where it ends."""

    flags: int
    end: int


def is_ogg(head: bytes) -> bool:
    """Return whether a file with these first bytes is Ogg."""
    return head[:4] == _MARK


def examine_ogg(source: ByteSource) -> Structure:
    """Check that the last page is whole and marked as the last of a stream.

    Parallel streams end one after the other: the last page of the file belongs to the longest. Chained streams each
    have a marked end.
    """
    start = source.last(_MARK, _MOST_TAIL_BYTES)
    page = _read_page(source, start)
    if page is None and start > 0 and source.size - start >= _LONGEST_PAGE:
        page = _find_earlier_page(source, start)  # the mark was a coincidence
    if (
        page is None
        or page.end > source.size
        or (0 < source.size - page.end < 4 and _begins_a_page(source, page))
    ):
        return report_cut_within("an Ogg page")
    if not page.flags & _LAST:
        return Structure(damage="truncated: the last Ogg page is not the end of a stream")
    return judge_end("the Ogg stream", page.end, source, hide=True)


def _begins_a_page(source: ByteSource, page: Page) -> bool:
    return _MARK.startswith(source.at(page.end, 4))


def _find_earlier_page(source: ByteSource, before: int) -> Page | None:
    start = source.last(_MARK, _LONGEST_PAGE, before)
    return _read_page(source, start) if start >= 0 else None


def _read_page(source: ByteSource, start: int) -> Page | None:
    """Return the page at `start`, None if its head is not whole."""
    head = source.at(start, _HEAD_BYTES + 255)
    if len(head) < _HEAD_BYTES or len(head) < _HEAD_BYTES + head[26] or head[4]:
        return None
    lengths = head[_HEAD_BYTES : _HEAD_BYTES + head[26]]
    end = start + _HEAD_BYTES + len(lengths) + sum(lengths)
    return Page(head[5], end)
