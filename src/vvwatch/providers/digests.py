"""Compare an object's bytes with the digest that its store states, and learn how far to trust that digest.

A stated digest may be wrong for good: stale user metadata, or a hash of something else. Two reads of one version with
equal bytes outweigh it.
"""

from __future__ import annotations

import hashlib

from vvwatch.core.store_notes import Oddity, StoreNotes
from vvwatch.errors import StorageUnavailable

WRONG_STATEMENT = "the store states another digest than that of its bytes, which came equal twice"
DISBELIEVED = "the store states another digest than that of its bytes, as it does of others"
_MOST_DOUBTED = 10_000


class StatedDigests:
    """The reliability of one store's digests. Ask it about each object that was read whole."""

    def __init__(self, notes: StoreNotes) -> None:
        self._notes = notes
        self._right = 0
        self._wrong = 0
        self._doubted: dict[tuple[str, str], bytes] = {}

    def judge(self, key: str, version: str, stated: bytes | None, read: bytes) -> None:
        """Return if the bytes with the digest `read` are acceptable, with a remark where the stated digest is wrong.

        Raises StorageUnavailable when only another read can tell which of them is wrong.
        """
        if stated is None:
            return
        doubted = self._doubted.get((key, version))
        if stated == read:
            self._right += 1
        elif doubted == read:
            self._wrong += 1
            self._notes.note(Oddity.FALSE_DIGESTS)
            self._notes.remark(key, version, WRONG_STATEMENT)
        elif self._wrong and not self._right:
            self._notes.remark(key, version, DISBELIEVED)
        else:
            self._doubt(key, version, read)
            raise StorageUnavailable(
                f"{key!r} arrived with other bytes than the store states{' and than before' if doubted else ''}",
                "it is read again automatically; when equal bytes come twice, they are taken",
            )

    def _doubt(self, key: str, version: str, read: bytes) -> None:
        """Keep the digest for comparison with another read; only the latest of very many."""
        self._doubted.pop((key, version), None)
        self._doubted[key, version] = read
        if len(self._doubted) > _MOST_DOUBTED:
            del self._doubted[next(iter(self._doubted))]


def new_digest() -> hashlib._Hash:
    """Return an empty MD5, which stores state of whole objects."""
    return hashlib.md5(usedforsecurity=False)
