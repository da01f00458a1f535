"""The first API key: given by the operator, or made at the first start and kept in the state directory."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from vvwatch.config import Config
from vvwatch.core.keys import format_key
from vvwatch.daemon.files import write_private

FILE_NAME = "admin.key"
SOURCE_NAME = "admin.key.source"
"""Says where the key came from when it was given: a path, or the name of a variable. Never the key itself."""


def load_admin_key(config: Config) -> str:
    """The admin key of this installation; one that was made is in `admin.key`, readable by its owner alone."""
    if config.admin_key is not None:
        return config.admin_key.reveal()
    path: Path = config.state_dir / FILE_NAME
    if not path.exists():
        write_private(path, format_key(secrets.token_bytes(24)))
    return path.read_text(encoding="utf-8").strip()


def note_key_source(config: Config, environ: Mapping[str, str]) -> None:
    """Let commands on this machine find the admin key, or name where it is: see `vvwatch.cli.local_daemon`."""
    path = config.state_dir / SOURCE_NAME
    if config.admin_key is None:
        path.unlink(missing_ok=True)
        return
    file = environ.get("VVWATCH_ADMIN_KEY_FILE")
    write_private(path, str(Path(file).absolute()) if file else "VVWATCH_ADMIN_KEY")
