"""Transactions that several nodes run at once for every object: ordered by row locks, and not run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_BY_LOCKS: Final = "_by_locks"


class Overtaken(Exception):
    """Raised by a `by_locks` transaction that finds at its end that another was first; it is rolled back."""


def by_locks(fn: F) -> F:
    """Mark a transaction that several nodes run at once on the same rows, and that is ordered by row locks alone.

    PostgreSQL runs it READ COMMITTED, so concurrent work never makes it run again. It is correct because it keeps three
    rules:

    * Its decisions depend on few rows that guard it: an automation, an import job, a run, a webhook, or the row itself.
      It writes those (`Tx.guard`, `Tx.claim`, an update) or locks them before it reads what depends on them. Each
      statement sees all that was committed when it began, so it sees the changes of those it waited for.
    * An unmarked transaction is SERIALIZABLE and acts on an old snapshot. It notices that the guard was written since,
      but not that it was only locked; so whatever such transactions touch too is guarded by a write.
    * It changes unguarded rows only on the condition that they are still as they were read.

    SQLite has one writer, so none of this matters there.
    """
    setattr(fn, _BY_LOCKS, True)
    return fn


def is_by_locks(fn: Callable[..., Any]) -> bool:
    """Return whether the transaction is ordered by row locks."""
    return getattr(fn, _BY_LOCKS, False)
