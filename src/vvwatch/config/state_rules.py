"""Check the file system of the state: SQLite needs locks and shared memory, which no network file system has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vvwatch.config.checked import Checked
from vvwatch.config.databases import database_file
from vvwatch.core.filesystems import Keeping, Mount
from vvwatch.mounts import mount_at
from vvwatch.options.findings import Finding

_HINT: Final = (
    "name a folder of a local disk, or use PostgreSQL (database_url); "
    "where no second daemon can ever use it, allow_network_state_dir = true"
)


def check_state(checked: Checked) -> Iterator[Finding]:
    """Yield findings about the location of the database and the spool."""
    settings = checked.settings
    if not (checked.sound(("state_dir",)) and checked.sound(("database_url",))):
        return
    if not settings.replicated:
        file = database_file(settings.database_url, settings.state_dir)
        loc = ("state_dir",) if file.is_relative_to(settings.state_dir) else ("database_url",)
        yield from database_place(file, loc, allowed=settings.allow_network_state_dir)
        if loc == ("state_dir",):
            return
    mount = mount_at(settings.state_dir)
    if mount is not None and mount.is_remote:
        what = f"the spool lies on {mount.kind}: what is processed travels over the network twice"
        yield Finding(("state_dir",), what, hint="name a folder of a local disk", warning=True)


def database_place(file: Path, loc: tuple[str, ...], *, allowed: bool) -> Iterator[Finding]:
    """Return the finding about a database in this file."""
    mount = mount_at(file)
    if mount is None or mount.keeping is Keeping.SAFE:
        return
    refused = mount.keeping is Keeping.UNSAFE and not allowed
    yield Finding(loc, explain_filesystem(file.parent, mount), hint=_HINT, warning=not refused)


def explain_filesystem(folder: Path, mount: Mount) -> str:
    """Return why the folder on `mount` is no place for a database."""
    where = f"{str(folder)!r} lies on {mount.kind}"
    if mount.keeping is Keeping.UNSAFE:
        return f"{where}: over a network two daemons can use one SQLite database at once and break it"
    return f"{where}, which may not carry the locks and the shared memory that SQLite needs"
