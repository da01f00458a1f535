"""Queries that show windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from vvwatch.store.db.database import Tx
from vvwatch.store.db.typed import first_of, model_of, models_of
from vvwatch.store.models.watching import WindowWithPolicy
from vvwatch.store.schema import import_automations, windows
from vvwatch.store.watching import automations
from vvwatch.store.watching import windows as store

T = TypeVar("T")

_with_automation = sa.select(
    windows,
    import_automations.c.index_id,
    import_automations.c.quiet_seconds,
    import_automations.c.max_wait_seconds,
    import_automations.c.max_objects,
).join(import_automations, import_automations.c.id == windows.c.automation_id)


def find_open(tx: Tx, automation_id: str) -> WindowWithPolicy | None:
    """Return the automation's open window with its policy, or None."""
    its_open = windows.c.automation_id == automation_id, windows.c.state == "open"
    return first_of(WindowWithPolicy, tx.execute(_with_automation.where(*its_open)))


def find_open_of_index(tx: Tx, index_id: str) -> WindowWithPolicy | None:
    """Return the open window of the index, or None. Raises NotFound for the index or its import automation."""
    return find_open(tx, automations.get_import(tx, index_id).id)


def steer_window(tx: Tx, steer: Callable[[Tx, str], T], index_id: str) -> tuple[WindowWithPolicy, T]:
    """Apply `steer` to the index's open window; return the window afterwards and the result of `steer`.

    Raises NotFound for the index or its import automation, and what `steer` raises if no window is open.
    """
    automation_id = automations.get_import(tx, index_id).id
    store.lock_automation(tx, automation_id)
    window = find_open(tx, automation_id)
    answer = steer(tx, automation_id)
    assert window is not None  # noqa: S101  # `steer` would have raised
    after = tx.execute(_with_automation.where(windows.c.id == window.id)).one()
    return model_of(WindowWithPolicy, after), answer


def list_newest(
    tx: Tx, *, state: str | None, index_id: str | None, limit: int, before_seq: int | None = None
) -> list[WindowWithPolicy]:
    """List windows with their policies, newest first, before the one numbered `before_seq`."""
    wanted = [windows.c.seq < before_seq] if before_seq is not None else []
    wanted += [windows.c.state == state] if state else []
    wanted += [import_automations.c.index_id == index_id] if index_id else []
    found = _with_automation.where(*wanted).order_by(windows.c.seq.desc()).limit(limit)
    return models_of(WindowWithPolicy, tx.all(found))
