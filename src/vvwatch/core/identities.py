"""Resource ids: random ones that sort by time, and declared ones from the configuration."""

from __future__ import annotations

import re
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS: Final = 80
_DIGITS: Final = 26
_LATEST_MS: Final = (1 << 48) - 1


def new_id(prefix: str, now: float, randomness: bytes) -> str:
    """Return `<prefix>_` and a 26-digit ULID; with one prefix, later ids sort later.

    `now` is epoch seconds (milliseconds count), `randomness` exactly 10 bytes.
    """
    if len(randomness) * 8 != _RANDOM_BITS:
        raise ValueError("an identity needs 10 random bytes")
    milliseconds = min(max(int(now * 1000), 0), _LATEST_MS)
    number = (milliseconds << _RANDOM_BITS) | int.from_bytes(randomness, "big")
    return f"{prefix}_" + "".join(_ALPHABET[number >> 5 * digit & 31] for digit in reversed(range(_DIGITS)))


def id_time(identity: str) -> float:
    """Return when `new_id` made this id, in epoch seconds; 0 for an id of another form."""
    digits = identity.rpartition("_")[2]
    if len(digits) != _DIGITS or not set(digits) <= set(_ALPHABET):
        return 0.0
    number = sum(_ALPHABET.index(digit) << 5 * place for place, digit in enumerate(reversed(digits)))
    return (number >> _RANDOM_BITS) / 1000


TRANSCRIPT: Final = -2
"""The ordinal of the transcript of a media item, where it is looked for again."""

WHOLE: Final = -1
"""The ordinal of a whole media item that failed and so has no segments."""

_SEGMENT: Final = re.compile(r"seg_([0-9]{1,18})_([0-9]{1,9}|whole)", re.ASCII)


def segment_id(run_item_id: int, ordinal: int) -> str:
    """Return the public id of one segment of one processed media item, or of all of it (`WHOLE`)."""
    return f"seg_{run_item_id}_{'whole' if ordinal == WHOLE else ordinal}"


def segment_of(identity: str) -> tuple[int, int] | None:
    """Return the item and ordinal of a `segment_id`; None for any other text."""
    found = _SEGMENT.fullmatch(identity)
    if found is None:
        return None
    return int(found[1]), WHOLE if found[2] == "whole" else int(found[2])
