"""The tables of Azure Blob Storage in `vvwatch.toml`, and the names that it and its queues allow."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from vvwatch.core.locations import Address
from vvwatch.options.fields import AbsolutePath, Endpoint, VariableName, match_pattern
from vvwatch.options.findings import Finding
from vvwatch.options.secrets import Why, check_secret, secret_keys
from vvwatch.providers.settings import LEAVE_OUT, SERVICE, CloudConnector, Events, StoreDefaults, Way


def address_of(storage_account: str, container: str, endpoint_url: str = "") -> Address:
    """Return the address of a container, at its public address or at `endpoint_url`."""
    account = endpoint_url or f"https://{storage_account}.blob.core.windows.net"
    return Address(f"{account.rstrip('/')}/{container}/", encoded=True)


def check_account_key(text: str) -> Why:
    """Return why `text` is no key of a storage account."""
    try:
        b64decode(text, validate=True)
    except ValueError:
        return "is not the key of a storage account", "base64, as the portal shows it"
    return check_secret(text)


StorageAccount = Annotated[
    str,
    match_pattern(
        r"[a-z0-9]{3,24}",
        "is no name of a storage account",
        "3 to 24 of a-z 0-9",
        mistaken={".": "leave out https:// and everything from the first dot on"},
    ),
]
Container = Annotated[
    str,
    match_pattern(
        r"\$root|\$web|(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*",
        "is no name of a container",
        "3 to 63 of a-z 0-9 -, no two - together, the first and last a letter or digit",
        mistaken={"://": LEAVE_OUT.format("the address"), "/": LEAVE_OUT.format("the path")},
    ),
]
Identity = Annotated[
    str,
    match_pattern(
        r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?",
        "is no id of a tenant or client",
        "a GUID, or a domain of a-z 0-9 . -",
        lambda text: ".." not in text,
    ),
]
QUEUE_EXAMPLE: Final = "https://ACCOUNT.queue.core.windows.net/QUEUE"
QUEUE_NAME: Final = r"(?=[a-z0-9-]{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*"
"""The pattern of a queue's name, at the end of a text."""
QueueUrl = Annotated[
    str,
    match_pattern(
        SERVICE + r"(?:/[a-z0-9]{3,24})?/" + QUEUE_NAME,
        "is no URL of a storage queue",
        QUEUE_EXAMPLE,
        lambda text: ".blob." not in text,
        {
            ".blob.": "that is the address of blobs: the one of queues has .queue. in its place",
            "/subscriptions/": "that is its resource id: the overview of its account in the portal shows its URL",
            "sig=": "a signature is of no use here: the credentials are the connector's",
        },
    ),
]


class AzureEvents(Events):
    """A queue of a storage account that receives changes from Event Grid."""

    queue: QueueUrl = ""


class AzureConnector(CloudConnector):
    """A container of an Azure storage account."""

    required = ("type", "storage_account", "container")
    ways = (
        Way(("tenant_id", "client_id"), ("client_secret",)),
        Way(secrets=("account_key",), why=check_account_key),
    )

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

    def find_faults(self, endpoint_url: str) -> Iterator[Finding]:
        """Require https for tokens, which are as good as passwords while they last."""
        if endpoint_url.startswith("http://") and not self.list_given(secret_keys("account_key")):
            what, hint = "would be sent a token unencrypted", "over http only an account key can be used"
            yield Finding(("endpoint_url",), what, "https://…", hint)


class AzureDefaults(StoreDefaults):
    """The addresses of Azure connectors that name none, and the certificates to trust there."""

    authority_url: Endpoint | None = None
    ca_file: AbsolutePath | None = None
