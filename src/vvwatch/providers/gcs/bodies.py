"""Google Cloud Storage in the API."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from fastapi import UploadFile
from pydantic import Field, Json, SecretStr

from vvwatch.providers.bodies import Bodies, ConnectorBody, EventsBody, KeyFile, NewCloudConnector
from vvwatch.providers.gcs.settings import Bucket, Project


class GcsConnectorForm(NewCloudConnector):
    """A new connector for a bucket of Google Cloud Storage.

    `credentials_file` is the JSON key of a service account, 1 byte to 64 KiB; `events` is a JSON string.
    """

    secrets: ClassVar = {"credentials_file": ""}
    place: ClassVar = {"bucket": "bucket", "gcp_project_id": "project"}
    media_type = "multipart/form-data"

    bucket: Bucket
    gcp_project_id: Project
    credentials_file: Annotated[UploadFile, Field(json_schema_extra={"writeOnly": True})]
    events: Json[EventsBody] | None = None


class GcsChanges(ConnectorBody):
    """A new service account."""

    secrets: ClassVar = {"credentials_json": ""}

    credentials_json: KeyFile = Field(default_factory=lambda: SecretStr(""))


BODIES: Final = Bodies(
    new=GcsConnectorForm,
    what="a Google Cloud Storage bucket",
    changes=GcsChanges,
    credentials="`credentials_json`, a service account's JSON key, for gcs",
    example={
        "bucket": "studio-rushes",
        "gcp_project_id": "studio-prod",
        "credentials_file": "the JSON key of a service account",
    },
    values={},
)
