"""How pages say times, sizes and states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_SIZES: Final = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True)
class Moment:
    """A time: relative, exact in UTC, and as ISO-8601 for machines."""

    relative: str
    exact: str
    iso: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A state as a word and a kind, which has a shape (`draw_icon`): never as a colour alone."""

    word: str
    kind: str


def describe_seconds(seconds: float) -> str:
    """Return a length in its two largest units: `2 h 5 min`, `40 s`."""
    left, parts = max(0, int(seconds)), []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def describe_moment(at: float | str | None, now: float) -> Moment | None:
    """Return a time in epoch seconds or ISO-8601 as pages show it, seen from `now`; None stays None."""
    if at is None:
        return None
    moment = datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)
    moment = moment.astimezone(UTC)
    ago = now - moment.timestamp()
    relative = f"in {describe_seconds(-ago)}" if ago <= -1 else f"{describe_seconds(ago)} ago"
    exact = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    return Moment("now" if abs(ago) < 1 else relative, exact, f"{moment:%Y-%m-%dT%H:%M:%S}Z")


def describe_bytes(size: float | None) -> str:
    """Return a size in decimal units: `1.2 GB`; empty for None."""
    if size is None:
        return ""
    power = 0
    while size >= 999.5 and power < len(_SIZES) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.0f} {_SIZES[power]}" if power == 0 or size >= 99.95 else f"{size:.1f} {_SIZES[power]}"


def choose_noun(count: int, one: str, several: str = "") -> str:
    """Return what so many are called; without a word for `several`, the one with an s."""
    return one if count == 1 else several or f"{one}s"


def describe_amount(count: int, one: str, several: str = "") -> str:
    """Return a number with its noun: `1 file`, `2,000 files`."""
    return f"{count:,} {choose_noun(count, one, several)}"


_SHAPES: Final = {
    "good": "M1 5.5 4 8.5 9 2",
    "bad": "M1.5 1.5l7 7m0-7l-7 7",
    "warn": "M5 1.5 9 8.5H1z",
    "busy": "M5 2.5a2.5 2.5 0 1 0 .01 0z",
    "idle": "M3 1v8m4-8v8",
    "none": "M5 1.5a3.5 3.5 0 1 0 .01 0z",
}
_FILLED: Final = frozenset(("warn", "busy"))
_STATES: Final = {
    "good": "active completed complete delivered found full healthy imported manual max_wait processed quiet ready"
    " resumed success succeeded watched",
    "bad": "dead_letter deleted disabled failed failing lost",
    "warn": "completed_with_failures degraded incomplete partial retrying unproven waiting",
    "busy": "importing leased open pending processing queued running scanning starting testing",
    "idle": "cancelled held paused skipped",
}
_KINDS: Final = {state: kind for kind, states in _STATES.items() for state in states.split()}


def mark_state(state: str) -> Mark:
    """Return the mark of a state of the API; unknown states get a neutral one."""
    kind = _KINDS.get(state, "none")
    return Mark(state.replace("_", " "), kind)


def draw_icon(kind: str) -> Markup:
    """Return the shape of a kind, `good`, `bad`, `warn`, `busy`, `idle` or `none`: not every font has such a letter."""
    filled = " filled" if kind in _FILLED else ""
    return Markup(
        '<svg class="icon{}" viewBox="0 0 10 10" width="10" height="10" aria-hidden="true"><path d="{}"/></svg>'
    ).format(filled, _SHAPES[kind])
