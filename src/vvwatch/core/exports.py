"""The statuses of an export, its options, and the key of its file in a connector."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Self

from vvwatch.core.export_names import check_template
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


JSON: Final = "json"
"""The name of the one format that is not among the others: the document."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The formats and the layout of an export; the usual ones give one JSON document and its manifest.

    `name` is a template of names, None the usual one. `files`: one file for each `run`, or for each `item`.
    `sidecars`: the files of items stand beside their sources. `latest`: a pointer leads to the newest export.
    """

    formats: tuple[str, ...] = (JSON,)
    name: str | None = None
    files: str = "run"
    sidecars: bool = False
    pretty: bool = False
    latest: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return the options that `document` returned."""
        return cls(**{**document, "formats": tuple(document["formats"])})

    def document(self) -> dict[str, Any] | None:
        """Return the options for the database; None for the usual ones."""
        return None if self == USUAL_OPTIONS else {**asdict(self), "formats": list(self.formats)}


USUAL_OPTIONS: Final = ExportOptions()
"""One JSON document and its manifest."""


def check_options(options: ExportOptions, known: Collection[str]) -> None:
    """Raise InvalidInput for options that cannot be; `known` are the names of the formats but for `json`."""
    choices = [JSON, *known]
    if unknown := [name for name in options.formats if name not in choices]:
        raise InvalidInput(f"there is no format {unknown[0]!r}", f"the formats are {', '.join(choices)}")
    if not options.formats or len(set(options.formats)) < len(options.formats):
        raise InvalidInput(
            "formats must name each format once, and at least one", f"such as {', '.join(choices)}"
        )
    if options.name is not None:
        check_template(options.name)


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
