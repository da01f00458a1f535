"""The database a command works on, and its progress on stderr."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from vvwatch.cli.local_daemon import find_state_dir
from vvwatch.cli.output import pluralize
from vvwatch.clock import SystemClock
from vvwatch.config import load
from vvwatch.store.db.opening import Place, resolve_place

_SHOW_SECONDS: Final = 5.0

url_option = click.option(
    "--database-url", "url", metavar="URL", help="The database.  [$VVWATCH_DATABASE_URL, the configuration]"
)


def find_database(url: str | None, config: str | None, state: str | None) -> Place:
    """Return the database at `url`, else the configured one."""
    environ = dict(os.environ)
    if url is None:
        overrides = {"state_dir": None if state is None else str(Path(state).absolute())}
        configured = load(Path(config) if config else None, environ, overrides)
    else:  # whatever else is wrong with the configuration does not matter
        folder = find_state_dir(state, config, environ).absolute()
        configured = load(None, {}, {"state_dir": str(folder), "database_url": url})
    return resolve_place(configured.database_url, configured.state_dir, SystemClock())


def report_progress(what: str = "row") -> Callable[[str, int], None]:
    """Return a function that reports the progress of a long copy on stderr from time to time."""
    shown_at = time.monotonic()

    def tell(table: str, rows: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= _SHOW_SECONDS:
            shown_at = time.monotonic()
            click.echo(f"{table}: {pluralize(rows, what)}", err=True)

    return tell
