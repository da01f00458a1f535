"""S3 in the API."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field, SecretStr

from vvwatch.providers.bodies import Bodies, ConnectorBody, Key, NewCloudConnector
from vvwatch.providers.s3.settings import AccessKeyId, Bucket, Region

_SECRETS: Final = {"aws_access_key_id": "access_key_id", "aws_secret_access_key": "secret_access_key"}


class S3ConnectorBody(NewCloudConnector):
    """A new connector for a bucket of S3, or of the compatible store in the configuration's `[storage.s3]`."""

    secrets: ClassVar = _SECRETS
    place: ClassVar = {"bucket": "bucket", "region": "region"}

    bucket: Bucket
    region: Region
    aws_access_key_id: AccessKeyId = Field(repr=False, json_schema_extra={"writeOnly": True})
    aws_secret_access_key: Key


class S3Changes(ConnectorBody):
    """A new access key."""

    secrets: ClassVar = _SECRETS

    aws_access_key_id: AccessKeyId = Field(
        default_factory=str, repr=False, json_schema_extra={"writeOnly": True}
    )
    aws_secret_access_key: Key = Field(default_factory=lambda: SecretStr(""))


BODIES: Final = Bodies(
    new=S3ConnectorBody,
    what="an S3 bucket",
    changes=S3Changes,
    credentials="`aws_access_key_id` and `aws_secret_access_key` for s3",
    example={
        "bucket": "studio-rushes",
        "region": "eu-central-1",
        "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    },
    values={
        "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
        "bucket": "studio-rushes",
        "queue": "https://sqs.eu-central-1.amazonaws.com/123456789012/rushes",
        "region": "eu-central-1",
    },
)
