"""Find the keys that seal secrets: in a systemd credential, the environment, or a file in the state directory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet

from vvwatch import private_files
from vvwatch.errors import InvalidInput
from vvwatch.store.db.encryption import FORM, SecretBox

KEY_FILE: Final = "secret.key"
"""The key file in the state directory, created by the first start that succeeds if no key is given."""

_CREDENTIAL: Final = "vvwatch-key"
_VARIABLE: Final = "VVWATCH_SECRET_KEY"
_MOST_BYTES: Final = 1 << 16

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class KeySource:
    """The place of the keys: a file, or the environment itself (`path` is None).

    `is_own`: vvwatch created the file in its state directory and may write it; `is_new`: it is not there yet.
    """

    path: Path | None
    text: bytes = field(repr=False)
    is_own: bool = False
    is_new: bool = False

    def box(self) -> SecretBox:
        """Return the box with these keys; it reads the file again when it meets an unknown key, and stores a new one.

        Raises InvalidInput, with the place, for malformed keys.
        """
        if self.path is None:
            read: Callable[[], bytes | None] = lambda: None  # noqa: E731
        else:
            read = _Reader(self.path, None if self.is_new else _stamp(self.path))
        try:
            return SecretBox(self.text, read, self.keep)
        except InvalidInput as error:
            raise InvalidInput(f"{error.message}: {self.path or _VARIABLE}", error.hint) from error

    def keep(self) -> KeySource:
        """Write a new key to its file, unless another process did meanwhile; return the keys that are there.

        Raises InvalidInput if the file cannot be written or read.
        """
        if self.path is None or not self.is_new:
            return self
        try:
            _create(self.path, self.text)
        except OSError as error:
            hint = "the state directory needs free space and write permission"
            raise InvalidInput(f"cannot write the key file {self.path}: {error.strerror}", hint) from error
        return KeySource(self.path, _read(self.path), self.is_own)

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
    """Return the keys of this installation; with `make`, a new one if there is none, which nothing has stored yet.

    Raises InvalidInput if a key is given twice or cannot be read.
    """
    path = state_dir / KEY_FILE
    given = _credential(environ) or _from_environment(environ)
    if given is not None:
        return given
    if make and not path.exists():
        return KeySource(path, Fernet.generate_key() + b"\n", is_own=True, is_new=True)
    return KeySource(path, _read(path), is_own=True)


class _Reader:
    """Reads a file if it has changed since the last call."""

    def __init__(self, path: Path, stamp: _Stamp | None) -> None:
        self._path = path
        self._stamp = stamp

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


def _create(path: Path, text: bytes) -> None:
    """Create the private file completely or not at all; keep one that another process created meanwhile."""
    private_files.make_private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(private_files.create_private(draft), "wb") as file:
            file.write(text)
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
