"""Small files of the state directory, the admin key among them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from vvwatch import private_files
from vvwatch.config import Config
from vvwatch.core.keys import format_key
from vvwatch.store.db.ownership import Ownership


def write_private(path: Path, text: str) -> None:
    """Create or replace `path` atomically, with mode 0600."""
    private_files.replace_private(path, f"{text}\n".encode())


@asynccontextmanager
async def own_state_dir(config: Config) -> AsyncIterator[None]:
    """Own the state directory unless owning the database does that: another daemon would empty our spool.

    Raises StoreLocked, StoreError.
    """
    folder = config.state_dir
    if not config.replicated and config.database_path.parent == folder:
        yield
        return
    ownership = Ownership(folder / "state.owner", f"the state directory {folder}")
    async with ownership.held(folder / "state.lock"):
        yield


FILE_NAME = "admin.key"
SOURCE_NAME = "admin.key.source"
"""Says where the key came from when it was given: a path, or the name of a variable. Never the key itself."""


def load_admin_key(config: Config) -> str:
    """Return the admin key of this installation; a created one is in `admin.key` with mode 0600."""
    if config.admin_key is not None:
        return config.admin_key.reveal()
    path: Path = config.state_dir / FILE_NAME
    if not path.exists():
        write_private(path, format_key(secrets.token_bytes(24)))
    return path.read_text(encoding="utf-8").strip()


def note_key_source(config: Config, environ: Mapping[str, str]) -> None:
    """Note where the admin key comes from, for commands on this machine (see `vvwatch.cli.local_daemon`)."""
    path = config.state_dir / SOURCE_NAME
    if config.admin_key is None:
        path.unlink(missing_ok=True)
        return
    file = environ.get("VVWATCH_ADMIN_KEY_FILE")
    write_private(path, str(Path(file).absolute()) if file else "VVWATCH_ADMIN_KEY")
