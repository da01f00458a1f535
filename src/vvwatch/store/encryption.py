"""Secrets at rest: connector credentials and webhook secrets are stored sealed, never in clear."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from vvwatch.errors import InvalidInput, StoreError

KEY_FILE: Final = "secret.key"
"""The key's file in the state directory, made at the first start when no key is given."""

_CREDENTIAL: Final = "vvwatch-key"
_VARIABLE: Final = "VVWATCH_SECRET_KEY"
_HINT: Final = (
    "a key is 32 random bytes in URL-safe base64, e.g. "
    "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
)


class SecretBox:
    """Seals and opens texts with one key. Neither its repr nor its errors show the key or a text."""

    __slots__ = ("_fernet", "_key")

    def __init__(self, key: bytes) -> None:
        """Raises InvalidInput when `key` is not 32 bytes in URL-safe base64."""
        try:
            self._fernet = Fernet(key)
        except ValueError as error:
            raise InvalidInput("the key that seals secrets has the wrong form", _HINT) from error
        self._key = key

    def __repr__(self) -> str:
        return "SecretBox()"

    def seal(self, text: str) -> bytes:
        """`text`, encrypted and authenticated; different every time."""
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """The text that was sealed. Raises StoreError when another key sealed it or it was altered."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise StoreError(
                "a stored secret cannot be opened with the present key",
                f"give vvwatch the key that it had before ({_VARIABLE} or {KEY_FILE} in the state directory)",
            ) from None

    def secret(self, purpose: str) -> bytes:
        """32 bytes for one purpose, the same wherever the key is; they tell nothing of it."""
        return hmac.new(self._key, f"vvwatch {purpose}".encode(), hashlib.sha256).digest()


def load_or_create_key(state_dir: Path, environ: Mapping[str, str]) -> bytes:
    """The key of this installation: from a systemd credential, the environment, or `secret.key` in `state_dir`.

    The file is made, readable by its owner alone, when there is no key anywhere. Raises InvalidInput when a key
    is given in two ways, cannot be read or has the wrong form.
    """
    key = _credential(environ) or _from_environment(environ) or _file(state_dir / KEY_FILE)
    SecretBox(key)
    return key


def _credential(environ: Mapping[str, str]) -> bytes | None:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    path = Path(directory, _CREDENTIAL)
    return _read(path) if path.exists() else None


def _from_environment(environ: Mapping[str, str]) -> bytes | None:
    text, path = environ.get(_VARIABLE), environ.get(f"{_VARIABLE}_FILE")
    if text and path:
        raise InvalidInput(f"both {_VARIABLE} and {_VARIABLE}_FILE are set", "set only one of them")
    if path:
        return _read(Path(path))
    return text.strip().encode() if text else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise InvalidInput(f"cannot read the key file {path}: {error.strerror}", _HINT) from error


def _file(path: Path) -> bytes:
    if not path.exists():
        _create(path)
    return _read(path)


def _create(path: Path) -> None:
    """Make the file whole or not at all; one that another process made meanwhile is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _publish(draft, path)
    finally:
        draft.unlink()


def _publish(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
