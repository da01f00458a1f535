"""Vectors follow every change of what is searched: made for what lacks them, gone with their texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from tests.clock import FakeClock
from tests.store.runs.test_search_documents import FIXED, SAID, WHOLE_RESULT, ended
from vvwatch.core.identities import WHOLE
from vvwatch.core.media import ProcessingResult
from vvwatch.errors import ProcessorPaused
from vvwatch.processors.embedding.embedder import Embedder
from vvwatch.store.admin import clearing, deletions, retention
from vvwatch.store.admin.retention import Portion
from vvwatch.store.db.database import Database
from vvwatch.store.runs import search_vectors
from vvwatch.store.runs.search_queries import SearchScope
from vvwatch.store.runs.transcripts import store_transcript
from vvwatch.store.schema import search_vectors as table
from vvwatch.telemetry import Telemetry
from vvwatch.workflow.upkeep.filling import VectorFiller

pytestmark = pytest.mark.anyio


class Letters(Embedder):
    """Counts letters; a change of `model` is another model."""

    def __init__(self, model: str = "one") -> None:
        super().__init__(Path("/nowhere"))
        self.model = model
        self.texts: list[str] = []

    async def name(self) -> str:
        return self.model

    async def embed(self, text: str) -> tuple[str, bytes]:
        self.texts.append(text)
        counts = np.array([text.count(letter) for letter in "acdgot"], dtype="<f2")
        return self.model, (counts / max(np.linalg.norm(counts), 1)).astype("<f2").tobytes()


@pytest.fixture
def embedder() -> Letters:
    return Letters()


async def fill(
    database: Database, embedder: Embedder, clock: FakeClock, stopping: Any = lambda: False
) -> int:
    return await VectorFiller(database, clock, Telemetry("test"), embedder, stopping).run()


async def stored(database: Database) -> list[tuple[int, int, str]]:
    chosen = sa.select(table.c.run_item_id, table.c.ordinal, table.c.model)
    return sorted(tuple(row) for row in await database.read(lambda tx: tx.all(chosen)))


async def near(
    database: Database, embedder: Embedder, text: str, level: Any = "segment", **scope: Any
) -> Any:
    model, vector = await embedder.embed(text)
    compare, where = embedder.compare, SearchScope(**scope)
    return await database.read(search_vectors.find_near, model, vector, compare, where, level, 10)


async def test_what_is_missing_is_made_and_nothing_else(
    database: Database, clock: FakeClock, embedder: Letters
) -> None:
    _, _, [one, two] = await ended(database, WHOLE_RESULT, WHOLE_RESULT)
    every = [(item, ordinal, "one") for item in (one, two) for ordinal in (WHOLE, 0, 1)]
    assert await fill(database, embedder, clock) == len(every)
    assert await stored(database) == every
    assert "a cat" in embedder.texts
    embedder.texts.clear()
    assert await fill(database, embedder, clock) == 0
    assert embedder.texts == []
    await database.write(lambda tx: tx.execute(sa.delete(table).where(table.c.ordinal == 1)))
    assert await fill(database, embedder, clock) == 2
    assert embedder.texts == ["a cat", "a cat"]


async def test_a_filling_that_was_ended_goes_on(
    database: Database, clock: FakeClock, embedder: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ended(database, *[WHOLE_RESULT] * 3)
    monkeypatch.setattr(search_vectors, "_TEXTS_AT_ONCE", 2)
    monkeypatch.setattr(search_vectors, "_ITEMS_AT_ONCE", 2)
    assert await fill(database, embedder, clock, lambda: len(embedder.texts) >= 3) == 3
    assert await fill(database, embedder, clock) == 6
    assert len(await stored(database)) == len(embedder.texts) == 9


async def test_another_model_makes_all_again(database: Database, clock: FakeClock) -> None:
    await ended(database, WHOLE_RESULT)
    await fill(database, Letters("one"), clock)
    two = Letters("two")
    assert (await near(database, two, "cat")).similarities == {}, "vectors of two models are never compared"
    assert await fill(database, two, clock) == 3
    assert {model for _, _, model in await stored(database)} == {"two"}


async def test_the_nearest_are_found_in_their_scope(
    database: Database, clock: FakeClock, embedder: Letters
) -> None:
    _, [video, _], [one, two] = await ended(database, WHOLE_RESULT, ProcessingResult((FIXED,), {}, ""))
    await fill(database, embedder, clock)
    found = await near(database, embedder, "a cat")
    assert list(found.similarities)[:2] == [(two, 0), (one, 1)], "of equals the newest first"
    assert found.similarities[one, 1] == pytest.approx(1, abs=2e-3)
    assert found.every
    assert next(iter((await near(database, embedder, "a cat", video_ids=(video,))).similarities)) == (one, 1)
    assert (await near(database, embedder, "a cat", index_ids=("idx_other",))).similarities == {}
    assert list((await near(database, embedder, "a cat", "video")).similarities) == [
        (two, WHOLE),
        (one, WHOLE),
    ]


async def test_only_the_newest_are_compared(
    database: Database, clock: FakeClock, embedder: Letters, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, [_, two] = await ended(database, WHOLE_RESULT, WHOLE_RESULT)
    await fill(database, embedder, clock)
    monkeypatch.setattr(search_vectors, "MOST_COMPARED", 2)
    found = await near(database, embedder, "cat")
    assert ({item for item, _ in found.similarities}, found.every) == ({two}, False)


async def test_a_transcript_changes_vectors(database: Database, clock: FakeClock, embedder: Letters) -> None:
    _, _, [one] = await ended(database, WHOLE_RESULT)
    await fill(database, embedder, clock)
    await database.write(store_transcript, one, SAID)
    assert await stored(database) == []
    embedder.texts.clear()
    await fill(database, embedder, clock)
    assert any("Brücke" in text for text in embedder.texts)


async def test_a_text_that_changed_meanwhile_gets_no_vector_of_the_old(database: Database) -> None:
    _, _, [one] = await ended(database, WHOLE_RESULT)
    made = {(one, 1): ("a cat", b"12"), (one, 0): ("of before", b"12"), (99, 0): ("deleted", b"12")}
    assert await database.write(search_vectors.store_vectors, "one", made) == 1
    assert await stored(database) == [(one, 1, "one")]


async def test_vectors_are_deleted_with_results(
    database: Database, clock: FakeClock, embedder: Letters
) -> None:
    _, [video, _], [one, two] = await ended(database, WHOLE_RESULT, WHOLE_RESULT)
    await fill(database, embedder, clock)
    await database.write(retention.drop_results, Portion((two,)))
    assert {item for item, _, _ in await stored(database)} == {one}
    await database.write(deletions.delete_video, video)

    for step in clearing.STEPS[deletions.VIDEO]:
        while await database.write(step, video):
            pass
    assert await stored(database) == []
    assert await fill(database, embedder, clock) == 0


async def test_a_model_that_cannot_be_used_is_reported(database: Database, clock: FakeClock) -> None:
    await ended(database, WHOLE_RESULT)

    class Broken(Letters):
        async def name(self) -> str:
            raise ProcessorPaused("there is no model.onnx")

    telemetry = Telemetry("test")
    reported: list[dict[str, Any]] = []
    telemetry.emit = lambda event, **values: reported.append({"event": event, **values})  # type: ignore[method-assign]
    filler = VectorFiller(database, clock, telemetry, Broken())
    assert await filler.run() == 0
    [failed] = reported
    assert (failed["event"], failed["task"]) == ("task.failed", "vectors")
    minutes = []
    for minute in range(5, 48 * 60 + 1, 5):
        clock.advance(300)
        reported.clear()
        await filler.run()
        minutes += [minute] * len(reported)
    assert minutes == [60, 5 * 60, 21 * 60, 45 * 60], "at growing intervals, once a day at last"
