"""Lists of rows with time-ordered ids, newest first: all of them, those under way, or those that need a person."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa

Show = Literal["", "open", "attention"]
"""Which rows a list shows: all, those that have not ended, or those whose failure nobody retried or dismissed."""


def select_shown(
    table: sa.Table, show: Show, needs_attention: sa.ColumnElement[bool], before_id: str | None
) -> sa.Select[Any]:
    """Return the query of these rows, older than `before_id`, newest first. Each choice has an index of its own."""
    chosen = sa.select(table).order_by(table.c.id.desc())
    if show:
        chosen = chosen.where(table.c.completed_at.is_(None) if show == "open" else needs_attention)
    return chosen if before_id is None else chosen.where(table.c.id < before_id)
