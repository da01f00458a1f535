"""The ledger: new and known objects per second of CPU, and bytes on disk per row.

Usage: python bench/ledger.py [objects]

Prints ours beside a bare `executemany` of the same rows into a table of the same shape, in the same run.
"""

from __future__ import annotations

import gc
import resource
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import anyio

from vvwatch.clock import SystemClock
from vvwatch.core.objects import StorageObject
from vvwatch.core.windows import WindowPolicy
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import ConnectorSpec, PromptSpec
from vvwatch.store.db.database import Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.watching import automations, ledger, windows

PAGE = 1000


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def pages(count: int) -> list[list[StorageObject]]:
    """Pages as a local folder lists them: 55-byte keys, inode-size-mtime versions."""
    objects = [
        StorageObject(
            f"incoming/2026/11/{n // 1000:06}/camera-a-clip-{n:013}.mp4",
            f"{4_000_000 + n:x}-{50_000_000 + n:x}-{1_790_000_000_000_000_000 + n:x}",
            50_000_000 + n,
            1_790_000_000.0,
            1_790_000_000.0,
        )
        for n in range(count)
    ]
    return [objects[start : start + PAGE] for start in range(0, count, PAGE)]


def prepare(tx: Tx, count: int) -> tuple[str, int]:
    """An automation whose window takes everything; returns its id and ledger scope."""
    prompt = PromptSpec("bench", "nothing is run here", {"type": "object", "properties": {}})
    catalog.seed_default_prompt(tx, prompt)
    connector = catalog.create_connector(tx, ConnectorSpec("bench", "local", {"root": "/nowhere"}))
    index = catalog.create_index(tx, "bench")
    spec = automations.ImportSpec(
        connector_id=connector.id,
        source_prefix="",
        file_pattern="*",
        recursive=True,
        debounce_interval="1d",
        policy=WindowPolicy(86_400, 86_400, count + 1),
        scan_seconds=900,
        settle_seconds=0,
        preset={"prompt_id": catalog.DEFAULT_PROMPT_ID},
    )
    row = automations.save_import(tx, index.id, spec)
    return row.id, row.scope_id


def together(listing: list[list[StorageObject]]) -> list[list[StorageObject]]:
    """As many pages at once as a scan holds against the ledger."""
    return [list(chain(*listing[start : start + 4])) for start in range(0, len(listing), 4)]


async def timed(
    work: Callable[[Sequence[StorageObject]], object], listing: list[list[StorageObject]]
) -> float:
    started = cpu_seconds()
    for page in listing:
        await work(page)  # type: ignore[misc]
    return cpu_seconds() - started


def bare(path: Path, listing: list[list[StorageObject]]) -> float:
    """The floor: the same rows by `executemany`, one transaction a page."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute(
        "create table objects (scope integer, key text, version text, window integer,"
        " primary key (scope, key, version)) without rowid"
    )
    started = cpu_seconds()
    for page in listing:
        connection.execute("begin immediate")
        rows = [(1, obj.key, obj.version, 1) for obj in page]
        connection.executemany("insert or ignore into objects values (?, ?, ?, ?)", rows)
        connection.execute("commit")
    return cpu_seconds() - started


def bytes_per_row(path: Path, count: int) -> float:
    """Pages of the ledger's table alone, whole, per row."""
    connection = sqlite3.connect(path)
    [(size,)] = connection.execute("select sum(pgsize) from dbstat where name = 'objects'")
    return float(size) / count


async def main(count: int) -> None:
    listing = pages(count)
    gc.freeze()  # the daemon streams its pages: the collector shall not walk through all of them
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder) / "bench.db", SystemClock())
        async with database.opened():
            automation_id, scope_id = await database.write(prepare, count)

            async def new(page: Sequence[StorageObject]) -> None:
                await database.write(windows.accept_objects, automation_id, 0, page)

            async def known(page: Sequence[StorageObject]) -> None:
                difference = await database.read(ledger.compare, scope_id, page)
                assert difference.known == len(page)

            new_seconds = await timed(new, listing)
            known_seconds = await timed(known, together(listing))
        floor = bare(Path(folder) / "bare.db", listing)
        size = bytes_per_row(Path(folder) / "bench.db", count)
    key_bytes = sum(len(page[0].key) for page in listing) / len(listing)
    print(f"objects                         {count:>12,}")
    print(f"new objects/s per core          {count / new_seconds:>12,.0f}   (ledger, window and manifest)")
    print(f"known objects/s per core        {count / known_seconds:>12,.0f}")
    print(f"bare executemany objects/s      {count / floor:>12,.0f}   (ledger row alone)")
    print(f"row on disk, bytes over its key {size - key_bytes:>12.1f}")


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
