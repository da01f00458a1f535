"""The connectors of `vvwatch.toml`: one table for each type, with the keys of its store alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from vvwatch.config.clouds import (
    AccessKeyId,
    Ambient,
    Container,
    Endpoint,
    ExportBasePath,
    GcsBucket,
    Identity,
    Project,
    Proxy,
    PubSubSubscription,
    Region,
    S3Bucket,
    SqsQueueUrl,
    StorageAccount,
    StorageQueueUrl,
)
from vvwatch.config.fields import AbsolutePath, Duration, List, NodeName, Pause, VariableName
from vvwatch.config.secrets import secret_keys
from vvwatch.config.tables import ImportMode, Scope, Table, TableKind, TypedTable
from vvwatch.core.durations import parse_duration

Provider = Literal["local", "s3", "gcs", "azure"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way of giving credentials: `plain` keys of the table, and `secrets`, each in a file or a variable.

    A secret called x is given by x_file or x_env, where the table has that key.
    """

    plain: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


class Events(Table):
    """The queue in which a store tells of changes, and how far it is trusted."""

    required: ClassVar[tuple[str, ...]] = ("queue",)

    queue: str = ""
    mode: Literal["exclusive", "shared"] = "exclusive"
    sweep_interval: Duration = "1h"
    late_after: Pause = "60s"

    @property
    def document(self) -> dict[str, Any]:
        """As the database keeps it."""
        return {
            "queue": self.queue,
            "mode": self.mode,
            "sweep_seconds": parse_duration(self.sweep_interval),
            "late_seconds": parse_duration(self.late_after),
        }


class S3Events(Events):
    """A queue of SQS, to which the bucket tells of changes directly, through SNS or through EventBridge."""

    queue: SqsQueueUrl = ""


class GcsEvents(Events):
    """A subscription of Pub/Sub, to whose topic the bucket tells of changes; `endpoint_url` is an emulator's."""

    queue: PubSubSubscription = ""
    endpoint_url: Endpoint | None = None

    @property
    def document(self) -> dict[str, Any]:
        """As the database keeps it."""
        return super().document | ({"endpoint_url": self.endpoint_url} if self.endpoint_url else {})


class AzureEvents(Events):
    """A queue of a storage account, to which Event Grid tells of changes."""

    queue: StorageQueueUrl = ""


class Connector(TypedTable):
    """A location of objects; the other keys are those of its type."""

    kinds: ClassVar[dict[str, TableKind]] = {}
    ways: ClassVar[tuple[Way, ...]] = ()

    type: Provider = "local"
    scopes: Annotated[tuple[Scope, ...], List, Field(min_length=1)] = ("import",)
    import_mode: ImportMode = "all"
    export_base_path: ExportBasePath | None = None

    @property
    def location(self) -> dict[str, Any]:
        """Where the objects are, as the database keeps it."""
        return {}


class LocalConnector(Connector):
    """A folder. Of the nodes that share a database each reaches a `shared` one, at the same path, and `node` alone
    its own.
    """

    required = ("type", "path")

    path: AbsolutePath = Path()
    shared: bool = False
    node: NodeName | None = None

    @property
    def location(self) -> dict[str, Any]:
        """Where the objects are, as the database keeps it."""
        return {"root": str(self.path)} | ({"shared": True} if self.shared else {})


class CloudConnector(Connector):
    """What the object stores have in common."""

    credentials: Ambient | None = None
    endpoint_url: Endpoint | None = None
    ca_file: AbsolutePath | None = None
    proxy: Proxy | None = None
    events: Events | None = None

    @property
    def location(self) -> dict[str, Any]:
        """Where the objects are, as the database keeps it: what was given, without credentials."""
        other = {"credentials", "events", *(key for way in self.ways for key in keys_of(way))}
        names = sorted(type(self).model_fields.keys() - Connector.model_fields.keys() - other)
        given = {name: value for name in names if (value := getattr(self, name))}
        paths = {name: str(value) for name, value in given.items() if isinstance(value, Path)}
        return {**given, **paths} | ({"ambient": True} if self.credentials else {})


class S3Connector(CloudConnector):
    """A bucket of S3, or of a compatible store at `endpoint_url`."""

    required = ("type", "bucket")
    ways = (Way(("access_key_id",), ("secret_access_key",), ("session_token",)),)

    type: Literal["s3"] = "s3"
    events: S3Events | None = None
    bucket: S3Bucket = ""
    region: Region = "us-east-1"
    path_style: bool = False
    requester_pays: bool = False
    access_key_id: AccessKeyId | None = Field(default=None, repr=False)
    secret_access_key_file: str | None = None
    secret_access_key_env: VariableName | None = None
    session_token_file: str | None = None
    session_token_env: VariableName | None = None


class GcsConnector(CloudConnector):
    """A bucket of Google Cloud Storage; an endpoint on http, an emulator's, is asked without credentials."""

    required = ("type", "bucket")
    ways = (Way(secrets=("credentials",)),)

    type: Literal["gcs"] = "gcs"
    events: GcsEvents | None = None
    bucket: GcsBucket = ""
    project: Project | None = None
    user_project: Project | None = None
    credentials_file: str | None = None


class AzureConnector(CloudConnector):
    """A container of an Azure storage account."""

    required = ("type", "storage_account", "container")
    ways = (Way(("tenant_id", "client_id"), ("client_secret",)), Way(secrets=("account_key",)))

    type: Literal["azure"] = "azure"
    events: AzureEvents | None = None
    storage_account: StorageAccount = ""
    container: Container = ""
    authority_url: Endpoint | None = None
    tenant_id: Identity | None = None
    client_id: Identity | None = None
    client_secret_file: str | None = None
    client_secret_env: VariableName | None = None
    account_key_file: str | None = None
    account_key_env: VariableName | None = None


KINDS: Final[Mapping[str, type[Connector]]] = {
    "local": LocalConnector,
    "s3": S3Connector,
    "gcs": GcsConnector,
    "azure": AzureConnector,
}
"""The table of each type."""
Connector.kinds.update(KINDS)


def keys_of(way: Way) -> list[str]:
    """All keys by which credentials are given in this way."""
    return [*way.plain, *(key for secret in (*way.secrets, *way.optional) for key in secret_keys(secret))]


class S3Defaults(Table):
    """The address of S3 connectors that name none."""

    endpoint_url: Endpoint | None = None
    path_style: bool = False


class GcsDefaults(Table):
    """The address of Cloud Storage connectors that name none."""

    endpoint_url: Endpoint | None = None


class AzureDefaults(Table):
    """The addresses of Azure connectors that name none, and the certificates to trust there."""

    endpoint_url: Endpoint | None = None
    authority_url: Endpoint | None = None
    ca_file: AbsolutePath | None = None


class StorageDefaults(Table):
    """What connectors have that do not say otherwise, those made over the API among them."""

    s3: S3Defaults = S3Defaults()
    gcs: GcsDefaults = GcsDefaults()
    azure: AzureDefaults = AzureDefaults()
