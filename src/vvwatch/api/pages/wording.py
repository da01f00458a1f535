"""How pages say times, sizes and states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

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
    """A state as an icon, a word and a kind (`good`, `bad`, `warn`, `busy`, `idle`): never as a colour alone."""

    icon: str
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


_ICONS: Final = {"good": "✓", "bad": "✕", "warn": "▲", "busy": "●", "idle": "‖", "none": "○"}
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
    return Mark(_ICONS[kind], state.replace("_", " "), kind)
