"""Request bodies of connectors. Secrets are write-only; neither responses nor errors repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import UploadFile
from pydantic import AfterValidator, ConfigDict, Field, Json, SecretStr

from vvwatch.api.http.wire import Body, Visible
from vvwatch.api.routes.connector_events import EventsBody
from vvwatch.options.fields import refuse
from vvwatch.options.secrets import check_secret
from vvwatch.providers.azure.settings import Container, Identity, StorageAccount
from vvwatch.providers.gcs.settings import Bucket as GcsBucket
from vvwatch.providers.gcs.settings import Project
from vvwatch.providers.s3.settings import AccessKeyId, Region
from vvwatch.providers.s3.settings import Bucket as S3Bucket
from vvwatch.providers.settings import ExportBasePath

MAX_FILE_BYTES: Final = 65_536
"""The maximum size of a credentials file."""

Scope = Literal["import", "export"]
Name = Annotated[str, Field(min_length=1, max_length=100), Visible]
Scopes = Annotated[list[Scope], Field(min_length=1, max_length=2)]
ImportMode = Literal["all", "new_only"]
BasePath = Annotated[ExportBasePath, Field(max_length=1024)]


def _check_secret(secret: SecretStr) -> SecretStr:
    if why := check_secret(secret.get_secret_value()):
        raise refuse(*why)
    return secret


Key = Annotated[SecretStr, AfterValidator(_check_secret)]
KeyFile = Annotated[SecretStr, Field(min_length=1, max_length=MAX_FILE_BYTES)]


def _import_only() -> list[Scope]:
    return ["import"]


class _ConnectorBody(Body):
    model_config = ConfigDict(hide_input_in_errors=True)


class NewConnector(_ConnectorBody):
    """Fields of every new connector."""

    name: Name
    scopes: Scopes = Field(default_factory=_import_only)
    import_mode: ImportMode = "all"
    export_base_path: BasePath | None = None


class LocalConnectorBody(NewConnector):
    """A new connector for a local folder below one of the roots in the configuration.

    `shared`: every node mounts the folder at this path. Otherwise it belongs to the node that gets the request.
    """

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    shared: bool = False


class S3ConnectorBody(NewConnector):
    """A new connector for a bucket of S3, or of the compatible store in the configuration's `[storage.s3]`."""

    bucket: S3Bucket
    region: Region
    aws_access_key_id: AccessKeyId = Field(repr=False, json_schema_extra={"writeOnly": True})
    aws_secret_access_key: Key
    events: EventsBody | None = None

    def location(self) -> dict[str, Any]:
        """Return the location as the database stores it."""
        return self.model_dump(include={"bucket", "region"})

    def credentials(self) -> dict[str, str]:
        """Return the access key."""
        return secrets_in(self, "s3")


class AzureConnectorBody(NewConnector):
    """A new connector for a container of an Azure storage account, with the secret of a registered application."""

    storage_account: StorageAccount
    container: Container
    tenant_id: Identity
    client_id: Identity
    client_secret: Key
    events: EventsBody | None = None

    def location(self) -> dict[str, Any]:
        """Return the location as the database stores it."""
        return self.model_dump(include={"storage_account", "container"})

    def credentials(self) -> dict[str, str]:
        """Return the application and its secret."""
        return secrets_in(self, "azure")


class GcsConnectorForm(NewConnector):
    """A new connector for a bucket of Google Cloud Storage.

    `credentials_file` is the JSON key of a service account, 1 byte to 64 KiB; `events` is a JSON string.
    """

    bucket: GcsBucket
    gcp_project_id: Project
    credentials_file: Annotated[UploadFile, Field(json_schema_extra={"writeOnly": True})]
    events: Json[EventsBody] | None = None

    def location(self) -> dict[str, Any]:
        """Return the location as the database stores it."""
        return {"bucket": self.bucket, "project": self.gcp_project_id}


class ConnectorChanges(_ConnectorBody):
    """What to change; missing fields keep their values. The location cannot change: create another connector.

    `export_base_path` null or empty: the location itself. `status`: `disabled` stops the connector, and its automations
    wait; `active` enables it again. Credentials are write-only, and each connector accepts those of its provider:
    `aws_access_key_id` and `aws_secret_access_key` for s3; `tenant_id`, `client_id` and `client_secret` for azure,
    where missing ones keep their values; `credentials_json`, a service account's JSON key, for gcs. New credentials,
    scopes, an export path and `active` are tested as by `/test`. `events` null: stop reading the queue.
    """

    name: Name = Field(default_factory=str)
    scopes: Scopes = Field(default_factory=_import_only)
    import_mode: ImportMode = Field(default_factory=lambda: "all")
    export_base_path: BasePath | None = None
    status: Literal["active", "disabled"] = Field(default_factory=lambda: "active")
    aws_access_key_id: AccessKeyId = Field(
        default_factory=str, repr=False, json_schema_extra={"writeOnly": True}
    )
    aws_secret_access_key: Key = Field(default_factory=lambda: SecretStr(""))
    tenant_id: Identity = Field(default_factory=str)
    client_id: Identity = Field(default_factory=str)
    client_secret: Key = Field(default_factory=lambda: SecretStr(""))
    credentials_json: KeyFile = Field(default_factory=lambda: SecretStr(""))
    events: EventsBody | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields that were sent, except credentials."""
        return self.model_dump(include=self.model_fields_set - set(CREDENTIALS))


CREDENTIALS: Final[Mapping[str, tuple[str, str]]] = {
    "aws_access_key_id": ("s3", "access_key_id"),
    "aws_secret_access_key": ("s3", "secret_access_key"),
    "tenant_id": ("azure", "tenant_id"),
    "client_id": ("azure", "client_id"),
    "client_secret": ("azure", "client_secret"),
    "credentials_json": ("gcs", "credentials_json"),
}
"""The credential fields: their provider and their name in the sealed document."""


def secrets_in(body: _ConnectorBody, provider: str) -> dict[str, str]:
    """Return the credentials of a provider that were sent, in clear, under their sealed names."""
    return {
        name: _reveal(getattr(body, field))
        for field, (owner, name) in CREDENTIALS.items()
        if owner == provider and field in body.model_fields_set
    }


def _reveal(value: str | SecretStr) -> str:
    return value if isinstance(value, str) else value.get_secret_value()
