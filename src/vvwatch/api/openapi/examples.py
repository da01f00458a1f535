"""Build the examples of the OpenAPI document from its schemas.

A name has the same value everywhere, so the ids of one example occur in the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vvwatch.api.openapi.example_values import IDS, MOMENT, NULL_ENDINGS, SCHEMA, VALUES, example_id
from vvwatch.providers.registry import load_bodies

Schema = Mapping[str, Any]

REFERENCE: Final = "#/components/schemas/"
UNKNOWN: Final = "…"
"""Stands for a string without a known example. A test finds it and says which name to add to `example_values`."""

_NONE: Final = object()
_GUESSED: Final = frozenset({"object", "integer", "number", "boolean"})

_CONNECTOR: Final = {"name": "rushes", "scopes": ["import", "export"], "import_mode": "all"}

_OPTIONS: Final = {"formats": ["json", "csv"], "name": "{index}/{date}/{stem}.{ext}", "latest": True}

WHOLE: Final[Mapping[str, Any]] = {
    "ApiKeyBody": {"name": "n8n", "scopes": ["read"], "expires_in_days": 90},
    "AttachmentsBody": {
        "files": [
            {
                "file_id": "1",
                "download_url": "https://files.example.com/a.mp4",
                "file_name": "a.mp4",
                "mime_type": "video/mp4",
            }
        ],
        "index_id": example_id("idx"),
    },
    "BrowseBody": {"prefix": "dailies/", "pattern": "*.mp4", "limit": 100},
    "ConnectorChanges": {"name": "rushes of today", "import_mode": "new_only"},
    "ExportAutomationBody": {
        "destination_connector_id": example_id("conn"),
        "destination_subpath": "results",
        "options": _OPTIONS,
    },
    "ExportOptionsBody": _OPTIONS,
    "FilterBody": {
        "conditions": [{"field": "subject", "operator": "contains", "type": "string", "value": "clapper"}],
        "page_size": 50,
    },
    "ImportAutomationBody": {
        "connector_id": example_id("conn"),
        "source_prefix": "dailies/",
        "file_pattern": "*.{mp4,mov}",
        "debounce_interval": "10m",
        "prompt_preset": {"prompt_id": example_id("prompt"), "video_segmentation_type": "smart"},
    },
    "ImportJobBody": {
        "connector_id": example_id("conn"),
        "index_id": example_id("idx"),
        "source_prefix": "dailies/",
        "file_pattern": "*.{mp4,mov}",
        "recursive": True,
    },
    "IndexChanges": {"name": "dailies of today"},
    "LocalConnectorBody": {"name": "rushes", "path": "/srv/media/rushes"},
    "ProcessBody": {"index_id": example_id("idx"), "prompt_id": example_id("prompt")},
    "PromptBody": {
        "name": "Subjects",
        "prompt_text": "Name the subject of every shot.",
        "json_schema": SCHEMA,
    },
    "PromptChanges": {"prompt_text": "Name the subject of every shot, in one word."},
    "RunBody": {
        "prompt_id": example_id("prompt"),
        "target": {"type": "videos", "video_ids": [example_id("vid")]},
        "video_segmentation_type": "smart",
    },
    **{each.new.__name__: {**_CONNECTOR, **each.example} for each in load_bodies().values()},
    "Marker": {"marker_id": None, "color": None, "note": None, "updated_at": None},
    "StopState": {
        "requested_at": None,
        "requested_by": None,
        "mode": None,
        "observed_at": None,
        "completed_at": None,
    },
    "TextSearchBody": {"query": "red boat", "top_k": 10},
    "MultiRunBody": {"query": "red boat", "run_ids": [example_id("run")], "top_k": 5},
    "PlaygroundBody": {"query": "red boat", "top_k": 10},
    "SqlBody": {"sql": "SELECT title, count(*) FROM segments JOIN videos USING (video_id) GROUP BY title"},
    "SearchBody": {
        "filters": [{"field": "subject", "operator": "contains", "type": "string", "value": "clapper"}],
        "index_id": example_id("idx"),
        "limit": 10,
    },
    "SignedUrlBody": {"gcs_uri": f"vvwatch://exports/{example_id('exp')}.json"},
    "SegmentsBody": {"video_ids": [example_id("vid")]},
    "WebhookBody": {
        "name": "archive",
        "url": "https://example.com/hooks/vvwatch",
        "events": ["import_job.completed", "export.ready"],
        "metadata": {"team": "red"},
    },
    "WebhookChange": {"status": "paused"},
    "WorkflowForm": {"file": "(the bytes of the file)", "index_name": "dailies"},
}
"""Examples of schemas whose fields exclude each other."""


class Examples:
    """Builds examples for the schemas of one document."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas

    def of(self, schema: Schema, name: str = "", owner: str = "") -> Any:
        """Return an example of `schema`, which describes the field `name` of the schema `owner`."""
        found = _known_example(schema, name, owner)
        if found is not _NONE:
            return found
        if reference := schema.get("$ref"):
            return self.make_named(reference.removeprefix(REFERENCE), name)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return self._of_options(options, name, owner)
        return self._make(schema, name, owner)

    def make_named(self, component: str, name: str = "") -> Any:
        """Return an example of a named schema, which describes the field `name`."""
        schema = self._schemas[component]
        if component in WHOLE:
            return WHOLE[component]
        return self._object(schema, component) if "properties" in schema else self.of(schema, name)

    def _of_options(self, options: Sequence[Schema], name: str, owner: str) -> Any:
        """For nullable fields, show only known values: named ones, ids, timestamps and objects."""
        real = [option for option in options if option.get("type") != "null"]
        example = self.of(real[0], name, owner)
        is_guess = real[0].get("type") in _GUESSED or example == UNKNOWN or name.endswith(NULL_ENDINGS)
        return None if is_guess and len(real) < len(options) else example

    def _make(self, schema: Schema, name: str, owner: str) -> Any:
        kind = schema.get("type")
        if kind == "object":
            return self._object(schema, owner)
        if kind == "array":
            return self._items(schema.get("items", {}), name.removesuffix("s"), owner)
        return _text_example(name) if kind == "string" else _plain_example(schema)

    def _items(self, schema: Schema, name: str, owner: str) -> list[Any]:
        """Return one example item, or none if nothing is known of it."""
        if "$ref" in schema:
            return [self.of(schema)]
        example = self.of(schema, name, owner)
        return [] if example in (UNKNOWN, {}) else [example]

    def _object(self, schema: Schema, owner: str) -> Any:
        if schema.get("title") in WHOLE:
            return WHOLE[schema["title"]]
        return {name: self.of(inner, name, owner) for name, inner in schema.get("properties", {}).items()}


def _known_example(schema: Schema, name: str, owner: str) -> Any:
    """Return the value that the tables or the schema name; `_NONE` if there is none."""
    for key in (f"{owner}.{name}", name):
        if key in VALUES:
            return VALUES[key]
    if "const" in schema:
        return schema["const"]
    if schema.get("default") is not None:
        return schema["default"]
    return schema["enum"][0] if "enum" in schema else _NONE


def _text_example(name: str) -> str:
    if name.endswith("_at"):
        return MOMENT
    prefix = next((IDS[each] for each in IDS if name.endswith(each)), None)
    return UNKNOWN if prefix is None else example_id(prefix)


_PLAIN: Final[Mapping[str, Any]] = {"integer": 0, "number": 0, "boolean": False, "null": None}


def _plain_example(schema: Schema) -> Any:
    """Return an example of a number or boolean without further constraints."""
    return schema.get("minimum", _PLAIN.get(str(schema.get("type")), {}))
