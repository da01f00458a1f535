"""Small files of the state directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from vvwatch import private_files
from vvwatch.config import Config
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
