"""The tables of S3 in `vvwatch.toml`, and the names that S3 and SQS allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from vvwatch.options.fields import VariableName, match_pattern, refuse
from vvwatch.options.findings import Finding, did_you_mean, join_names
from vvwatch.providers.settings import (
    LEAVE_OUT,
    SERVICE,
    CloudConnector,
    Events,
    StoreDefaults,
    Way,
    is_no_number,
)

Bucket = Annotated[
    str,
    match_pattern(
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "is no name of an S3 bucket",
        "3 to 63 of a-z 0-9 . -, the first and last a letter or digit, no number of a machine",
        is_no_number,
        {
            "s3://": LEAVE_OUT.format("s3://"),
            "://": LEAVE_OUT.format("the address"),
            "arn:": "give the name behind :::",
        },
    ),
]
Region = Annotated[
    str,
    match_pattern(
        r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
        "is no name of a region",
        "1 to 63 of a-z 0-9 -, e.g. eu-central-1",
    ),
]
AccessKeyId = Annotated[
    str,
    match_pattern(
        r"[!-+.0-~-]{1,128}", "is no id of an access key", "1 to 128 printable characters but / , and spaces"
    ),
]
PRESETS: Final = {
    "backblaze": "https://s3.{region}.backblazeb2.com",
    "digitalocean": "https://{region}.digitaloceanspaces.com",
    "scaleway": "https://s3.{region}.scw.cloud",
    "wasabi": "https://s3.{region}.wasabisys.com",
}
"""Compatible stores, and their endpoints."""


def _check_preset(name: str) -> str:
    if name not in PRESETS:
        raise refuse(f"{name!r} is not one of them", join_names(PRESETS), did_you_mean(name, PRESETS))
    return name


Preset = Annotated[str, AfterValidator(_check_preset)]
QUEUE_EXAMPLE: Final = "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
QUEUE_PATH: Final = r"(?:/[\w.-]{1,80}){0,3}/(?P<account>\d{12})/(?P<name>[\w-]{1,80}(?:\.fifo)?)"
"""The pattern of the path of a queue's URL."""
QueueUrl = Annotated[
    str,
    match_pattern(
        SERVICE + QUEUE_PATH,
        "is no URL of an SQS queue",
        QUEUE_EXAMPLE,
        mistaken={"arn:": "that is its ARN: `aws sqs get-queue-url --queue-name NAME` prints its URL"},
    ),
]


class S3Events(Events):
    """A queue of SQS that receives the bucket's changes directly, through SNS or through EventBridge."""

    queue: QueueUrl = ""


class S3Connector(CloudConnector):
    """A bucket of S3, or of a compatible store: the one of a `preset`, or the one at `endpoint_url`."""

    required = ("type", "bucket")
    ways = (Way(("access_key_id",), ("secret_access_key",), ("session_token",)),)

    type: Literal["s3"] = "s3"
    events: S3Events | None = None
    bucket: Bucket = ""
    region: Region = "us-east-1"
    preset: Preset | None = None
    path_style: bool = False
    requester_pays: bool = False
    access_key_id: AccessKeyId | None = Field(default=None, repr=False)
    secret_access_key_file: str | None = None
    secret_access_key_env: VariableName | None = None
    session_token_file: str | None = None
    session_token_env: VariableName | None = None

    @property
    def location(self) -> dict[str, Any]:
        """Where the objects are, as the database keeps it: a preset as its endpoint."""
        given = super().location
        preset = given.pop("preset", None)
        return given | ({"endpoint_url": PRESETS[preset].format(region=self.region)} if preset else {})

    def find_faults(self, endpoint_url: str) -> Iterator[Finding]:  # noqa: ARG002  # a preset has its own
        """Require what a preset needs."""
        if self.preset and self.endpoint_url:
            yield Finding(("preset",), "cannot be combined with endpoint_url", hint="keep one of the two")
        if self.preset and "region" not in self.model_fields_set:
            hint = f"it becomes part of the address, {PRESETS[self.preset].format(region='REGION')}"
            yield Finding(("region",), "is required", hint=hint)


class S3Defaults(StoreDefaults):
    """The address of S3 connectors that name none."""

    path_style: bool = False
