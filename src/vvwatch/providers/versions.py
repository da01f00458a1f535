"""What tells one version of an object from another where ETags do not: when it was changed, and its size.

The time has the precision of the listing, at most milliseconds: a HEAD tells whole seconds only.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

_TIMED: Final = re.compile(r"@(-?\d+(?:\.\d{3})?):(\d+)", re.ASCII)


class Version(NamedTuple):
    """A version taken apart: an ETag, or else when the object was changed in epoch seconds; and a size."""

    etag: str
    modified: float | None
    size_bytes: int


def version_of(etag: str, modified_at: float, size_bytes: int) -> str:
    """The version of an object; `etag` is bare, and empty where the store tells none."""
    if etag:
        return f"{etag}:{size_bytes}"
    whole = int(modified_at // 1)
    milliseconds = int((modified_at - whole) * 1_000 + 0.5)
    return f"@{whole}{f'.{milliseconds:03}' if 0 < milliseconds < 1_000 else ''}:{size_bytes}"


def is_timed(version: str) -> bool:
    """Whether the version is a time, for want of an ETag."""
    return version.startswith("@")


def split_version(version: str) -> Version:
    """What `version_of` put together; of anything else something that no object has."""
    if timed := _TIMED.fullmatch(version):
        return Version("", float(timed[1]), int(timed[2]))
    etag, _, size = version.rpartition(":")
    return Version(etag, None, int(size) if size.isascii() and size.isdecimal() else -1)


def bare_etag(etag: object) -> str:
    """An ETag without its quotes, and without the sign that it is a weak one, which proxies add; empty for none."""
    text = etag.strip() if isinstance(etag, str) else ""
    return text.removeprefix("W/").strip('"').strip()


def epoch_seconds(moment: str) -> float:
    """Epoch seconds of a time as ISO 8601 or HTTP writes it, which is UTC where it names no zone.

    Raises ValueError.
    """
    try:
        found = datetime.fromisoformat(moment.strip())
    except ValueError:
        found = parsedate_to_datetime(moment)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
