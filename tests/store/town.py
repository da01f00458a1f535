"""Places to move to and from, on both engines, and an installation that leaves nothing out."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.clock import FakeClock
from tests.postgres_server import PostgresServer
from tests.store.busy import busy
from vvwatch.store.db.database import Tx
from vvwatch.store.db.opening import Place, resolve_place
from vvwatch.store.schema import facts, import_files, indexes, media, nodes, objects, segment_results, windows
from vvwatch.store.watching import ledger

NUMBERS = count()


class Town:
    """Where places are made, on both engines."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        self.server = server
        self.clock = FakeClock()
        self.servers: list[str] = []

    def address(self, dialect: str) -> str:
        name = f"moving{next(NUMBERS)}"
        if dialect == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        self.servers.append(name)
        return self.server.create_database(name)

    def place(self, url: str, clock: FakeClock | None = None) -> Place:
        return resolve_place(url, self.folder, clock or self.clock)

    def empty(self, dialect: str) -> Place:
        return self.place(self.address(dialect))

    async def furnished(self, dialect: str) -> Place:
        """A place with an installation in the middle of everything."""
        place = self.empty(dialect)
        async with place.database.opened():
            await busy(place.database, self.clock)
            await place.database.write(_rarities)
        place.database.sink = None
        return place


def _rarities(tx: Tx) -> None:
    """Values that engines keep in ways of their own, a gap behind the largest numbers, and who is at work."""
    tx.execute(
        sa.update(segment_results).values(start_time=0.1 + 0.2, end_time=1e-300, metadata={"ü": ["\0"]})
    )
    tx.execute(sa.update(media).values(size_bytes=2**62, duration_seconds=-0.0, title="Ä\u2028😀'\"\\"))
    tx.insert(facts, name="seal", value=bytes(range(256)))
    tx.insert(indexes, id="idx_NULL", name="", description=None, created_at=None)
    tx.insert(nodes, name="old", version="1", address="", started_at=0.0, seen_at=tx.now)
    scope = ledger.ensure_scope(tx, "idx_NULL", "conn_in")
    keys = sorted({"a", "B", "ä", "Z/é", "z", "Z", "😀", "\ue000", "a/", "a-", "a" * 900})
    tx.insert_tuples(
        sa.insert(objects),
        ("scope_id", "key", "version", "window_seq"),
        [(scope, key, version, 0) for key in keys for version in ("", "1", "10", "2")],
    )
    tx.execute(sa.delete(import_files).where(import_files.c.id == last(tx, import_files.c.id)))
    tx.execute(sa.update(windows).where(windows.c.state == "open").values(object_count=1))


def last(tx: Tx, column: sa.Column[Any]) -> int:
    return int(tx.execute(sa.select(sa.func.max(column))).scalar_one())
