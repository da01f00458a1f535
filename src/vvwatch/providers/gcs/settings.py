"""The tables of Google Cloud Storage in `vvwatch.toml`, and the names that it and Pub/Sub allow."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal

from vvwatch.options.fields import Endpoint, match_pattern
from vvwatch.options.secrets import Why
from vvwatch.providers.settings import (
    LEAVE_OUT,
    CloudConnector,
    Events,
    StoreDefaults,
    Way,
    is_no_number,
)


def _has_short_parts(text: str) -> bool:
    return is_no_number(text) and all(len(part) <= 63 for part in text.split("."))


def _check_service_account(text: str) -> Why:
    """Return why `text` is no service account key, as far as visible here."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    sound = isinstance(document, dict) and document.get("type") == "service_account"
    allowed = "the JSON file that Google Cloud hands out"
    return None if sound else ("holds no key of a service account", allowed)


Bucket = Annotated[
    str,
    match_pattern(
        r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]",
        "is no name of a Cloud Storage bucket",
        "3 to 63 (with dots 222) of a-z 0-9 . _ -, the first and last a letter or digit, no number of a machine",
        _has_short_parts,
        {"gs://": LEAVE_OUT.format("gs://"), "://": LEAVE_OUT.format("the address")},
    ),
]
Project = Annotated[
    str,
    match_pattern(
        r"[a-z0-9](?:[a-z0-9.:-]{0,98}[a-z0-9])?",
        "is no id of a project",
        "1 to 100 of a-z 0-9 . : -, the first and last a letter or digit",
    ),
]
QUEUE_EXAMPLE: Final = "projects/PROJECT/subscriptions/NAME"
SUBSCRIPTION: Final = (
    r"projects/[a-z0-9][a-z0-9.:-]{0,98}[a-z0-9]/subscriptions/(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}"
)
"""The pattern of a subscription's name."""
Subscription = Annotated[
    str,
    match_pattern(
        SUBSCRIPTION,
        "is no name of a subscription",
        QUEUE_EXAMPLE,
        mistaken={"/topics/": "that is a topic: make a subscription of it, and name that"},
    ),
]


class GcsEvents(Events):
    """A subscription of Pub/Sub, whose topic receives the bucket's changes; `endpoint_url` is an emulator's."""

    queue: Subscription = ""
    endpoint_url: Endpoint | None = None

    @property
    def document(self) -> dict[str, Any]:
        """As the database keeps it."""
        return super().document | ({"endpoint_url": self.endpoint_url} if self.endpoint_url else {})


class GcsConnector(CloudConnector):
    """A bucket of Google Cloud Storage; an endpoint on http, an emulator's, is asked without credentials."""

    required = ("type", "bucket")
    ways = (Way(secrets=("credentials",), why=_check_service_account, whole=True),)

    type: Literal["gcs"] = "gcs"
    events: GcsEvents | None = None
    bucket: Bucket = ""
    project: Project | None = None
    user_project: Project | None = None
    credentials_file: str | None = None

    @classmethod
    def needs_no_credentials(cls, endpoint_url: str) -> bool:
        """Return whether it is an emulator, which takes no secret."""
        return endpoint_url.startswith("http://")


class GcsDefaults(StoreDefaults):
    """The address of Cloud Storage connectors that name none."""
