"""Keep what is searched by words in step with the results.

A document is one segment without an error (its metadata text and what is said in it), or a whole media item (its
metadata text, ordinal -1); each has the title. An ended item has documents from the transaction that ends it; earlier
versions left items without, and `fill_next` adds those.

SQLite's index has no texts: a document is taken out by its old texts. So before results or a
transcript change or are deleted, their documents are taken out, in the same transaction, and their vectors with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple
from unicodedata import normalize

import sqlalchemy as sa

from vvwatch.core.identities import WHOLE
from vvwatch.core.transcripts import Cue, texts_within
from vvwatch.core.words import words_of
from vvwatch.store.db.database import Tx, upsert
from vvwatch.store.db.locking import by_locks
from vvwatch.store.db.rows import SEARCHABLE
from vvwatch.store.schema import (
    facts,
    media,
    run_items,
    search_documents,
    search_vectors,
    segment_results,
    transcripts,
)

_ORDINAL_BITS: Final = 21
_ORDINALS: Final = (1 << _ORDINAL_BITS) - 1
_MOST_CHARACTERS: Final = 65_536  # of one text that count
_LONGEST_WORD: Final = 200  # PostgreSQL takes no lexeme of more than 2 KB
_LAST_PLACE: Final = 16_383  # and no later place in a text
_ITEMS_AT_ONCE: Final = 200
_DOCUMENTS_AT_ONCE: Final = 500

_INSERT: Final = "INSERT INTO search_text (rowid, scope, title, words) VALUES (?, ?, ?, ?)"
_DELETE: Final = (
    "INSERT INTO search_text (search_text, rowid, scope, title, words) VALUES ('delete', ?, ?, ?, ?)"
)
_PRESENT: Final = "SELECT rowid FROM search_text WHERE rowid BETWEEN ? AND ?"


class Document(NamedTuple):
    """What is searched of a segment, or of a whole item."""

    item_id: int
    ordinal: int
    index_id: str
    title: str
    words: str


def row_id(item_id: int, ordinal: int) -> int:
    """Return the row of a document in SQLite's index; those of one item are in a row, the whole first."""
    return item_id << _ORDINAL_BITS | ordinal + 1


def read_row_id(found: int) -> tuple[int, int]:
    """Return the item and the ordinal of a row."""
    return found >> _ORDINAL_BITS, (found & _ORDINALS) - 1


@lru_cache(maxsize=1_000)
def scope_word(index_id: str) -> str:
    """Return the word that documents of the index have in `scope`."""
    return "i" + sha256(index_id.encode()).hexdigest()[:12]


def index_item(tx: Tx, item_id: int, ordinals: Sequence[int] | None = None) -> None:
    """Make the results of an ended item searchable, or only the `ordinals`; they must not be searchable yet."""
    documents = _read_documents(tx, [item_id], ordinals)
    if ordinals is not None:
        documents = [each for each in documents if each.ordinal in ordinals]
    if tx.conn.dialect.name == "sqlite":
        _change(tx, _INSERT, documents)
    elif documents:
        statement = upsert("postgresql", search_documents)
        new = {name: statement.excluded[name] for name in ("index_id", "words")}
        keys = list(search_documents.primary_key)
        tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), _to_rows(documents))


def unindex_items(tx: Tx, item_ids: Sequence[int], first: int = WHOLE) -> None:
    """Take the documents of these items out, from ordinal `first` on."""
    vectors = search_vectors.c
    tx.execute(sa.delete(search_vectors).where(vectors.run_item_id.in_(item_ids), vectors.ordinal >= first))
    if tx.conn.dialect.name == "sqlite":
        _take_out(tx, [found for item_id in item_ids for found in _present(tx, item_id, first)])
    else:
        table = search_documents
        tx.execute(sa.delete(table).where(table.c.run_item_id.in_(item_ids), table.c.ordinal >= first))


def unindex_segment(tx: Tx, item_id: int, ordinals: Sequence[int]) -> None:
    """Take single documents of an item out."""
    vectors = search_vectors.c
    tx.execute(sa.delete(search_vectors).where(vectors.run_item_id == item_id, vectors.ordinal.in_(ordinals)))
    if tx.conn.dialect.name == "sqlite":
        wanted = {row_id(item_id, ordinal) for ordinal in ordinals}
        _take_out(tx, [found for found in _present(tx, item_id) if found in wanted])
    else:
        table = search_documents
        tx.execute(sa.delete(table).where(table.c.run_item_id == item_id, table.c.ordinal.in_(ordinals)))


def unindex_some(tx: Tx, item_ids: Sequence[int]) -> bool:
    """Take a bounded part of the documents of these items out; return whether some may be left."""
    if _delete_vectors(tx, item_ids):
        return True
    if tx.conn.dialect.name != "sqlite":
        unindex_items(tx, item_ids)  # costs little: PostgreSQL's index forgets them later
        return False
    found: list[int] = []
    for item_id in item_ids:
        found += _present(tx, item_id)
        if len(found) >= _DOCUMENTS_AT_ONCE:
            break
    _take_out(tx, found[:_DOCUMENTS_AT_ONCE])
    return len(found) >= _DOCUMENTS_AT_ONCE


def _delete_vectors(tx: Tx, item_ids: Sequence[int]) -> bool:
    """Delete some vectors of the items; return whether there may be more."""
    keys = sa.tuple_(*search_vectors.primary_key)
    some = sa.select(*search_vectors.primary_key).where(search_vectors.c.run_item_id.in_(item_ids))
    chosen = sa.delete(search_vectors).where(keys.in_(some.limit(_DOCUMENTS_AT_ONCE)))
    return tx.execute(chosen).rowcount == _DOCUMENTS_AT_ONCE


def read_texts(tx: Tx, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[str]]:
    """Return what is searched of these documents (item and ordinal): the text, then the title."""
    wanted, items = set(places), list({item_id for item_id, _ in places})
    documents = _read_documents(tx, items, [ordinal for _, ordinal in places]) if places else []
    found = ((each, (each.item_id, each.ordinal)) for each in documents)
    return {place: [each.words, each.title] for each, place in found if place in wanted}


@by_locks
def fill_next(tx: Tx) -> int:
    """Make the next ended items searchable that are not; return how many items were looked at, 0 at the end.

    Where it stopped is a fact of the database. Items that have not ended are passed by: they end with documents.
    """
    stored = tx.first(sa.select(facts.c.value).where(facts.c.name == SEARCHABLE))
    columns, after = run_items.c, 0 if stored is None else int(stored.value)
    chosen = sa.select(columns.id, columns.segment_count, columns.completed_at)
    looked_at, documents = 0, 0
    for row in tx.all(chosen.where(columns.id > after).order_by(columns.id).limit(_ITEMS_AT_ONCE)):
        if documents and documents + row.segment_count > _DOCUMENTS_AT_ONCE:
            break
        looked_at, after = looked_at + 1, row.id
        if row.completed_at is not None and not _is_indexed(tx, row.id):
            index_item(tx, row.id)
            documents += row.segment_count + 1
    if looked_at:
        value = {"value": str(after).encode()}
        statement = tx.upsert(facts).values(name=SEARCHABLE, **value)
        tx.execute(statement.on_conflict_do_update(index_elements=[facts.c.name], set_=value))
    return looked_at


def _is_indexed(tx: Tx, item_id: int) -> bool:
    if tx.conn.dialect.name == "sqlite":
        return bool(_present(tx, item_id))
    table = search_documents
    return tx.first(sa.select(table.c.ordinal).where(table.c.run_item_id == item_id).limit(1)) is not None


def _present(tx: Tx, item_id: int, first: int = WHOLE) -> list[int]:
    bounds = row_id(item_id, first), row_id(item_id, _ORDINALS - 1)
    return list(tx.conn.exec_driver_sql(_PRESENT, bounds).scalars().all())


def _take_out(tx: Tx, present: Sequence[int]) -> None:
    """Delete these rows, whose texts are still as they were."""
    if present:
        rows = set(present)
        items = list(dict.fromkeys(found >> _ORDINAL_BITS for found in present))
        documents = _read_documents(tx, items, [read_row_id(found)[1] for found in present])
        _change(tx, _DELETE, [each for each in documents if row_id(each.item_id, each.ordinal) in rows])


def _change(tx: Tx, statement: str, documents: Sequence[Document]) -> None:
    if documents:
        rows = [
            (row_id(each.item_id, each.ordinal), scope_word(each.index_id), each.title, each.words)
            for each in documents
        ]
        tx.conn.exec_driver_sql(statement, rows)


_IDS: Final[sa.BindParameter[Any]] = sa.bindparam("ids", expanding=True)
_ITEMS: Final = (
    sa.select(
        run_items.c.id,
        run_items.c.video_metadata_text,
        run_items.c.video_metadata.is_not(None).label("has_document"),
        media.c.index_id,
        media.c.title,
    )
    .join(media, media.c.id == run_items.c.media_id)
    .where(run_items.c.id.in_(_IDS), run_items.c.completed_at.is_not(None))
)
_SEGMENTS: Final = sa.select(
    segment_results.c.run_item_id,
    segment_results.c.ordinal,
    segment_results.c.start_time,
    segment_results.c.end_time,
    segment_results.c.metadata_text,
).where(segment_results.c.run_item_id.in_(_IDS), segment_results.c.error.is_(None))
_CUES: Final = sa.select(transcripts.c.run_item_id, transcripts.c.cues).where(
    transcripts.c.run_item_id.in_(_IDS), transcripts.c.cues.is_not(None)
)


def _read_documents(tx: Tx, item_ids: Sequence[int], ordinals: Sequence[int] | None = None) -> list[Document]:
    """Return the documents of those of the items that have ended: at least the `ordinals`, all without."""
    items = {row.id: row for row in tx.execute(_ITEMS, {"ids": item_ids})}
    found = [
        Document(row.id, WHOLE, row.index_id, row.title, row.video_metadata_text[:_MOST_CHARACTERS])
        for row in items.values()
        if row.has_document and (ordinals is None or WHOLE in ordinals)
    ]
    for item_id, texts in _read_segments(tx, list(items), ordinals).items():
        its = items[item_id]
        found += [
            Document(item_id, ordinal, its.index_id, its.title, words) for ordinal, words in texts.items()
        ]
    return found


def _read_segments(tx: Tx, ids: Sequence[int], ordinals: Sequence[int] | None) -> dict[int, dict[int, str]]:
    """Return what is searched of each segment: its metadata text, and what is said in it."""
    chosen, ordinal = _SEGMENTS, segment_results.c.ordinal
    if ordinals is not None:
        few = len(ordinals) <= _DOCUMENTS_AT_ONCE
        chosen = chosen.where(
            ordinal.in_(set(ordinals)) if few else ordinal.between(min(ordinals), max(ordinals))
        )
    grouped: dict[int, list[Any]] = {}
    for row in tx.execute(chosen, {"ids": ids}) if ids else ():
        grouped.setdefault(row[0], []).append(row)
    said = _read_cues(tx, list(grouped)) if grouped else {}
    return {
        item_id: dict(zip((row[1] for row in its), _join_texts(its, said.get(item_id, ())), strict=True))
        for item_id, its in grouped.items()
    }


def _read_cues(tx: Tx, item_ids: Sequence[int]) -> dict[int, tuple[Cue, ...]]:
    rows = tx.execute(_CUES, {"ids": item_ids})
    return {row.run_item_id: tuple(Cue(*cue[:3]) for cue in row.cues) for row in rows}


def _join_texts(rows: Sequence[Any], cues: Sequence[Cue]) -> list[str]:
    texts = [row[4] for row in rows]
    if cues:
        spoken = texts_within(cues, ((row[2], row[3]) for row in rows))
        texts = [f"{text}\n{words}" if words else text for text, words in zip(texts, spoken, strict=True)]
    return [text[:_MOST_CHARACTERS] for text in texts]


def _to_rows(documents: Sequence[Document]) -> list[dict[str, Any]]:
    return [
        {
            "run_item_id": each.item_id,
            "ordinal": each.ordinal,
            "index_id": each.index_id,
            "words": _to_vector(each.title, each.words),
        }
        for each in documents
    ]


def _to_vector(title: str, text: str) -> str:
    """Return PostgreSQL's form of a document; the words of the title weigh less, and no phrase joins the two."""
    places: dict[str, list[str]] = {}
    at = 0
    for part, weight in ((title, "D"), (text, "A")):
        for word in words_of(normalize("NFC", part)):
            at = min(at + 1, _LAST_PLACE)
            if len(word.folded) <= _LONGEST_WORD:
                places.setdefault(word.folded, []).append(f"{at}{weight}")
        at = min(at + 2, _LAST_PLACE)
    return " ".join(f"'{word}':{','.join(at)}" for word, at in places.items())
