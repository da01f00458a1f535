"""Find results by words, the best first, and of equally good ones the newest.

The rank is BM25 on SQLite and `ts_rank` on PostgreSQL; words of the title weigh less. Where very many match, only the
newest are ranked, so that a search takes a bounded time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSQUERY

from vvwatch.core.identities import WHOLE
from vvwatch.core.words import Query
from vvwatch.store.catalog.deleted import is_not_deleted
from vvwatch.store.db.database import Tx
from vvwatch.store.db.time_limits import limited
from vvwatch.store.runs.search_documents import row_id, scope_word
from vvwatch.store.runs.search_queries import Level, SearchHit, SearchScope, read_hits
from vvwatch.store.schema import media, run_items, search_documents

MOST_RANKED: Final = 20_000
"""The most matches that are ranked; of more, the newest."""

_MAX_SECONDS: Final = 5.0
_RANKING: Final = "bm25(0.0, 0.3, 1.0)"
_NARROW: Final = "name an index, runs or media, or search for rarer words"
_EVERYTHING: Final = (0, (1 << 63) - 1)


@dataclass(frozen=True, slots=True)
class RankedPlaces:
    """All that were ranked, as item and ordinal; `every`: these are all that match."""

    places: Sequence[tuple[int, int]]
    every: bool


@dataclass(frozen=True, slots=True)
class Ranked:
    """Results from the asked place on; `count` of all that were ranked, `every`: these are all that match."""

    hits: Sequence[SearchHit]
    count: int
    every: bool


class _Match(NamedTuple):
    """Sorted as results are: best match, newest item, first segment."""

    worse: float
    order: tuple[int, int]

    @property
    def place(self) -> tuple[int, int]:
        """Item and ordinal."""
        return -self.order[0], self.order[1]


def find_ranked(
    tx: Tx, query: Query, scope: SearchScope, level: Level, part: slice, *, any_word: bool = False
) -> Ranked:
    """Return the `part` of the results that have all words of the query, or `any_word`.

    Raises InvalidInput if that takes too long.
    """
    found = rank_places(tx, query, scope, level, any_word=any_word)
    return Ranked(read_hits(tx, found.places[part]), len(found.places), found.every)


def rank_places(
    tx: Tx, query: Query, scope: SearchScope, level: Level, *, any_word: bool = False
) -> RankedPlaces:
    """Return where all words of the query are, or `any_word`, the best first. Raises InvalidInput as `find_ranked`."""
    with limited(tx, _MAX_SECONDS, _NARROW):
        rows = tx.execute(_select_matches(tx, query, scope, level, any_word=any_word)).all()
    matches = [_Match(row.worse, (-row.item_id, row.ordinal)) for row in rows]
    if level == "video":
        best: dict[int, _Match] = {}
        for match in sorted(matches, reverse=True):
            best[match.order[0]] = _Match(match.worse, (match.order[0], WHOLE))
        matches = list(best.values())
    return RankedPlaces([match.place for match in sorted(matches)], len(rows) < MOST_RANKED)


def _select_matches(
    tx: Tx, query: Query, scope: SearchScope, level: Level, *, any_word: bool
) -> sa.Select[Any]:
    if tx.conn.dialect.name == "sqlite":
        return _select_on_sqlite(tx, query, scope, level, any_word=any_word)
    table, words = search_documents.c, sa.cast(_to_tsquery(query, any_word=any_word), TSQUERY)
    worse = (-sa.func.ts_rank(table.words, words)).label("worse")
    chosen = sa.select(table.run_item_id.label("item_id"), table.ordinal, worse)
    chosen = chosen.join(run_items, run_items.c.id == table.run_item_id)
    chosen = chosen.where(table.words.op("@@")(words), *in_scope(scope))
    if level == "segment":
        chosen = chosen.where(table.ordinal > WHOLE)
    chosen = chosen.join(media, media.c.id == run_items.c.media_id)
    return chosen.order_by(table.run_item_id.desc(), table.ordinal.desc()).limit(MOST_RANKED)


def in_scope(scope: SearchScope) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on items and their media."""
    wanted = [is_not_deleted(media.c.id), is_not_deleted(media.c.index_id)]
    for column, ids in (
        (media.c.index_id, scope.index_ids),
        (run_items.c.run_id, scope.run_ids),
        (run_items.c.media_id, scope.video_ids),
    ):
        wanted += [column.in_(ids)] if ids else []
    return wanted


def _select_on_sqlite(
    tx: Tx, query: Query, scope: SearchScope, level: Level, *, any_word: bool
) -> sa.Select[Any]:
    """Select from the virtual table first: its rows in descending order, without a sort."""
    table = sa.table("search_text", sa.column("search_text"), sa.column("rowid"), sa.column("rank"))
    row, ordinal = table.c.rowid, table.c.rowid.op("&")(row_id(1, WHOLE) - 1) - 1
    lowest, highest = _row_bounds(tx, scope)
    matching = sa.select(row.label("row"), ordinal.label("ordinal"), table.c.rank.label("worse")).where(
        table.c.search_text.op("MATCH")(_to_match(query, scope, any_word=any_word)),
        table.c.rank.op("MATCH")(_RANKING),
        row.between(lowest, highest),
    )
    if level == "segment":
        matching = matching.where(ordinal > WHOLE)
    found = matching.order_by(row.desc()).subquery()
    item = run_items.c.id == found.c.row.op(">>")(sa.literal_column(str(row_id(1, WHOLE).bit_length() - 1)))
    chosen = sa.select(run_items.c.id.label("item_id"), found.c.ordinal, found.c.worse)
    chosen = chosen.select_from(found).join(run_items, item).join(media, media.c.id == run_items.c.media_id)
    return chosen.where(*in_scope(scope)).order_by(found.c.row.desc()).limit(MOST_RANKED)


def _row_bounds(tx: Tx, scope: SearchScope) -> tuple[int, int]:
    """Return the rows between which documents of these runs or media are."""
    if not scope.run_ids and not scope.video_ids:
        return _EVERYTHING
    ids = run_items.c.id
    chosen = sa.select(sa.func.min(ids), sa.func.max(ids))
    chosen = chosen.where(run_items.c.run_id.in_(scope.run_ids)) if scope.run_ids else chosen
    chosen = chosen.where(run_items.c.media_id.in_(scope.video_ids)) if scope.video_ids else chosen
    first, last = tuple(tx.execute(chosen).one())
    return (row_id(first, WHOLE), row_id(last + 1, WHOLE)) if first is not None else (0, 0)


def _to_match(query: Query, scope: SearchScope, *, any_word: bool) -> str:
    """Return the query in the language of FTS5: quoted words of letters and digits alone, so nothing is syntax."""
    phrases = [f'"{" ".join(phrase)}"' for phrase in query.phrases]
    if query.prefix:
        phrases[-1] += " *"
    text = "{title words} : (" + (" OR " if any_word else " AND ").join(phrases) + ")"
    scopes = " OR ".join(f'"{scope_word(index_id)}"' for index_id in scope.index_ids)
    return f"scope : ({scopes}) AND {text}" if scopes else text


def _to_tsquery(query: Query, *, any_word: bool) -> str:
    """Return the query in the form of a tsquery."""
    phrases = [[f"'{word}'" for word in phrase] for phrase in query.phrases]
    if query.prefix:
        phrases[-1][-1] += ":*"
    joined = [f"({' <-> '.join(phrase)})" for phrase in phrases]
    return (" | " if any_word else " & ").join(joined)
