"""What is searched by words follows every change of results, and an index made from nothing is the same."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.footage import GOOD, HALF, INDEX, items, shot, started
from tests.store.pipeline import jobs_of
from vvwatch.core.identities import WHOLE, segment_id
from vvwatch.core.media import ProcessingResult, Segment
from vvwatch.core.transcripts import Cue, Transcript, TranscriptSource
from vvwatch.core.words import parse_query
from vvwatch.errors import InvalidInput
from vvwatch.ports import Kind
from vvwatch.store.admin import clearing, deletions, retention
from vvwatch.store.admin.retention import Portion
from vvwatch.store.db.database import Database, Tx
from vvwatch.store.db.time_limits import limited
from vvwatch.store.runs import runs, search_documents, segment_retries
from vvwatch.store.runs.lexical_queries import find_ranked
from vvwatch.store.runs.search_queries import SearchScope
from vvwatch.store.runs.transcripts import store_transcript
from vvwatch.store.schema import deletions as deletions_table
from vvwatch.store.schema import facts, media, run_items
from vvwatch.store.schema import search_documents as table
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.filling import SearchFiller

pytestmark = pytest.mark.anyio

FIXED = Segment(2.0, 4.0, {"subject": "a cat"}, "a cat")
WHOLE_RESULT = ProcessingResult((GOOD, FIXED), {"cuts": 1}, "one cut")
SAID = Transcript(
    TranscriptSource.SIDECAR,
    "clip.srt",
    "de",
    (Cue(0.2, 1.0, "Über die Brücke"), Cue(2.5, 3.0, "und weiter")),
)


def _insert_deletion(tx: Tx, row: dict[str, Any]) -> None:
    tx.insert(deletions_table, **row)


def indexed(tx: Tx) -> list[Any]:
    """Everything that the engine's index holds."""
    if tx.conn.dialect.name == "postgresql":
        return [tuple(row) for row in tx.all(sa.select(table).order_by(table.c.run_item_id, table.c.ordinal))]
    tx.conn.exec_driver_sql(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.held USING fts5vocab(main, search_text, instance)"
    )
    found = [tuple(row) for row in tx.conn.exec_driver_sql("SELECT term, doc, col, offset FROM temp.held")]
    rows = tx.conn.exec_driver_sql("SELECT rowid FROM search_text ORDER BY rowid").scalars().all()
    return [list(rows), sorted(found)]


def empty(tx: Tx) -> None:
    if tx.conn.dialect.name == "postgresql":
        tx.execute(sa.delete(table))
    else:
        tx.conn.exec_driver_sql("INSERT INTO search_text (search_text) VALUES ('delete-all')")
    tx.execute(sa.delete(facts).where(facts.c.name == "searchable"))


async def is_in_step(database: Database) -> bool:
    """Whether the index is what filling an empty one gives."""
    before = await database.write(indexed)
    await database.write(empty)
    while await database.write(search_documents.fill_next):
        pass
    return before == await database.write(indexed)


async def ended(database: Database, *results: ProcessingResult) -> tuple[str, list[str], list[int]]:
    videos = await shot(database, len(results))
    run_id = await started(database)
    for job, result in zip(items(database), results, strict=True):
        await database.write(runs.begin_item, job)
        await database.write(runs.finish_item, job, result)
    jobs_of(database).take(Kind.EXPORT)
    chosen = sa.select(run_items.c.id).order_by(run_items.c.id)
    return run_id, videos, await database.read(lambda tx: list(tx.execute(chosen).scalars()))


async def find(database: Database, text: str, level: Any = "segment", **scope: Any) -> list[tuple[int, int]]:
    def found(tx: Tx) -> list[tuple[int, int]]:
        ranked = find_ranked(tx, parse_query(text), SearchScope(**scope), level, slice(0, 50))
        assert ranked.count == len(ranked.hits)
        return [hit.key for hit in ranked.hits]

    return await database.read(found)


async def test_results_are_found_from_the_transaction_that_ends_their_item(database: Database) -> None:
    _, [video, _], [one, two] = await ended(database, WHOLE_RESULT, HALF)
    assert await find(database, "dog") == [(two, 0), (one, 0)]
    assert await find(database, "cat a") == [(one, 1)]
    assert await find(database, "dog", video_ids=(video,)) == [(one, 0)]
    assert await find(database, "dog", index_ids=("idx_other",)) == []
    assert await find(database, "DOG", index_ids=(INDEX,)) == [(two, 0), (one, 0)]
    assert await find(database, "one cut", "video") == [(one, WHOLE)]
    assert await find(database, "dog", "video") == [(two, WHOLE), (one, WHOLE)]
    assert await find(database, video) == [(one, 0), (one, 1)], "the title"
    assert await is_in_step(database)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bru", [0]),
        ("bru ", []),
        ('"bru"', []),
        ("brücke die", [0]),
        ('"die brucke"', [0]),
        ('"brücke die"', []),
        ("UBER DIE", [0]),
        ('dog" OR weiter', []),
        ("words : dog", []),
        ("d* NEAR(a b)", []),
        ("a-dog", [0]),
        ("' | & !( :* <->", None),
    ],
)
async def test_what_a_person_writes_is_never_syntax(
    database: Database, text: str, found: list[int] | None
) -> None:
    """Both engines find the same, whatever marks of their languages it has."""
    _, _, [item] = await ended(database, WHOLE_RESULT)
    await database.write(store_transcript, item, SAID)
    if found is None:
        with pytest.raises(InvalidInput, match="no words"):
            parse_query(text)
    else:
        assert await find(database, text) == [(item, ordinal) for ordinal in found]


async def test_a_transcript_that_comes_later_is_searched_and_a_better_one_replaces_it(
    database: Database,
) -> None:
    _, _, [item] = await ended(database, WHOLE_RESULT)
    assert await find(database, "weiter") == []
    await database.write(store_transcript, item, SAID)
    assert await find(database, "weiter") == [(item, 1)]
    better = Transcript(TranscriptSource.EMBEDDED, "track 1", None, (Cue(0, 1, "stop"),))
    await database.write(store_transcript, item, better)
    assert await find(database, "weiter") == []
    assert await find(database, "stop dog") == [(item, 0)]
    assert await is_in_step(database)


@pytest.mark.parametrize("ordinal", [1, WHOLE])
async def test_what_a_retry_repairs_is_found(database: Database, ordinal: int) -> None:
    if ordinal == WHOLE:
        [video] = await shot(database, 1)
        run_id = await started(database)
        [job] = items(database)
        await database.write(runs.begin_item, job)
        await database.write(runs.fail_item, job, "media_unreadable", "no moov")
        [item] = await database.read(lambda tx: list(tx.execute(sa.select(run_items.c.id)).scalars()))
    else:
        run_id, [video], [item] = await ended(database, HALF)
    jobs_of(database).take(Kind.EXPORT)
    await database.write(segment_retries.request, run_id, video, segment_id(item, ordinal))
    [job] = jobs_of(database).take(Kind.SEGMENT_RETRY)
    await database.write(segment_retries.begin, job)
    assert await find(database, "cat") == []
    await database.write(segment_retries.finish, job, WHOLE_RESULT)
    assert await find(database, "cat") == [(item, 1)]
    assert await is_in_step(database)


@pytest.mark.parametrize("way", ["retention", "video", "index"])
async def test_what_is_deleted_is_not_found_and_leaves_nothing(database: Database, way: str) -> None:
    _, videos, [one, two] = await ended(database, WHOLE_RESULT, WHOLE_RESULT)
    await database.write(store_transcript, one, SAID)
    if way == "retention":
        await database.write(retention.drop_results, Portion((one,), 1))
        assert await find(database, "cat") == [(two, 1)]
        assert await is_in_step(database)
        await database.write(retention.drop_results, Portion((one, two)))
    else:
        gone = videos if way == "video" else [INDEX]
        for identifier in gone:
            if way == "video":
                await database.write(deletions.delete_video, identifier)
            else:
                row = {"id": "deletion_1", "resource": "index", "resource_id": INDEX, "created_at": 0.0}
                await database.write(_insert_deletion, row)
            assert (one, 1) not in await find(database, "cat"), "at once"
            for step in clearing.STEPS[way]:
                while await database.write(step, identifier):
                    pass
    assert await find(database, "cat") == []
    left = await database.write(indexed)
    assert left in ([], [[], []])


async def test_results_of_an_earlier_version_are_found_once_the_index_is_filled(
    database: Database, clock: FakeClock
) -> None:
    _, _, numbers = await ended(database, *[WHOLE_RESULT] * 3)
    whole = await database.write(indexed)
    await database.write(empty)
    assert await find(database, "dog") == []
    await database.write(search_documents.index_item, numbers[1])
    filler = SearchFiller(database, clock, Telemetry("test"))
    assert await filler.run() == 3
    assert await database.write(indexed) == whole
    assert await filler.run() == 0


async def test_a_filling_that_was_ended_goes_on_where_it_stopped(
    database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(database, *[WHOLE_RESULT] * 3)
    whole = await database.write(indexed)
    await database.write(empty)
    monkeypatch.setattr(search_documents, "_ITEMS_AT_ONCE", 1)
    lives = iter([False, False, True])
    await SearchFiller(database, clock, Telemetry("test"), lambda: next(lives)).run()
    assert await database.write(indexed) != whole
    assert await SearchFiller(database, clock, Telemetry("test")).run() == 1
    assert await database.write(indexed) == whole


async def test_only_the_newest_of_too_many_matches_are_ranked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, numbers = await ended(database, *[WHOLE_RESULT] * 3)
    monkeypatch.setattr("vvwatch.store.runs.lexical_queries.MOST_RANKED", 2)

    def found(tx: Tx) -> tuple[list[tuple[int, int]], bool]:
        ranked = find_ranked(tx, parse_query("dog"), SearchScope(), "segment", slice(0, 50))
        return [hit.key for hit in ranked.hits], ranked.every

    assert await database.read(found) == ([(numbers[2], 0), (numbers[1], 0)], False)


async def test_a_search_that_takes_too_long_is_ended(database: Database) -> None:
    def endless(tx: Tx) -> None:
        numbers = sa.select(sa.literal(1).label("n")).cte("numbers", recursive=True)
        numbers = numbers.union_all(sa.select(numbers.c.n + 1))
        with limited(tx, 0.2, "search for less"):
            tx.execute(sa.select(sa.func.count()).select_from(numbers).where(numbers.c.n > 0)).all()

    with pytest.raises(InvalidInput, match=r"longer than 0.2 s"):
        await database.read(endless)
    assert await database.read(lambda tx: tx.all(sa.select(media))) == [], "the connection still works"
