"""Names of resources: random ones that sort by time, and declared ones that come from the configuration."""

from __future__ import annotations

from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS: Final = 80
_DIGITS: Final = 26
_LATEST_MS: Final = (1 << 48) - 1


def new_id(prefix: str, now: float, randomness: bytes) -> str:
    """`<prefix>_` and 26 digits of a ULID; of two names with one prefix, the later made sorts later.

    `now` is epoch seconds (its milliseconds count), `randomness` exactly 10 bytes.
    """
    if len(randomness) * 8 != _RANDOM_BITS:
        raise ValueError("an identity needs 10 random bytes")
    milliseconds = min(max(int(now * 1000), 0), _LATEST_MS)
    number = (milliseconds << _RANDOM_BITS) | int.from_bytes(randomness, "big")
    return f"{prefix}_" + "".join(_ALPHABET[number >> 5 * digit & 31] for digit in reversed(range(_DIGITS)))


def segment_id(run_item_id: int, ordinal: int) -> str:
    """The public name of one segment of one processed media item."""
    return f"seg_{run_item_id}_{ordinal}"
