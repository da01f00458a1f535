"""Parse the URL of an SQS queue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from vvwatch.errors import InvalidInput
from vvwatch.providers.s3.settings import QUEUE_EXAMPLE, QUEUE_PATH

_PATH: Final = re.compile(QUEUE_PATH, re.ASCII)
_AWS_HOST: Final = re.compile(
    r"(?:[\w-]+\.)?sqs(?:-fips)?\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d+)"
    r"(?:\.vpce)?\.(?:amazonaws\.com(?:\.cn)?|api\.(?:aws|amazonwebservices\.com\.cn))",
    re.ASCII,
)
_LEGACY_HOST: Final = re.compile(
    r"(?:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d+)\.)?queue\.amazonaws\.com(?:\.cn)?", re.ASCII
)
_LEGACY_REGION: Final = "us-east-1"
_PARTITIONS: Final = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """A queue: its URL, the address for requests, and the parts of its ARN."""

    url: str
    endpoint_url: str
    region: str
    account: str
    name: str

    @property
    def partition(self) -> str:
        """The AWS partition of its region."""
        return next((p for start, p in _PARTITIONS.items() if self.region.startswith(start)), "aws")

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{self.name}"


def parse_queue_url(url: str, *, region: str, anywhere: bool) -> QueueAddress:
    """Return the address of the queue at `url`; `region` applies if the URL names none.

    Raises InvalidInput for a URL of no queue. Unless it may be `anywhere`, it must be an https host of AWS: an API
    key must not direct requests into the daemon's network.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        expected_host = f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        raise _invalid_url(url, "it is no URL") from None
    path = _PATH.fullmatch(url.removeprefix(f"{parts.scheme}://{parts.netloc}"))
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != expected_host or not path:
        raise _invalid_url(url, "it is not the URL of a queue")
    aws = _AWS_HOST.fullmatch(host) or _LEGACY_HOST.fullmatch(host)
    if not anywhere and not (aws and url.startswith("https:")):
        raise _invalid_url(url, "its host is not one of SQS, asked by https")
    found = (aws["region"] or _LEGACY_REGION) if aws else region
    if not found:
        raise _invalid_url(url, "it names no region; set region")
    return QueueAddress(url, f"{parts.scheme}://{parts.netloc}", found, path["account"], path["name"])


def _invalid_url(url: str, why: str) -> InvalidInput:
    printable = url if "@" not in url and "?" not in url else "…"
    return InvalidInput(
        f"{printable!r} cannot be a queue: {why}",
        f"copy it from `aws sqs get-queue-url`: {QUEUE_EXAMPLE}",
    )
