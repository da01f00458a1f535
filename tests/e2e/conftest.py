"""Every way is gone on both engines: on a file, and on PostgreSQL by a node that has the folder to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import Daemon

Make = Callable[..., Daemon]
_numbers = count()


@pytest.fixture
def make(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes the daemon over `tmp_path`; takes what `Daemon` takes."""
    if dialect == "sqlite":
        yield lambda **options: Daemon(tmp_path, **options)
        return
    server = request.getfixturevalue("postgres_server")
    name = f"e2e_{next(_numbers)}"
    url = server.create_database(name)

    def replica(**options: Any) -> Daemon:
        daemon = Daemon(tmp_path, database_url=url, **options)
        text = daemon.config.read_text().replace("shared = true", f'node = "{daemon.node}"')
        daemon.config.write_text(text)
        return daemon

    yield replica
    server.drop_database(name)
