"""Transactions that several nodes run at once for every object: in order by row locks, and not run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_BY_LOCKS: Final = "_by_locks"


class Overtaken(Exception):
    """Raised by a transaction `by_locks` that finds at its end that another was first: nothing of it stands."""


def by_locks(fn: F) -> F:
    """Mark a transaction that several nodes run at once on the same things, and that keeps order by row locks alone.

    PostgreSQL runs it READ COMMITTED, so it is never run again because others were at work beside it. It is right
    because it keeps three rules:

    * What it decides on hangs on few rows that guard it: an automation, an import job, a run, a webhook, or the row
      itself. It writes those (`Tx.guard`, `Tx.claim`, an update) or locks them before it reads what hangs on them;
      each statement sees all that was committed when it began, so it sees what those did that it waited for.
    * A transaction that is not marked is SERIALIZABLE and acts on an old snapshot. It finds out when the guard was
      written since, not when it was only locked; so whatever such transactions touch as well is guarded by a write.
    * What it changes without a guard, it changes on the condition that it is still as it was read.

    SQLite has one writer, where all of this means nothing.
    """
    setattr(fn, _BY_LOCKS, True)
    return fn


def is_by_locks(fn: Callable[..., Any]) -> bool:
    """Whether the transaction keeps order by row locks."""
    return getattr(fn, _BY_LOCKS, False)
