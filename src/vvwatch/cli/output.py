"""Output: JSON for programs, text for people."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TextIO

import click

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def choose_colour(environ: Mapping[str, str], *, refused: bool) -> bool | None:
    """Return whether to use colours: False or True if the user decided, None to let the stream decide."""
    if refused or environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return True if environ.get("FORCE_COLOR") else None


def is_terminal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether `stream` is a terminal that can be redrawn."""
    return stream.isatty() and environ.get("TERM") != "dumb"


def is_coloured() -> bool:
    """Return whether the user of this command allows colours."""
    context = click.get_current_context(silent=True)
    return context is None or context.color is not False


def format_cost(usd: float, unpriced_calls: int) -> str:
    """Return the cost of calls; `unpriced_calls` have no known price, and unknown is not zero."""
    if unpriced_calls and not usd:
        return "unknown cost"
    least = "at least " if unpriced_calls else ""
    return f"{least}{usd:.4f} USD"


def print_json(document: object) -> None:
    """Print `document` as JSON: indented on a terminal, else on one line."""
    click.echo(to_json(document, indent=2 if sys.stdout.isatty() else None))


def to_json(document: object, indent: int | None = None) -> str:
    """Return `document` as JSON text. Bytes that are not UTF-8, as in some file names, become escapes."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace").decode()


def escape_controls(text: str) -> str:
    """Return `text` with control characters escaped: keys and messages come from outside."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def format_duration(seconds: float) -> str:
    """Return a span in its two largest units, `1h 5m`, `42s`; with a decimal below ten seconds."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    rest, parts = round(seconds), list[str]()
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0"))


def format_ago(moment: str | None, now: float | None = None) -> str:
    """Return how long ago an ISO moment was; `-` for None."""
    at = parse_moment(moment)
    return "-" if at is None else f"{format_duration((time.time() if now is None else now) - at)} ago"


def format_until(moment: str | None, now: float | None = None) -> str:
    """Return how far away an ISO moment is; `now` if it has passed, `-` for None."""
    at = parse_moment(moment)
    left = None if at is None else at - (time.time() if now is None else now)
    return "-" if left is None else "now" if left <= 0 else f"in {format_duration(left)}"


def parse_moment(moment: str | None) -> float | None:
    """Return the epoch seconds of an ISO moment; None for None."""
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def format_size(count: float | None) -> str:
    """Return bytes for people, `812 B`, `1.2 MB`; `-` for None."""
    if count is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.95 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def pluralize(count: int, noun: str) -> str:
    """Return `1 file`, `3 files`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def cell_text(value: Any) -> str:
    """Return a field for a column; `-` if it is empty."""
    return "-" if value in (None, "", []) else str(value)
