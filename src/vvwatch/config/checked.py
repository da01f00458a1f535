"""The input of the rules: settings with sound fields, and the known faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vvwatch.config.models import Settings
from vvwatch.options.findings import Loc


@dataclass(frozen=True)
class Checked:
    """Settings, their source document, and the places already found wrong."""

    settings: Settings
    document: dict[str, Any] = field(repr=False)
    wrong: frozenset[Loc]

    def names(self, section: str) -> list[str]:
        """Return the table names in `section`, sound or not."""
        tables = self.document.get(section)
        if not isinstance(tables, dict):
            return []
        return [name for name, table in tables.items() if isinstance(table, dict)]

    def sound(self, loc: Loc) -> bool:
        """Return whether the value at `loc` comes from the document, and is not a default for a wrong one."""
        return not any(each == loc[: len(each)] or loc == each[: len(loc)] for each in self.wrong)
