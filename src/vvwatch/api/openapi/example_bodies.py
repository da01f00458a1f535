"""Complete example bodies of the OpenAPI document, in the scenario of `example_values`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vvwatch.api.openapi.example_values import FOUND, SCHEMA, example_id
from vvwatch.providers.registry import load_bodies

_CONNECTOR: Final = {"name": "rushes", "scopes": ["import", "export"], "import_mode": "all"}
_WEBHOOK: Final = {
    "name": "archive",
    "url": "https://example.com/hooks/vvwatch",
    "events": ["import_job.completed", "export.ready"],
}
_PROMPT: Final = {
    "name": "Subjects",
    "prompt_text": "Name the subject of every shot.",
    "json_schema": SCHEMA,
}

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
    "BatchBody": {"video_ids": [example_id("vid")]},
    "BrowseBody": {"prefix": "dailies/", "pattern": "*.mp4", "limit": 100},
    "ConnectorChanges": {"name": "rushes of today", "import_mode": "new_only"},
    "ExportAutomationBody": {
        "destination_connector_id": example_id("conn"),
        "destination_subpath": "results",
    },
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
    "IndexBody": {"name": "dailies", "description": "What was shot today"},
    "IndexChanges": {"name": "dailies of today"},
    "LocalConnectorBody": {"name": "rushes", "path": "/srv/media/rushes"},
    "ProcessBody": {"index_id": example_id("idx"), "prompt_id": example_id("prompt")},
    "PromptBody": _PROMPT,
    "PromptChanges": {"prompt_text": "Name the subject of every shot, in one word."},
    "RunBody": {
        "prompt_id": example_id("prompt"),
        "target": {"type": "videos", "video_ids": [example_id("vid")]},
        "video_segmentation_type": "smart",
    },
    **{each.new.__name__: {**_CONNECTOR, **each.example} for each in load_bodies().values()},
    "Marker": {"marker_id": None, "color": None, "note": None, "updated_at": None},
    "SchemaTrial": {"json_schema": SCHEMA, "sample_data": FOUND},
    "StopState": {
        "requested_at": None,
        "requested_by": None,
        "mode": None,
        "observed_at": None,
        "completed_at": None,
    },
    "SearchBody": {
        "filters": [{"field": "subject", "operator": "contains", "type": "string", "value": "clapper"}],
        "index_id": example_id("idx"),
        "limit": 10,
    },
    "SignedUrlBody": {"gcs_uri": f"vvwatch://exports/{example_id('exp')}.json"},
    "SegmentsBody": {"video_ids": [example_id("vid")]},
    "WebhookBody": {**_WEBHOOK, "metadata": {"team": "red"}},
    "WebhookChange": {"status": "paused"},
    "WorkflowForm": {"file": "(the bytes of the file)", "index_name": "dailies"},
}
"""Examples of schemas whose fields exclude each other."""
