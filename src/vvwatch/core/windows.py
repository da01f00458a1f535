"""When a window closes: a quiet period with a ceiling."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_CEILING_FACTOR: Final = 6
_DAY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """A window closes `quiet_seconds` after its last change, at most `max_wait_seconds` after its first."""

    quiet_seconds: float
    max_wait_seconds: float
    max_objects: int


class CloseReason(StrEnum):
    """Why a window closed; a person causes `manual` and `resumed`."""

    QUIET = "quiet"
    MAX_WAIT = "max_wait"
    FULL = "full"
    MANUAL = "manual"
    RESUMED = "resumed"


def default_max_wait(quiet_seconds: float) -> float:
    """Return six quiet periods, at most a day, at least one quiet period."""
    return max(quiet_seconds, min(_CEILING_FACTOR * quiet_seconds, _DAY_SECONDS))


def due_at(policy: WindowPolicy, opened_at: float, last_change_at: float, object_count: int) -> float:
    """Return when the window closes if nothing more arrives; a full one was due at its last change."""
    if object_count >= policy.max_objects:
        return last_change_at
    return min(last_change_at + policy.quiet_seconds, opened_at + policy.max_wait_seconds)


def close_reason(
    policy: WindowPolicy, *, opened_at: float, last_change_at: float, object_count: int, now: float
) -> CloseReason | None:
    """Return why the window closes at `now`, or None if it is not due."""
    if object_count >= policy.max_objects:
        return CloseReason.FULL
    if now < due_at(policy, opened_at, last_change_at, object_count):
        return None
    quiet_first = last_change_at + policy.quiet_seconds <= opened_at + policy.max_wait_seconds
    return CloseReason.QUIET if quiet_first else CloseReason.MAX_WAIT


def clamp_to_now(opened_at: float, last_change_at: float, now: float) -> tuple[float, float]:
    """Return `opened_at` and `last_change_at`, neither in the future: a clock set back holds no window open.

    The window is then due at most `max_wait_seconds` after `now`. A sound clock changes nothing.
    """
    return min(opened_at, now), min(last_change_at, now)
