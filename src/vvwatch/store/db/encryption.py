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
        """Return the text that this key sealed; None if another key did."""
        try:
            return self.fernet.decrypt(sealed).decode()
        except InvalidToken:
            return None

    def sealed(self, text: str) -> bytes:
        return self.fernet.encrypt(text.encode())


class SecretBox:
    """Seals and opens texts with a ring of keys. Neither its repr nor its errors show a key or a text.

    All keys open. The database says which key seals (`store.db.sealing`); until that is known, the newest does.
    """

    __slots__ = ("_former", "_held", "_reread", "_sealing", "_store")

    def __init__(
        self,
        keys: bytes,
        reread: Callable[[], bytes | None] = lambda: None,
        store: Callable[[], object] = lambda: None,
    ) -> None:
        """`keys` holds one key per line, the newest first; lines that begin with # are comments.

        `reread` returns the keys if they changed since the last call, else None; `store` stores new keys.
        Raises InvalidInput for a line that is not 32 bytes in URL-safe base64, and if there is no key.
        """
        self._held = _parse(keys)
        self._former: tuple[_Key, ...] = ()
        self._sealing = self._held[0]
        self._reread = reread
        self._store = store

    def __repr__(self) -> str:
        return "SecretBox()"

    def seal(self, text: str, like: bytes | None = None) -> bytes:
        """Return `text` encrypted and authenticated, different every time. Uses the key that sealed `like`, if given.

        Raises StoreError if no key of the ring sealed `like`.
        """
        key = self._sealing if like is None else self._of(like)
        return key.sealed(text)

    def seal_newest(self, text: str) -> bytes:
        """Seal with the newest key."""
        return self._held[0].sealed(text)

    def open(self, sealed: bytes) -> str:
        """Return the sealed text. Raises StoreError if another key sealed it or it was altered."""
        return self._found(sealed)[1]

    def follow(self, mark: bytes) -> None:
        """Seal and sign with the key that sealed `mark` from now on. Raises StoreError if the ring lacks it."""
        self._sealing = self._of(mark)

    def is_newest(self, sealed: bytes) -> bool:
        """Return whether the newest key sealed this."""
        return self._held[0].opened(sealed) is not None

    def renewed(self, sealed: bytes) -> bytes | None:
        """Return the text resealed with the newest key; None if that key sealed it. Raises StoreError like `open`."""
        if self.is_newest(sealed):
            return None
        return self.seal_newest(self.open(sealed))

    def refresh(self) -> bool:
        """Return whether the keys changed; old ones stay until `settle`.

        Raises InvalidInput if the keys cannot be read.
        """
        text = self._reread()
        if text is None:
            return False
        held = _parse(text)
        self._former = tuple(key for key in self._ring() if key not in held)
        self._held = held
        return True

    def settle(self, mark: bytes) -> None:
        """Forget the keys that the last refresh no longer found, except the one that sealed `mark`."""
        if any(key.opened(mark) is not None for key in self._held):
            self._former = ()

    def keep(self) -> None:
        """Store a new key, before what it seals is committed; another process may have been faster: take its key.

        Raises InvalidInput if the keys cannot be written or read.
        """
        self._store()
        if self.refresh():
            self._former, self._sealing = (), self._held[0]

    def secret(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose, the same on every node with the sealing key, which they do not reveal."""
        return _derive(self._sealing, purpose)

    def secrets(self, purpose: str) -> tuple[bytes, ...]:
        """Return the `secret` of every key."""
        return tuple(_derive(key, purpose) for key in self._ring())

    def _ring(self) -> Iterator[_Key]:
        yield from self._held
        yield from self._former

    def _of(self, mark: bytes) -> _Key:
        return self._sealing if self._sealing.opened(mark) is not None else self._found(mark)[0]

    def _found(self, sealed: bytes) -> tuple[_Key, str]:
        """Return the key that sealed this, and the text. Raises StoreError."""
        for _ in range(2):
            for key in self._ring():
                if (text := key.opened(sealed)) is not None:
                    return key, text
            with suppress(InvalidInput):  # unreadable keys change nothing: the ones in use decide
                self.refresh()
        raise StoreError(
            "a stored secret cannot be opened with the current key",
            "restore the previous key (VVWATCH_SECRET_KEY or secret.key in the state directory)",
        )


def _derive(key: _Key, purpose: str) -> bytes:
    return hmac.new(key.text, f"vvwatch {purpose}".encode(), hashlib.sha256).digest()


def _parse(text: bytes) -> tuple[_Key, ...]:
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(
        _key(line, number) for number, line in enumerate(lines, 1) if line and not line.startswith(b"#")
    )
    if not found:
        raise InvalidInput("the secret key is malformed: it is empty", FORM)
    return found


def _key(line: bytes, number: int) -> _Key:
    try:
        return _Key(line, Fernet(line))
    except ValueError as error:
        raise InvalidInput(f"the secret key is malformed (line {number})", FORM) from error
