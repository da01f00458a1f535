"""The check that all state machines share: a table from a status to its successors."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from vvwatch.errors import Conflict

Status = TypeVar("Status", bound=StrEnum)


def check_status(table: Mapping[Status, frozenset[Status]], frm: Status, to: Status) -> None:
    """Raises Conflict unless `table` leads from `frm` to `to`."""
    if to not in table[frm]:
        allowed = ", ".join(sorted(table[frm])) or "nothing: it is final"
        raise Conflict(f"what is {frm} cannot become {to}", f"after {frm} may follow {allowed}")
