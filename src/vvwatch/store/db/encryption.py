"""Secrets at rest: connector credentials and webhook secrets are stored sealed, never in clear."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from vvwatch.errors import InvalidInput, StoreError

FORM: Final = (
    "a key is 32 random bytes in URL-safe base64, e.g. "
    "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'; "
    "of several, write one on a line, the newest first"
)


@dataclass(frozen=True, slots=True)
class _Key:
    text: bytes = field(repr=False)
    fernet: Fernet = field(repr=False, compare=False)

    def opened(self, sealed: bytes) -> str | None:
        """What this key has sealed; None when it was another."""
        try:
            return self.fernet.decrypt(sealed).decode()
        except InvalidToken:
            return None

    def sealed(self, text: str) -> bytes:
        return self.fernet.encrypt(text.encode())


class SecretBox:
    """Seals and opens texts with a ring of keys. Neither its repr nor its errors show a key or a text.

    All keys open. Which of them seals is what the database says (`store.db.sealing`), until that is known the newest.
    """

    __slots__ = ("_former", "_held", "_reread", "_sealing")

    def __init__(self, keys: bytes, reread: Callable[[], bytes | None] = lambda: None) -> None:
        """`keys` are one on a line, the newest first; lines that begin with # are comments.

        `reread` returns them anew if they have changed since the last look, else None. Raises InvalidInput for a line
        that is not 32 bytes in URL-safe base64, and when there is no key.
        """
        self._held = _parsed(keys)
        self._former: tuple[_Key, ...] = ()
        self._sealing = self._held[0]
        self._reread = reread

    def __repr__(self) -> str:
        return "SecretBox()"

    def seal(self, text: str, like: bytes | None = None) -> bytes:
        """`text`, encrypted and authenticated; different every time. By the key that sealed `like`, if that is given.

        Raises StoreError when no key of the ring has sealed `like`.
        """
        key = self._sealing if like is None else self._of(like)
        return key.sealed(text)

    def seal_newest(self, text: str) -> bytes:
        """As `seal`, by the newest key."""
        return self._held[0].sealed(text)

    def open(self, sealed: bytes) -> str:
        """The text that was sealed. Raises StoreError when another key sealed it or it was altered."""
        return self._found(sealed)[1]

    def follow(self, mark: bytes) -> None:
        """Let the key that sealed `mark` be the one that seals and signs. Raises StoreError when there is none."""
        self._sealing = self._of(mark)

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the newest key has sealed this."""
        return self._held[0].opened(sealed) is not None

    def renewed(self, sealed: bytes) -> bytes | None:
        """What is in `sealed`, sealed by the newest key; None when it is. Raises StoreError as `open`."""
        if self.is_newest(sealed):
            return None
        return self.seal_newest(self.open(sealed))

    def refresh(self) -> bool:
        """Look whether there are other keys now; those that were there stay until `settle`. Returns if there are.

        Raises InvalidInput when they cannot be read.
        """
        text = self._reread()
        if text is None:
            return False
        held = _parsed(text)
        self._former = tuple(key for key in self._ring() if key not in held)
        self._held = held
        return True

    def settle(self, mark: bytes) -> None:
        """Forget the keys that the last refresh no longer found, unless one of those has sealed `mark`."""
        if any(key.opened(mark) is not None for key in self._held):
            self._former = ()

    def secret(self, purpose: str) -> bytes:
        """32 bytes for one purpose, the same wherever the key that seals is; they tell nothing of it."""
        return _derived(self._sealing, purpose)

    def secrets(self, purpose: str) -> tuple[bytes, ...]:
        """As `secret`, of all keys."""
        return tuple(_derived(key, purpose) for key in self._ring())

    def _ring(self) -> Iterator[_Key]:
        yield from self._held
        yield from self._former

    def _of(self, mark: bytes) -> _Key:
        return self._sealing if self._sealing.opened(mark) is not None else self._found(mark)[0]

    def _found(self, sealed: bytes) -> tuple[_Key, str]:
        """The key that sealed this, and the text. Raises StoreError."""
        for _ in range(2):
            for key in self._ring():
                if (text := key.opened(sealed)) is not None:
                    return key, text
            with suppress(
                InvalidInput
            ):  # of what cannot be read now, the keys that are here have the last word
                self.refresh()
        raise StoreError(
            "a stored secret cannot be opened with the present key",
            "give vvwatch the key that it had before (VVWATCH_SECRET_KEY or secret.key in the state directory)",
        )


def _derived(key: _Key, purpose: str) -> bytes:
    return hmac.new(key.text, f"vvwatch {purpose}".encode(), hashlib.sha256).digest()


def _parsed(text: bytes) -> tuple[_Key, ...]:
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(
        _key(line, number) for number, line in enumerate(lines, 1) if line and not line.startswith(b"#")
    )
    if not found:
        raise InvalidInput("the key that seals secrets has the wrong form: there is no key", FORM)
    return found


def _key(line: bytes, number: int) -> _Key:
    try:
        return _Key(line, Fernet(line))
    except ValueError as error:
        raise InvalidInput(f"the key that seals secrets has the wrong form (line {number})", FORM) from error
