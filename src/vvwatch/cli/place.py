"""Which daemon a command means: the state directory, found as the daemon finds it, and what lies in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from vvwatch.cli.failures import REFUSED, UNREACHABLE, Failure


def state_dir(flag: str | None, config: str | None, environ: Mapping[str, str]) -> Path:
    """The state directory: flag > environment > configuration file > default.

    The file may have problems elsewhere: a command must work while somebody edits it.
    """
    if given := flag or environ.get("VVWATCH_STATE_DIR"):
        return Path(given)
    # Here, because what defines the options takes a quarter of a second to import.
    from vvwatch.config import default_path, default_state_dir  # noqa: PLC0415

    path = Path(config) if config else default_path(environ)
    written = _written(path, environ) if path else None
    return Path(written) if written else default_state_dir(environ)


def _written(path: Path, environ: Mapping[str, str]) -> str | None:
    try:
        value = tomllib.loads(path.read_text("utf-8-sig")).get("state_dir")
    except (OSError, ValueError):
        return None
    from vvwatch.config.substitution import substitute  # noqa: PLC0415  # as above

    filled = substitute(value, environ, lambda _: None)
    return filled if isinstance(filled, str) else None


def address(folder: Path) -> str:
    """The address of the daemon whose state is in `folder`. Raises Failure when none has written one."""
    file = folder / "address"
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError:
        hint = "`vvwatch run` starts one; --state-dir or --url points to another"
        raise Failure(
            "no daemon has left its address here", hint, where=str(file), exit_code=UNREACHABLE
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def admin_key(folder: Path, environ: Mapping[str, str]) -> str | None:
    """The key that the daemon was given in this environment, else the one that it made; None when there is no file."""
    if given := environ.get("VVWATCH_ADMIN_KEY"):
        return given.strip()
    file = Path(environ.get("VVWATCH_ADMIN_KEY_FILE") or folder / "admin.key")
    try:
        return file.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> Failure:
    reason = error.strerror if isinstance(error, OSError) else "is not plain text"
    hint = "run this as the daemon's user, or set VVWATCH_URL and VVWATCH_API_KEY"
    return Failure(f"cannot read it: {reason}", hint, where=str(file), exit_code=REFUSED)
