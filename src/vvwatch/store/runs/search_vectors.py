"""Keep vectors of what is searched, and find the texts that are nearest to one.

Only the newest documents get vectors, and only the newest of a scope are compared: both stay bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vvwatch.core.identities import WHOLE
from vvwatch.store.db.database import Tx
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.time_limits import limited
from vvwatch.store.runs.lexical_queries import in_scope
from vvwatch.store.runs.search_documents import read_texts
from vvwatch.store.runs.search_queries import Level, SearchScope
from vvwatch.store.schema import media, run_items, search_vectors, segment_results

MOST_COMPARED: Final = 100_000
"""The most documents that have vectors, and the most vectors that one search compares."""

_MAX_SECONDS: Final = 5.0
_NARROW: Final = "name an index, runs or media"
_ITEMS_AT_ONCE: Final = 200
_TEXTS_AT_ONCE: Final = 16
_VECTORS_AT_ONCE: Final = 4_096

Place = tuple[int, int]
Compare = Callable[[bytes, bytes], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Missing:
    """Texts without a vector; `behind` is the oldest item looked at, None at the end, `count` its documents."""

    texts: Mapping[Place, str]
    behind: int | None
    count: int


def find_missing(tx: Tx, model: str, before: int | None) -> Missing:
    """Return some texts without a vector of the model, of the next items older than `before`, the newest first."""
    columns = run_items.c
    has_document = columns.video_metadata.is_not(None).label("has_document")
    chosen = sa.select(columns.id, columns.segment_count, has_document).where(
        columns.completed_at.is_not(None)
    )
    chosen = chosen if before is None else chosen.where(columns.id < before)
    rows = tx.all(chosen.order_by(columns.id.desc()).limit(_ITEMS_AT_ONCE))
    if not rows:
        return Missing({}, None, 0)
    wholes = [row.id for row in rows if row.has_document]
    places = _list_missing(tx, model, [row.id for row in rows], wholes)
    count = len(wholes) + sum(row.segment_count for row in rows)
    return Missing(read_documents(tx, places), rows[-1].id, count)


def read_documents(tx: Tx, places: Sequence[Place]) -> dict[Place, str]:
    """Return what a vector is made of: the text of a document, or its title if it has none."""
    found = read_texts(tx, places)
    return {place: words if words.strip() else title for place, (words, title) in found.items()}


def _list_missing(tx: Tx, model: str, items: Sequence[int], wholes: Sequence[int]) -> list[Place]:
    vectors, its = search_vectors.c, segment_results.c
    same = vectors.run_item_id == its.run_item_id, vectors.ordinal == its.ordinal, vectors.model == model
    chosen = sa.select(its.run_item_id, its.ordinal).where(
        its.run_item_id.in_(items), its.error.is_(None), ~sa.exists().where(*same)
    )
    chosen = chosen.order_by(its.run_item_id.desc(), its.ordinal).limit(_TEXTS_AT_ONCE)
    found = [(row.run_item_id, row.ordinal) for row in tx.all(chosen)]
    if len(found) < _TEXTS_AT_ONCE and wholes:
        there = sa.select(vectors.run_item_id).where(
            vectors.run_item_id.in_(wholes), vectors.ordinal == WHOLE, vectors.model == model
        )
        present = set(tx.execute(there).scalars())
        found += [(item_id, WHOLE) for item_id in wholes if item_id not in present]
    return found[:_TEXTS_AT_ONCE]


@by_locks
def store_vectors(tx: Tx, model: str, made: Mapping[Place, tuple[str, bytes]]) -> int:
    """Store vectors with the texts that they were made of; return of how many documents that is still the text."""
    ids = {item_id for item_id, _ in made}
    tx.execute(
        sa.select(run_items.c.id).where(run_items.c.id.in_(ids)).order_by(run_items.c.id).with_for_update()
    )
    current = read_documents(tx, list(made))
    stored = 0
    for place, (text, vector) in made.items():
        if current.get(place) != text:
            continue
        values: dict[str, Any] = {"model": model, "vector": vector}
        statement = tx.upsert(search_vectors).values(run_item_id=place[0], ordinal=place[1], **values)
        keys = list(search_vectors.primary_key)
        tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))
        stored += 1
    return stored


@dataclass(frozen=True, slots=True)
class Near:
    """The nearest places, the best first, and how near each is; `every`: no vector of the scope was left out."""

    similarities: Mapping[Place, float]
    every: bool


def find_near(
    tx: Tx, model: str, vector: bytes, compare: Compare, scope: SearchScope, level: Level, limit: int
) -> Near:
    """Return the `limit` documents nearest to the vector; of equally near ones the newest. Raises InvalidInput."""
    best: list[tuple[float, int, int]] = []
    count = 0
    with limited(tx, _MAX_SECONDS, _NARROW):
        result = tx.execute(_select_vectors(model, len(vector), scope, level))
        for rows in result.partitions(_VECTORS_AT_ONCE):
            count += len(rows)
            scores = compare(vector, b"".join(row.vector for row in rows))
            best += [
                (-score, -row.run_item_id, WHOLE if level == "video" else row.ordinal)
                for score, row in zip(scores, rows, strict=True)
            ]
            best = _keep_first(sorted(best), limit)
    return Near({(-item, ordinal): -score for score, item, ordinal in best}, count < MOST_COMPARED)


def _select_vectors(model: str, size: int, scope: SearchScope, level: Level) -> sa.Select[Any]:
    vectors = search_vectors.c
    chosen = sa.select(vectors.run_item_id, vectors.ordinal, vectors.vector)
    chosen = chosen.join(run_items, run_items.c.id == vectors.run_item_id)
    chosen = chosen.join(media, media.c.id == run_items.c.media_id)
    chosen = chosen.where(vectors.model == model, sa.func.length(vectors.vector) == size, *in_scope(scope))
    if level == "segment":
        chosen = chosen.where(vectors.ordinal > WHOLE)
    return chosen.order_by(vectors.run_item_id.desc(), vectors.ordinal.desc()).limit(MOST_COMPARED)


def _keep_first(ordered: Sequence[tuple[float, int, int]], limit: int) -> list[tuple[float, int, int]]:
    """Return the first of each place, at most `limit`."""
    kept: dict[Place, tuple[float, int, int]] = {}
    for each in ordered:
        if len(kept) == limit:
            break
        kept.setdefault(each[1:], each)
    return list(kept.values())
