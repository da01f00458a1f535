"""Search by words: what it adds to the end of an item, its bytes on disk, and how long queries take.

Usage: python bench/search.py [items] [segments of each]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio

from vvwatch.clock import SystemClock
from vvwatch.core.media import Segment
from vvwatch.core.words import parse_query
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import PromptSpec
from vvwatch.store.db.database import Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.runs import journal, search_documents
from vvwatch.store.runs.lexical_queries import find_ranked
from vvwatch.store.runs.search_queries import SearchScope
from vvwatch.store.schema import indexes, media, prompt_runs, run_items

WORDS = [
    f"{start}{middle}{end}" for start in "bdfgklmn" for middle in "aeiou" for end in ("r", "st", "nd", "ll")
]
CHANCE = random.Random(1)  # no secret


def result(count: int) -> tuple[Segment, ...]:
    texts = [" ".join(CHANCE.choices(WORDS, k=25)) for _ in range(count)]
    return tuple(Segment(5.0 * n, 5.0 * n + 5, {"subject": text}, text) for n, text in enumerate(texts))


def prepare(tx: Tx, items: int) -> None:
    prompt = PromptSpec("bench", "nothing is run here", {"type": "object", "properties": {}})
    catalog.seed_default_prompt(tx, prompt)
    tx.insert(indexes, id="idx_1", name="bench", created_at=tx.now)
    tx.insert(
        prompt_runs, id="run_1", index_id="idx_1", prompt_id=catalog.DEFAULT_PROMPT_ID, created_at=tx.now
    )
    for number in range(items):
        tx.insert(
            media, id=f"vid_{number:07}", index_id="idx_1", title=f"clip {number:07}.mp4", media_type="video"
        )
        tx.insert(run_items, id=number + 1, run_id="run_1", media_id=f"vid_{number:07}", completed_at=tx.now)


def store(tx: Tx, item_id: int, found: tuple[Segment, ...], *, indexed: bool) -> None:
    journal.replace_results(tx, item_id, found)
    if indexed:
        search_documents.index_item(tx, item_id)


def measure_bytes(tx: Tx) -> int:
    return int(
        tx.conn.exec_driver_sql("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'search_text%'").scalar() or 0
    )


def find(tx: Tx, text: str) -> Any:
    return find_ranked(tx, parse_query(text), SearchScope(), "segment", slice(0, 50))


async def measure(items: int, count: int, *, indexed: bool) -> float:
    """Return CPU microseconds a segment; with the index also print its size and the times of queries."""
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder) / "bench.db", SystemClock())
        async with database.opened():
            await database.write(prepare, items)
            spent = 0.0
            for item in range(items):
                found = result(count)
                started = time.process_time()
                await database.write(store, item + 1, found, indexed=indexed)
                spent += time.process_time() - started
            if indexed:
                held = await database.read(measure_bytes)
                print(f"{held / items / count:.0f} bytes a segment")
                for text in (f"{WORDS[0]} ", f"{WORDS[0]} {WORDS[1]} {WORDS[2]} ", "nowhere "):
                    started = time.process_time()
                    ranked = await database.read(find, text)
                    spent_ms = 1e3 * (time.process_time() - started)
                    print(f"{text!r}: {ranked.count} ranked in {spent_ms:.0f} ms")
    return 1e6 * spent / items / count


async def main(items: int, count: int) -> None:
    without, with_index = [await measure(items, count, indexed=indexed) for indexed in (False, True)]
    print(f"{without:.0f} µs of CPU a segment to store {count} results, {with_index:.0f} µs with the index")


if __name__ == "__main__":
    anyio.run(main, int((sys.argv[1:] or ["500"])[0]), int((sys.argv[2:] or ["20"])[0]))
