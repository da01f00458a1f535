"""What the rules look at: settings whose fields are sound, and what is known to be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vvwatch.config.lines import Loc
from vvwatch.config.models import Settings


@dataclass(frozen=True)
class Checked:
    """Settings, the document they were read from, and where that was already found wrong."""

    settings: Settings
    document: dict[str, Any] = field(repr=False)
    wrong: frozenset[Loc]

    def names(self, section: str) -> list[str]:
        """The names of the tables in `section`, whether they are sound or not."""
        tables = self.document.get(section)
        if not isinstance(tables, dict):
            return []
        return [name for name, table in tables.items() if isinstance(table, dict)]

    def sound(self, loc: Loc) -> bool:
        """Whether the value at `loc` is what the document says, rather than a default in its place."""
        return not any(each == loc[: len(each)] or loc == each[: len(loc)] for each in self.wrong)
