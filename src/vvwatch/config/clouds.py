"""Names in object stores: buckets, containers, regions, identities, keys. The API accepts the same.

Most become part of a host name or an address, so each accepts exactly what its store allows. No message repeats the
value, which may be a misplaced secret.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

from vvwatch.config.fields import WebAddress, refuse
from vvwatch.core.exports import check_subpath
from vvwatch.errors import InvalidInput

Why = tuple[str, str] | None
"""What is wrong with a value, without any of it, and what is allowed; None if nothing is."""

_LONGEST_SECRET: Final = 4096
_SERVICE: Final = r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?"
_ENDPOINT: Final = "https://host, https://host:port/path, without a user, ? and #"

_BARE: Final = "leave out {}; what follows the name goes into the prefix of an automation"


def _match_pattern(
    pattern: str,
    what: str,
    allowed: str,
    also: Callable[[str], bool] = bool,
    mistaken: Mapping[str, str] = MappingProxyType({}),
) -> AfterValidator:
    """Return a check against a whole pattern, and another check. `mistaken` maps typical mix-ups to hints."""
    wanted = re.compile(pattern, re.ASCII)

    def checked(text: str) -> str:
        if not (wanted.fullmatch(text) and also(text)):
            raise refuse(what, allowed, next((hint for sign, hint in mistaken.items() if sign in text), ""))
        return text

    return AfterValidator(checked)


def _is_no_number(text: str) -> bool:
    """Return whether a name with dots is not an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return ".." not in text
    return False


def _has_short_parts(text: str) -> bool:
    return _is_no_number(text) and all(len(part) <= 63 for part in text.split("."))


def _check_endpoint(text: str) -> str:
    parts = urlsplit(text)
    if parts.query or parts.username is not None or parts.password is not None:
        raise refuse("is not the address of a service", _ENDPOINT)
    return parts.scheme + text[len(parts.scheme) :].rstrip("/")


def _check_proxy(text: str) -> str:
    parts = urlsplit(text)
    if parts.username is not None or parts.password is not None:
        raise refuse("would be kept in clear with the user in it", "http://host:port")
    if parts.query or parts.path.strip("/"):
        raise refuse("is not the address of a proxy", "http://host:port")
    return text.rstrip("/")


def check_secret(text: str) -> Why:
    """Return why no store would accept `text` as a secret."""
    sound = 0 < len(text) <= _LONGEST_SECRET and text.isascii() and text.isprintable() and " " not in text
    allowed = f"1 to {_LONGEST_SECRET:,} printable characters, no spaces"
    return None if sound else ("is no such secret", allowed)


def check_account_key(text: str) -> Why:
    """Return why `text` is no key of a storage account."""
    try:
        b64decode(text, validate=True)
    except ValueError:
        return "is not the key of a storage account", "base64, as the portal shows it"
    return check_secret(text)


def _base_path(text: str) -> str:
    try:
        return check_subpath(text, "the path")
    except InvalidInput as error:
        allowed = "a path below it, without .. and a slash at its beginning, e.g. exports"
        raise refuse("does not stay below the connector's location", allowed) from error


S3Bucket = Annotated[
    str,
    _match_pattern(
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "is no name of an S3 bucket",
        "3 to 63 of a-z 0-9 . -, the first and last a letter or digit, no number of a machine",
        _is_no_number,
        {
            "s3://": _BARE.format("s3://"),
            "://": _BARE.format("the address"),
            "arn:": "give the name behind :::",
        },
    ),
]
GcsBucket = Annotated[
    str,
    _match_pattern(
        r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]",
        "is no name of a Cloud Storage bucket",
        "3 to 63 (with dots 222) of a-z 0-9 . _ -, the first and last a letter or digit, no number of a machine",
        _has_short_parts,
        {"gs://": _BARE.format("gs://"), "://": _BARE.format("the address")},
    ),
]
Region = Annotated[
    str,
    _match_pattern(
        r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
        "is no name of a region",
        "1 to 63 of a-z 0-9 -, e.g. eu-central-1",
    ),
]
StorageAccount = Annotated[
    str,
    _match_pattern(
        r"[a-z0-9]{3,24}",
        "is no name of a storage account",
        "3 to 24 of a-z 0-9",
        mistaken={".": "leave out https:// and everything from the first dot on"},
    ),
]
Container = Annotated[
    str,
    _match_pattern(
        r"\$root|\$web|(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*",
        "is no name of a container",
        "3 to 63 of a-z 0-9 -, no two - together, the first and last a letter or digit",
        mistaken={"://": _BARE.format("the address"), "/": _BARE.format("the path")},
    ),
]
Project = Annotated[
    str,
    _match_pattern(
        r"[a-z0-9](?:[a-z0-9.:-]{0,98}[a-z0-9])?",
        "is no id of a project",
        "1 to 100 of a-z 0-9 . : -, the first and last a letter or digit",
    ),
]
Identity = Annotated[
    str,
    _match_pattern(
        r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?",
        "is no id of a tenant or client",
        "a GUID, or a domain of a-z 0-9 . -",
        lambda text: ".." not in text,
    ),
]
AccessKeyId = Annotated[
    str,
    _match_pattern(
        r"[!-+.0-~-]{1,128}", "is no id of an access key", "1 to 128 printable characters but / , and spaces"
    ),
]
SqsQueueUrl = Annotated[
    str,
    _match_pattern(
        _SERVICE + r"(?:/[\w.-]{1,80}){0,3}/\d{12}/[\w-]{1,80}(?:\.fifo)?",
        "is no URL of an SQS queue",
        "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME",
        mistaken={"arn:": "that is its ARN: `aws sqs get-queue-url --queue-name NAME` tells its URL"},
    ),
]
PubSubSubscription = Annotated[
    str,
    _match_pattern(
        r"projects/[a-z0-9][a-z0-9.:-]{0,98}[a-z0-9]/subscriptions/(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}",
        "is no name of a subscription",
        "projects/PROJECT/subscriptions/NAME",
        mistaken={"/topics/": "that is a topic: make a subscription of it, and name that"},
    ),
]
StorageQueueUrl = Annotated[
    str,
    _match_pattern(
        _SERVICE + r"(?:/[a-z0-9]{3,24})?/(?=[a-z0-9-]{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*",
        "is no URL of a storage queue",
        "https://ACCOUNT.queue.core.windows.net/QUEUE",
        lambda text: ".blob." not in text,
        {
            ".blob.": "that is the address of blobs: the one of queues has .queue. in its place",
            "/subscriptions/": "that is its resource id: the overview of its account in the portal shows its URL",
            "sig=": "a signature is of no use here: the credentials are the connector's",
        },
    ),
]
Ambient = Annotated[str, _match_pattern("ambient", "is no way of giving credentials", '"ambient"')]
"""The machine's own identity."""
Endpoint = Annotated[WebAddress, AfterValidator(_check_endpoint)]
"""The address of a service, without a trailing slash."""
Proxy = Annotated[WebAddress, AfterValidator(_check_proxy)]
ExportBasePath = Annotated[str, AfterValidator(_base_path)]
"""A path for exports, without empty and `.` segments; empty: the location itself."""
