"""Decide when a local file is complete: it stays unchanged for the settle time."""

from __future__ import annotations

from typing import NamedTuple

from vvwatch.core.objects import StorageObject


class Sighting(NamedTuple):
    """The state of a file, and since when it is unchanged; `since` is in monotonic seconds."""

    version: str
    changed_at: float
    since: float


def note_sighting(previous: Sighting | None, obj: StorageObject, monotonic: float) -> Sighting:
    """Return the sighting after `obj` was seen at `monotonic`; any change restarts it.

    `changed_at` is compared, never measured against a clock: a file may carry any time.
    """
    if previous is not None and previous[:2] == (obj.version, obj.changed_at):
        return previous
    return Sighting(obj.version, obj.changed_at, monotonic)


def remaining_seconds(sighting: Sighting, settle_seconds: float, monotonic: float) -> float:
    """Return the seconds until an unchanged file is settled; 0 when it is."""
    return max(0.0, sighting.since + settle_seconds - monotonic)


def is_settled(sighting: Sighting, settle_seconds: float, monotonic: float) -> bool:
    """Return whether the file is unchanged for `settle_seconds`."""
    return remaining_seconds(sighting, settle_seconds, monotonic) == 0.0
