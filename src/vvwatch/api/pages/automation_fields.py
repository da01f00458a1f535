"""The inputs of automations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vvwatch.api.pages.forms import Field, to_values
from vvwatch.api.routes.automations import ExportAutomation, ImportAutomation
from vvwatch.core.exports import JSON
from vvwatch.core.processors import ProcessorNames
from vvwatch.formats.registry import FORMATS
from vvwatch.store.catalog import catalog
from vvwatch.store.db.database import Tx
from vvwatch.store.models.catalog import Connector, Index, Prompt

INDEX: Final = "index_name"
_MODES: Final = (
    ("", "as the connector says"),
    ("all", "all files, and changed ones again"),
    ("new_only", "new files only"),
)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person may choose from."""

    indexes: Sequence[Index]
    sources: Sequence[Connector]
    destinations: Sequence[Connector]
    prompts: Sequence[Prompt]


def read_choices(tx: Tx) -> Choices:
    """Return what automations are made of."""
    connectors = catalog.list_connectors(tx)
    return Choices(
        indexes=catalog.list_indexes(tx),
        sources=[row for row in connectors if "import" in row.scopes],
        destinations=[row for row in connectors if "export" in row.scopes],
        prompts=catalog.list_prompts(tx, include_defaults=True),
    )


def list_import_fields(choices: Choices, names: ProcessorNames) -> list[Field]:
    """Return the inputs of an import automation."""
    processors = (("", "the default"), *((name, name) for name in names.infos))
    return [
        Field("connector_id", "Connector", "select", required=True, choices=_connectors(choices.sources)),
        Field("source_prefix", "Folder", hint="empty: everything there"),
        Field("file_pattern", "Files", hint="a glob, such as *.{mp4,mov} or **/final/*.wav", required=True),
        Field("recursive", "With subfolders", "checkbox"),
        Field("exclude", "Not these", "lines", "one pattern on a line"),
        Field("min_size_bytes", "Smallest size in bytes", "number"),
        Field("max_size_bytes", "Largest size in bytes", "number"),
        Field(
            "debounce_interval",
            "A window closes after a quiet time of",
            "select",
            choices=(("5m", "5 minutes"), ("10m", "10 minutes"), ("1h", "1 hour"), ("1d", "1 day")),
        ),
        Field(
            "prompt_preset.prompt_id",
            "Prompt",
            "select",
            choices=tuple((row.id, row.name) for row in choices.prompts),
        ),
        Field("prompt_preset.processing_model", "Answered by", "select", choices=processors),
        Field("import_mode_override", "What is imported", "select", choices=_MODES),
        Field("enabled", "Enabled", "checkbox"),
    ]


def list_export_fields(choices: Choices) -> list[Field]:
    """Return the inputs of an export automation."""
    destinations = (("", "nowhere: results stay here"), *_connectors(choices.destinations))
    return [
        Field("destination_connector_id", "Deliver results to", "select", choices=destinations),
        Field("destination_subpath", "Folder there"),
        Field("options.formats", "Formats", "set", choices=tuple((name, name) for name in (JSON, *FORMATS))),
    ]


def _connectors(rows: Sequence[Connector]) -> tuple[tuple[str, str], ...]:
    return tuple((row.id, f"{row.name} ({row.provider})") for row in rows)


NEW_VALUES: Final[Mapping[str, str]] = {
    "file_pattern": "*",
    "recursive": "on",
    "debounce_interval": "10m",
    "enabled": "on",
    "prompt_preset.prompt_id": catalog.DEFAULT_PROMPT_ID,
    "options.formats": JSON,
}
"""What the form for a new automation begins with."""


def to_import_values(fields: Sequence[Field], found: ImportAutomation) -> dict[str, str]:
    """Return the values of an import automation."""
    return to_values(fields, found.model_dump())


def to_export_values(fields: Sequence[Field], found: ExportAutomation | None) -> dict[str, str]:
    """Return the values of an export automation, empty if there is none."""
    values = {} if found is None else to_values(fields, found.model_dump())
    return values if values.get("options.formats") else {**values, "options.formats": JSON}


def keep_settings(body: dict[str, Any], found: ImportAutomation) -> dict[str, Any]:
    """Return the body of a PUT, with the settings that the form does not show as they are."""
    preset = {**found.prompt_preset, **body.get("prompt_preset", {})}
    if "processing_model" not in body.get("prompt_preset", {}):
        preset.pop("processing_model", None)
    known = {name: value for name, value in preset.items() if value is not None}
    return {**body, "paused": found.paused, "prompt_preset": known}


def list_index_fields(choices: Choices) -> list[Field]:
    """Return the inputs that choose or name the index of a new automation."""
    known = (("", "a new index"), *((row.id, row.name) for row in choices.indexes))
    return [
        Field("index_id", "Index", "select", "the collection that the media join", choices=known),
        Field(INDEX, "Name of the new index"),
    ]


def build_export_body(body: dict[str, Any], found: ExportAutomation | None) -> dict[str, Any] | None:
    """Return the body that saves where results go, with what the form does not show as it is; None changes nothing.

    Without a destination, an automation that exists is disabled.
    """
    if "destination_connector_id" not in body:
        if found is None or not found.enabled:
            return None
        kept = found.model_dump(
            include={"destination_connector_id", "destination_subpath", "options", "paused"}
        )
        return {**kept, "enabled": False}
    options = {} if found is None or found.options is None else found.options.model_dump()
    given = body.pop("options", {}).get("formats", [JSON])
    if options or given != [JSON]:
        body["options"] = {**options, "formats": given}
    return {**body, "paused": found is not None and found.paused}
