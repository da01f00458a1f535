"""What is wrong with a configuration, one thing at a time. Apart from the errors, which only carry it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration: where it is, what it is, what would be right.

    `file` is a path, or `environment` or `flags`; `line` counts from 1 and is None where there are no lines.
    """

    file: str
    line: int | None
    key: str
    what: str
    allowed: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """`file:line key: what (allowed: …) — hint`, without the parts that are empty."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        where = " ".join(part for part in (place, self.key) if part)
        allowed = f" (allowed: {self.allowed})" if self.allowed else ""
        hint = f" — {self.hint}" if self.hint else ""
        return f"{where}: {self.what}{allowed}{hint}"
