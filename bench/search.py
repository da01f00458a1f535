"""Search by words: what it adds to the end of an item, its bytes on disk, and how long queries take.

Usage: python bench/search.py [items] [segments of each]
       python bench/search.py vectors [texts]

`vectors`: what a sentence model adds, in making vectors and in a search over 20,000 of them.
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
from vvwatch.processors.embedding.embedder import Embedder
from vvwatch.store.catalog import catalog
from vvwatch.store.catalog.catalog import PromptSpec
from vvwatch.store.db.database import Tx
from vvwatch.store.db.sqlite import SqliteDatabase
from vvwatch.store.runs import journal, search_documents, search_vectors
from vvwatch.store.runs.lexical_queries import find_ranked
from vvwatch.store.runs.search_queries import SearchScope
from vvwatch.store.schema import indexes, media, prompt_runs, run_items
from vvwatch.store.schema import search_vectors as vectors

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


def store_turned(tx: Tx, model: str, count: int, vector: bytes) -> None:
    for number in range(count):
        at = 2 * number % len(vector)
        values = {"model": model, "vector": vector[at:] + vector[:at]}
        tx.insert(vectors, run_item_id=number // 20 + 1, ordinal=number % 20, **values)


async def measure_vectors(texts: int) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.sentence_model import sentence_model  # noqa: PLC0415

    embedder = Embedder(sentence_model())
    model, query = await embedder.embed("a red boat leaves the harbour")
    found = result(texts)
    started = time.process_time()
    for each in found:
        await embedder.embed(each.metadata_text)
    print(f"{texts / (time.process_time() - started):.0f} segments of 25 words a CPU second")
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder) / "bench.db", SystemClock())
        async with database.opened():
            await database.write(prepare, 1_000)
            await database.write(store_turned, model, 20_000, query)
            started = time.process_time()
            _, query = await embedder.embed("a red boat leaves the harbour")
            own = time.process_time() - started
            near = await database.read(
                search_vectors.find_near, model, query, embedder.compare, SearchScope(), "segment", 100
            )
            spent = time.process_time() - started
    assert len(near.similarities) == 100
    print(f"a query over 20,000: {1e3 * spent:.0f} ms of CPU, its own vector {1e3 * own:.0f} ms")


if __name__ == "__main__":
    if sys.argv[1:2] == ["vectors"]:
        anyio.run(measure_vectors, int((sys.argv[2:] or ["500"])[0]))
        sys.exit()
    anyio.run(main, int((sys.argv[1:] or ["500"])[0]), int((sys.argv[2:] or ["20"])[0]))
