"""How stores that speak S3's protocol differ from it, as data: what was tried, or what their makers document.

`docs/compatibility.md` says the same for people. The values are those of the version named, seen on a fresh store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a store does otherwise than S3. Every default is what S3 itself does.

    `listed_etags` and `told_etags` (of HEAD and GET): `quoted`, `entities` (quotes escaped in XML), `bare`, `weak`,
    `none` (no element or header), `empty`, `empty_quoted`, `other` (than the other place has). `conditions`: `kept`,
    `ignored`, `never_met`. `ranges`: `kept`, `ends_refused` (400 for one that ends behind the object), `ends_416`,
    `ignored`, `as_200`. `heads`: the status with which each HEAD is refused. `lengths`: `kept`, `none` (neither HEAD
    nor GET tells one). `sizes` (in listings): `kept`, `zero`, `doubled`, `none`. `times` (in listings): `millis`,
    `seconds`, `offset`, `http`, `rounded`, `none`. `order`: `sorted`, `reversed`, `repeated`.
    """

    listed_etags: str = "quoted"
    told_etags: str = "quoted"
    etags_are_md5: bool = True
    conditions: str = "kept"
    ranges: str = "kept"
    heads: int = 200
    lengths: str = "kept"
    sizes: str = "kept"
    times: str = "millis"
    order: str = "sorted"
    encodes_keys: bool = True
    spaces_as_plus: bool = False
    pretty: bool = False
    entries: str = ""
    """What stands in each listing besides its objects."""


STORES: Final[dict[str, Quirks]] = {
    "aws": Quirks(),
    "ministack": Quirks(conditions="kept"),
    "seaweedfs": Quirks(times="seconds"),
    "juicefs": Quirks(listed_etags="empty", told_etags="none", spaces_as_plus=True),
    "juicefs_keep_etag": Quirks(listed_etags="entities", spaces_as_plus=True),
    "rclone": Quirks(
        listed_etags="bare", conditions="ignored", ranges="as_200", spaces_as_plus=True, pretty=True
    ),
    "rclone_crypt": Quirks(
        listed_etags="empty",
        told_etags="none",
        conditions="ignored",
        ranges="as_200",
        spaces_as_plus=True,
        pretty=True,
    ),
    "nanio": Quirks(listed_etags="entities", conditions="ignored", ranges="ends_refused", times="seconds"),
    "hadro": Quirks(etags_are_md5=False, conditions="ignored"),
}
"""Stores that were tried."""

ODD: Final[dict[str, Quirks]] = {
    "no_etag_element": Quirks(listed_etags="none", told_etags="none"),
    "empty_quotes": Quirks(listed_etags="empty_quoted", told_etags="empty_quoted"),
    "etags_only_when_read": Quirks(listed_etags="empty"),
    "etags_only_when_listed": Quirks(told_etags="none"),
    "weak_etags": Quirks(listed_etags="quoted", told_etags="weak", conditions="never_met"),
    "other_etags_when_listed": Quirks(listed_etags="other", conditions="kept"),
    "rounded_times": Quirks(listed_etags="none", told_etags="none", times="rounded"),
    "times_with_an_offset": Quirks(times="offset"),
    "times_as_in_http": Quirks(times="http", listed_etags="none", told_etags="none"),
    "no_ranges": Quirks(ranges="ignored"),
    "ends_behind_are_416": Quirks(ranges="ends_416"),
    "no_lengths": Quirks(lengths="none"),
    "heads_denied": Quirks(heads=403),
    "heads_not_allowed": Quirks(heads=405),
    "heads_not_implemented": Quirks(heads=501),
    "false_sizes": Quirks(sizes="doubled"),
    "raw_keys": Quirks(encodes_keys=False),
    "reversed_pages": Quirks(order="reversed"),
    "repeated_entries": Quirks(order="repeated"),
}
"""Kinds of trouble that no store that was tried has, or has in this purity."""
