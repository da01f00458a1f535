"""The statuses of an export, and the key of its file in a connector."""

from __future__ import annotations

from enum import StrEnum

from vvwatch.errors import InvalidInput


class ExportType(StrEnum):
    """The contents of an export: an index's results, optionally of one run, or a run's."""

    INDEX = "index"
    PROMPT_RUN = "prompt_run"


class ExportStatus(StrEnum):
    """The state of an export as its requester sees it."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class QueueStatus(StrEnum):
    """The state of an export's work; `failed` waits for another attempt, `dead_letter` has none left."""

    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    DEAD_LETTER = "dead_letter"


def destination_key(base_path: str | None, subpath: str | None, export_id: str) -> str:
    """`<base path>/<subpath>/<export id>.json`, relative to the connector's location, without empty segments.

    Raises InvalidInput when a part is absolute, climbs, or holds a backslash or control character.
    """
    parts = (
        check_subpath(base_path, "export_base_path"),
        check_subpath(subpath, "destination_subpath"),
        check_subpath(f"{export_id}.json", "export_id"),
    )
    return "/".join(part for part in parts if part)


def manifest_key(key: str) -> str:
    """Return the key of the manifest for the artefact at `key`: beside it, sorted after it."""
    return f"{key.removesuffix('.json')}.manifest.json"


def check_subpath(path: str | None, name: str = "destination_subpath") -> str:
    """Return `path` without empty or `.` segments ("" for none); `name` identifies it in an InvalidInput."""
    segments = (path or "").split("/")
    if (path or "").startswith("/"):
        raise InvalidInput(f"{name} {path!r} is absolute", "leave out the leading slash")
    if ".." in segments:
        raise InvalidInput(f"{name} {path!r} leaves the location", "leave out the '..' segments")
    if not all(character.isprintable() and character != "\\" for character in path or ""):
        raise InvalidInput(f"{name} {path!r} has an unusable character", "use '/' and printable characters")
    return "/".join(segment for segment in segments if segment not in {"", "."})
