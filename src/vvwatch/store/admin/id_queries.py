"""Finds the whole ids that a shortened one may mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.schema import deliveries, exports, import_jobs, media, prompt_runs, windows

TABLES: Final[Mapping[str, sa.Table]] = {
    "job": import_jobs,
    "run": prompt_runs,
    "exp": exports,
    "del": deliveries,
    "vid": media,
    "win": windows,
}
"""The prefix of an id to the table of what has such ids."""


def list_like(tx: Tx, kind: str, part: str, most: int) -> Sequence[str]:
    """Return at most `most` ids of this kind, newest first, that begin (after their prefix) or end with `part`."""
    column = TABLES[kind].c.id
    wanted = sa.or_(
        column.startswith(f"{kind}_{part}", autoescape=True), column.endswith(part, autoescape=True)
    )
    return tx.execute(sa.select(column).where(wanted).order_by(column.desc()).limit(most)).scalars().all()
