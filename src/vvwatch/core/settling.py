"""When a local file counts as complete: it has been seen unchanged for the settle time."""

from __future__ import annotations

from typing import NamedTuple

from vvwatch.core.objects import StorageObject


class Sighting(NamedTuple):
    """What a file looked like, and since when it has; `since` is in monotonic seconds."""

    version: str
    changed_at: float
    since: float


def note_sighting(previous: Sighting | None, obj: StorageObject, monotonic: float) -> Sighting:
    """The sighting after `obj` was seen at `monotonic`: it starts anew when anything moved.

    `changed_at` is compared, never measured against a clock: a file may carry any time of its own.
    """
    if previous is not None and previous[:2] == (obj.version, obj.changed_at):
        return previous
    return Sighting(obj.version, obj.changed_at, monotonic)


def remaining_seconds(sighting: Sighting, settle_seconds: float, monotonic: float) -> float:
    """Seconds until the file is settled if it stays as it is; 0 when it is."""
    return max(0.0, sighting.since + settle_seconds - monotonic)


def is_settled(sighting: Sighting, settle_seconds: float, monotonic: float) -> bool:
    """Whether the file has stood still for `settle_seconds`."""
    return remaining_seconds(sighting, settle_seconds, monotonic) == 0.0
