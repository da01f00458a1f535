"""The pictures of run items: one pack each, in a file of one node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from vvwatch.core.pictures import PicturePack, may_be_on, parse_contents
from vvwatch.core.runs import ItemStatus
from vvwatch.store.db.database import Tx, upsert
from vvwatch.store.schema import item_journals, pictures, run_items, segment_retries

_UNENDED = (ItemStatus.PENDING, ItemStatus.PROCESSING)


def store_pack(tx: Tx, item_id: int, pack: PicturePack | None) -> None:
    """Record the pictures of the item, in place of those before, which belong to other results."""
    if pack is None:
        tx.execute(sa.delete(pictures).where(pictures.c.run_item_id == item_id))
        return
    values = {
        "node": pack.node,
        "contents": {"file": pack.file, **asdict(pack.contents)},
        "size_bytes": pack.size_bytes,
        "created_at": tx.now,
    }
    statement = upsert(tx.conn.dialect.name, pictures).values(run_item_id=item_id, **values)
    tx.execute(statement.on_conflict_do_update(index_elements=[pictures.c.run_item_id], set_=values))


def load_packs(tx: Tx, item_ids: Sequence[int]) -> dict[int, PicturePack]:
    """Return the pictures of those of the items that have any, by item."""
    chosen = sa.select(pictures).where(pictures.c.run_item_id.in_(item_ids))
    return {row.run_item_id: _read_pack(row) for row in tx.all(chosen)}


def _read_pack(row: Any) -> PicturePack:
    return PicturePack(row.contents["file"], row.node, row.size_bytes, parse_contents(row.contents))


def find_needed(tx: Tx, node: str, files: Mapping[str, int]) -> set[str]:
    """Return which of the files of `node`, each of an item, are needed: recorded, planned, or of work under way."""
    ids = sorted(set(files.values()))
    busy = _list_busy(tx, ids)
    named = {pack.file for pack in load_packs(tx, ids).values() if may_be_on(node, pack)}
    needed = {name for name, item_id in files.items() if item_id in busy or name in named}
    unclear = {files[name] for name in files.keys() - needed}
    return needed | (_list_planned(tx, node, sorted(unclear)) & files.keys())


def _list_busy(tx: Tx, item_ids: Sequence[int]) -> set[int]:
    """Return the items that are under way or tried again; their pictures are recorded when that ends."""
    retried = sa.exists().where(
        segment_retries.c.run_item_id == run_items.c.id, segment_retries.c.completed_at.is_(None)
    )
    busy = sa.or_(run_items.c.status.in_(_UNENDED), retried)
    return set(tx.execute(sa.select(run_items.c.id).where(run_items.c.id.in_(item_ids), busy)).scalars())


def _list_planned(tx: Tx, node: str, item_ids: Sequence[int]) -> set[str]:
    """Return the files that journals name: a retry of the item uses its plan again."""
    table = item_journals.c
    plans = tx.execute(sa.select(table.plan).where(table.run_item_id.in_(item_ids), table.plan.is_not(None)))
    found = (plan.get("pictures") for plan in plans.scalars())
    return {each["file"] for each in found if each and (each["node"] in ("", node) or not node)}
