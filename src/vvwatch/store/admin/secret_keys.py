"""Find the keys that seal secrets: in a systemd credential, the environment, or a file in the state directory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

from vvwatch import private_files
from vvwatch.errors import InvalidInput
from vvwatch.store.db.encryption import FORM, SecretBox

KEY_FILE: Final = "secret.key"
"""The key file in the state directory, created at the first start if no key is given."""

_CREDENTIAL: Final = "vvwatch-key"
_VARIABLE: Final = "VVWATCH_SECRET_KEY"
_MOST_BYTES: Final = 1 << 16

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class KeySource:
    """The place of the keys: a file, or the environment itself (`path` is None).

    `is_own`: vvwatch created the file in its state directory and may write it.
    """

    path: Path | None
    text: bytes = field(repr=False)
    is_own: bool = False

    def box(self) -> SecretBox:
        """Return the box with these keys; it reads the file again when it meets an unknown key.

        Raises InvalidInput, with the place, for malformed keys.
        """
        try:
            return SecretBox(self.text, _Reader(self.path) if self.path else lambda: None)
        except InvalidInput as error:
            raise InvalidInput(f"{error.message}: {self.path or _VARIABLE}", error.hint) from error

    def add_newest(self) -> KeySource:
        """Write a new key before all others. Raises OSError."""
        return self._written(Fernet.generate_key() + b"\n" + self.text)

    def keep_newest(self) -> KeySource:
        """Write the newest key alone, and keep comments. Raises OSError."""
        lines = self.text.splitlines()
        keys = [line for line in lines if (text := line.strip()) and not text.startswith(b"#")]
        kept = [line for line in lines if line not in keys or line == keys[0]]
        return self._written(b"\n".join(kept) + b"\n")

    def _written(self, text: bytes) -> KeySource:
        assert self.path is not None  # noqa: S101  # it is our own file
        private_files.replace_private(self.path, text)
        return KeySource(self.path, text, self.is_own)


def find_keys(state_dir: Path, environ: Mapping[str, str], *, make: bool = True) -> KeySource:
    """Return the keys of this installation; with `make`, create the file, private to its owner, if there is no key.

    Raises InvalidInput if a key is given twice or cannot be read.
    """
    path = state_dir / KEY_FILE
    given = _credential(environ) or _from_environment(environ)
    if given is not None:
        return given
    if make and not path.exists():
        _create(path)
    return KeySource(path, _read(path), is_own=True)


class _Reader:
    """Reads a file if it has changed since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)

    def __call__(self) -> bytes | None:
        stamp = _stamp(self._path)
        if stamp is None or stamp == self._stamp:
            return None
        text = _read(self._path)
        self._stamp = stamp
        return text


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _credential(environ: Mapping[str, str]) -> KeySource | None:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    path = Path(directory, _CREDENTIAL)
    return KeySource(path, _read(path)) if path.exists() else None


def _from_environment(environ: Mapping[str, str]) -> KeySource | None:
    text, path = environ.get(_VARIABLE), environ.get(f"{_VARIABLE}_FILE")
    if text and path:
        raise InvalidInput(f"both {_VARIABLE} and {_VARIABLE}_FILE are set", "set only one of them")
    if path:
        return KeySource(Path(path), _read(Path(path)))
    return KeySource(None, text.encode()) if text else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise InvalidInput(f"cannot read the key file {path}: {error.strerror}", FORM) from error


def _create(path: Path) -> None:
    """Create the file completely or not at all; keep one that another process created meanwhile."""
    private_files.make_private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(private_files.create_private(draft), "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    private_files.sync_folder(path.parent)
