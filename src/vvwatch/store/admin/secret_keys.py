"""Where the keys that seal secrets are: a systemd credential, the environment, or a file in the state directory."""

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
"""The keys' file in the state directory, made at the first start when no key is given."""

_CREDENTIAL: Final = "vvwatch-key"
_VARIABLE: Final = "VVWATCH_SECRET_KEY"
_MOST_BYTES: Final = 1 << 16

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class KeySource:
    """What holds the keys: a file, or the environment itself (`path` None).

    `is_own` tells the file that vvwatch has made in its state directory: that one it may write.
    """

    path: Path | None
    text: bytes = field(repr=False)
    is_own: bool = False

    def box(self) -> SecretBox:
        """The box with these keys; it looks into the file again for a key that it does not know.

        Raises InvalidInput for keys of the wrong form, and says where they are.
        """
        try:
            return SecretBox(self.text, _Reader(self.path) if self.path else lambda: None)
        except InvalidInput as error:
            raise InvalidInput(f"{error.message}: {self.path or _VARIABLE}", error.hint) from error

    def add_newest(self) -> KeySource:
        """With another key before all others, on the disk. Raises OSError."""
        return self._written(Fernet.generate_key() + b"\n" + self.text)

    def keep_newest(self) -> KeySource:
        """With the newest key alone, on the disk; comments stay. Raises OSError."""
        lines = self.text.splitlines()
        keys = [line for line in lines if (text := line.strip()) and not text.startswith(b"#")]
        kept = [line for line in lines if line not in keys or line == keys[0]]
        return self._written(b"\n".join(kept) + b"\n")

    def _written(self, text: bytes) -> KeySource:
        assert self.path is not None  # noqa: S101  # it is our own file
        private_files.replace(self.path, text)
        return KeySource(self.path, text, self.is_own)


def find_keys(state_dir: Path, environ: Mapping[str, str], *, make: bool = True) -> KeySource:
    """The keys of this installation; to `make` the file, readable by its owner alone, when there is no key anywhere.

    Raises InvalidInput when a key is given in two ways or cannot be read.
    """
    path = state_dir / KEY_FILE
    given = _credential(environ) or _from_environment(environ)
    if given is not None:
        return given
    if make and not path.exists():
        _create(path)
    return KeySource(path, _read(path), is_own=True)


class _Reader:
    """Reads a file when it has changed since the last look."""

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
    """Make the file whole or not at all; one that another process made meanwhile is left as it is."""
    private_files.make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(private_files.create(draft), "wb") as file:
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
