"""Object versions; without ETags they are the time of change and the size.

The time has the precision of the listing, at most milliseconds; a HEAD gives whole seconds only.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

_TIMED: Final = re.compile(r"@(-?\d+(?:\.\d{3})?):(\d+)", re.ASCII)


class Version(NamedTuple):
    """A split version: an ETag, or the time of change in epoch seconds; and a size."""

    etag: str
    modified: float | None
    size_bytes: int


def version_of(etag: str, modified_at: float, size_bytes: int) -> str:
    """Return the version of an object; `etag` is bare, empty if the store gives none."""
    if etag:
        return f"{etag}:{size_bytes}"
    whole = int(modified_at // 1)
    milliseconds = int((modified_at - whole) * 1_000 + 0.5)
    return f"@{whole}{f'.{milliseconds:03}' if 0 < milliseconds < 1_000 else ''}:{size_bytes}"


def is_timed(version: str) -> bool:
    """Return whether the version is a time, for lack of an ETag."""
    return version.startswith("@")


def split_version(version: str) -> Version:
    """Return the parts of a `version_of` text; of any other text a version that no object has."""
    if timed := _TIMED.fullmatch(version):
        return Version("", float(timed[1]), int(timed[2]))
    etag, _, size = version.rpartition(":")
    return Version(etag, None, int(size) if size.isascii() and size.isdecimal() else -1)


def bare_etag(etag: object) -> str:
    """Return an ETag without quotes and without the weak mark that proxies add; empty for none."""
    text = etag.strip() if isinstance(etag, str) else ""
    return text.removeprefix("W/").strip('"').strip()


def epoch_seconds(moment: str) -> float:
    """Return the epoch seconds of an ISO 8601 or HTTP time; UTC if it names no zone.

    Raises ValueError.
    """
    try:
        found = datetime.fromisoformat(moment.strip())
    except ValueError:
        found = parsedate_to_datetime(moment)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
