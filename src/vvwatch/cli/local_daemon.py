"""Finds the daemon that a command means: its state directory, and the address and key in it."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from vvwatch.cli.failures import REFUSED, UNREACHABLE, Failure
from vvwatch.options.default_files import default_path, default_state_dir
from vvwatch.options.substitution import substitute
from vvwatch.private_files import write_private

_SERVICE_STATE: Final = Path("/var/lib/vvwatch")
_SERVICE_KEY: Final = Path("/etc/vvwatch/credentials/admin-key")
"""Where the systemd unit keeps its state, and where its comments say to put the admin key."""
_DEV_STATES: Final = "dev-*"
WATCHED_FILE: Final = "folder"
"""In the state directory of a `vvwatch dev`: the folder that it watches."""
_CONNECT_SECONDS: Final = 0.5


def find_state_dir(flag: str | None, config: str | None, environ: Mapping[str, str]) -> Path:
    """Return the state directory: flag > environment > configuration file > a daemon on this machine > default.

    Problems elsewhere in the file do not matter: a command must work while somebody edits it. Raises Failure if
    several daemons run and none is chosen.
    """
    if given := flag or environ.get("VVWATCH_STATE_DIR"):
        return Path(given)
    path = Path(config) if config else default_path(environ)
    written = _configured_state_dir(path, environ) if path else None
    return Path(written) if written else _find_running(default_state_dir(environ), named=path is not None)


def _find_running(usual: Path, *, named: bool) -> Path:
    """Return where a daemon answers, most likely first; `vvwatch dev` only if no file is named."""
    for folder in (usual, _SERVICE_STATE):
        if is_answering(folder):
            return folder
    running = (
        []
        if named or _has_address(usual)
        else [each for each in _list_dev_states(usual) if is_answering(each)]
    )
    if len(running) > 1:
        running = [_choose_here(running)]
    if running:
        return running[0]
    return _SERVICE_STATE if not _has_address(usual) and _has_address(_SERVICE_STATE) else usual


def _choose_here(running: Sequence[Path]) -> Path:
    """Return the state of the `vvwatch dev` that watches this folder or one above it. Raises Failure for none."""
    here = Path.cwd()
    watched = {state: _read_watched(state) for state in running}
    above = [(folder, state) for state, folder in watched.items() if folder and here.is_relative_to(folder)]
    if above:
        return max(above, key=lambda each: len(each[0].parts))[1]
    named = (f"--state-dir {state}{f' ({folder})' if folder else ''}" for state, folder in watched.items())
    raise Failure(
        f"{len(running)} daemons of `vvwatch dev` run here",
        f"name one, or type this in the folder that it watches: {' or '.join(named)}",
    )


def note_watched(state: Path, folder: Path) -> None:
    """Write down which folder the `vvwatch dev` with this state directory watches."""
    write_private(state / WATCHED_FILE, os.fsencode(folder))


def _read_watched(state: Path) -> Path | None:
    try:
        return Path(os.fsdecode((state / WATCHED_FILE).read_bytes()))
    except OSError:
        return None


def _list_dev_states(usual: Path) -> Iterator[Path]:
    try:
        yield from sorted(usual.glob(_DEV_STATES))
    except OSError:
        return


def _has_address(folder: Path) -> bool:
    return os.path.lexists(folder / "address")


def is_answering(folder: Path) -> bool:
    """Return whether something listens at the address noted in `folder`."""
    try:
        parts = urlsplit((folder / "address").read_text("ascii").strip())
        with socket.create_connection((parts.hostname or "", parts.port or 0), _CONNECT_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def _configured_state_dir(path: Path, environ: Mapping[str, str]) -> str | None:
    try:
        value = tomllib.loads(path.read_text("utf-8-sig")).get("state_dir")
    except (OSError, ValueError):
        return None
    filled = substitute(value, environ, lambda _: None)
    return filled if isinstance(filled, str) else None


def read_address(folder: Path) -> str:
    """Return the address of the daemon with the state directory `folder`. Raises Failure if there is none."""
    file = folder / "address"
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError:
        hint = "`vvwatch run` starts one; --state-dir or --url points to another"
        raise Failure(
            "no daemon has left its address here", hint, where=str(file), exit_code=UNREACHABLE
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable_error(file, error) from error


def read_api_key(environ: Mapping[str, str]) -> str | None:
    """Return the user's key: $VVWATCH_API_KEY, or the content of $VVWATCH_API_KEY_FILE. Raises Failure."""
    if given := environ.get("VVWATCH_API_KEY"):
        return given.strip()
    if file := environ.get("VVWATCH_API_KEY_FILE"):
        return _read_key(Path(file))
    return None


def read_admin_key(folder: Path, environ: Mapping[str, str]) -> str | None:
    """Return the admin key of the daemon with the state directory `folder`; None if this machine has none.

    Reads this environment, the file given to the daemon, or the file that it created. Raises Failure, naming the
    file or variable, if that is not readable.
    """
    if given := environ.get("VVWATCH_ADMIN_KEY"):
        return given.strip()
    if file := environ.get("VVWATCH_ADMIN_KEY_FILE"):
        return _read_key(Path(file))
    source = _read_key_source(folder)
    if source is None:
        return _read_key(folder / "admin.key", missing_ok=True)
    if not source.startswith("/"):
        raise Failure(
            f"the daemon was given its admin key by ${source}",
            "set VVWATCH_API_KEY, or VVWATCH_API_KEY_FILE to a file that holds it",
            where=str(folder),
            exit_code=REFUSED,
        )
    files = [each for each in (Path(source), _SERVICE_KEY) if os.access(each, os.R_OK)]
    return _read_key(files[0] if files else Path(source))


def _read_key_source(folder: Path) -> str | None:
    """Return where the daemon got its key (see `vvwatch.daemon.files`); None if it created the key."""
    try:
        return (folder / "admin.key.source").read_text().strip()
    except (OSError, ValueError):
        return None


def _read_key(file: Path, *, missing_ok: bool = False) -> str | None:
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError as error:
        if missing_ok:
            return None
        raise _unreadable_error(file, error) from error
    except (OSError, ValueError) as error:
        raise _unreadable_error(file, error) from error


def _unreadable_error(file: Path, error: Exception) -> Failure:
    reason = error.strerror if isinstance(error, OSError) else "is not plain text"
    hint = "run this as root or the daemon's user, or set VVWATCH_URL and VVWATCH_API_KEY (or VVWATCH_API_KEY_FILE)"
    return Failure(f"cannot read it: {reason}", hint, where=str(file), exit_code=REFUSED)
