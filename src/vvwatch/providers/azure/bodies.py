"""Azure in the API."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field, SecretStr

from vvwatch.providers.azure.settings import Container, Identity, StorageAccount
from vvwatch.providers.bodies import Bodies, ConnectorBody, Key, NewCloudConnector

_SECRETS: Final = {name: name for name in ("tenant_id", "client_id", "client_secret")}
_PLACE: Final = {
    "storage_account": "studiorushes",
    "container": "rushes",
    "tenant_id": "00000000-0000-0000-0000-000000000001",
    "client_id": "00000000-0000-0000-0000-000000000002",
}


class AzureConnectorBody(NewCloudConnector):
    """A new connector for a container of an Azure storage account, with the secret of a registered application."""

    secrets: ClassVar = _SECRETS
    place: ClassVar = {"storage_account": "storage_account", "container": "container"}

    storage_account: StorageAccount
    container: Container
    tenant_id: Identity
    client_id: Identity
    client_secret: Key


class AzureChanges(ConnectorBody):
    """Another application, or its new secret."""

    secrets: ClassVar = _SECRETS

    tenant_id: Identity = Field(default_factory=str)
    client_id: Identity = Field(default_factory=str)
    client_secret: Key = Field(default_factory=lambda: SecretStr(""))


BODIES: Final = Bodies(
    new=AzureConnectorBody,
    what="an Azure container",
    changes=AzureChanges,
    credentials="`tenant_id`, `client_id` and `client_secret` for azure, where missing ones keep their values",
    example={**_PLACE, "client_secret": "the-secret-of-the-application"},
    values=_PLACE,
)
