"""How each cloud asks and refuses on the wire, for faults that its emulator does not have of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tests.http_faults import Answer

RETRY_AFTER_SECONDS = 7
PART_BYTES = 1 << 20
"""What the adapters send of a large object at once, where tests have them send less than they do."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """Regular expressions for requests, as `HttpFaultProxy.fail` takes them, and answers in the words of the cloud."""

    listing: str
    next_page: str
    reading: str
    creating: str
    """Of a small object: the one request that makes it."""
    part: str
    """Of a large object: a part of it, perhaps the first."""
    commit: str
    """Of a large object: the last request, that makes it be there."""

    def parts_before_commit(self, size: int) -> int:
        """How many requests that look like the last one come before it."""
        return (size - 1) // PART_BYTES if self.part == self.commit else 0

    throttled: Answer
    busy: Answer
    """Throttled, without a word for how long."""
    expired: tuple[Answer, ...]
    denied: Answer
    no_bucket: Answer
    permission: str
    """What a hint names when reading is denied."""
    broken: Answer
    no_listings: tuple[Answer, ...]
    """Successes that are no page of a listing, or not a whole one."""


def _xml(status: int, code: str, message: str, **headers: str) -> Answer:
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    said = {"x-ms-error-code": code} if status != 200 else {}
    return Answer(status, body.encode(), {"Content-Type": "application/xml", **said, **headers})


def _json(status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    body = json.dumps({"error": error}).encode()
    return Answer(status, body, {"Content-Type": "application/json; charset=UTF-8", **(headers or {})})


def _page(text: str, kind: str = "application/xml") -> Answer:
    return Answer(200, text.encode(), {"Content-Type": kind})


_LATER = {"Retry-After": str(RETRY_AFTER_SECONDS)}
_FROM_A_GATEWAY = (
    _page("", "text/html"),
    _page("<!DOCTYPE html><html><body>Sign in</body></html>", "text/html"),
)

S3 = Dialect(
    listing=r"^GET .*\blist-type=2",
    next_page=r"\bcontinuation-token=",
    reading=r"^GET /[^/?]+/[^?]",
    creating=r"^PUT /",
    part=r"^PUT .*\bpartNumber=1\b",
    commit=r"^POST .*[?&]uploadId=",
    throttled=_xml(503, "SlowDown", "Please reduce your request rate.", **_LATER),
    busy=_xml(503, "SlowDown", "Please reduce your request rate."),
    expired=(
        _xml(400, "ExpiredToken", "The provided token has expired."),
        _xml(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
        _xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match."),
        _xml(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
    ),
    denied=_xml(403, "AccessDenied", "Access Denied"),
    no_bucket=_xml(404, "NoSuchBucket", "The specified bucket does not exist"),
    permission="s3:GetObject",
    broken=_xml(500, "InternalError", "We encountered an internal error. Please try again."),
    no_listings=(
        *_FROM_A_GATEWAY,
        _xml(200, "InternalError", "We encountered an internal error. Please try again."),
        _page("<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key>"),
        _page("<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"),
        _page("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"),
    ),
)  # fmt: skip
GCS = Dialect(
    listing=r"^GET /storage/v1/b/[^/]+/o\?",
    next_page=r"\bpageToken=",
    reading=r"^GET .*\balt=media",
    creating=r"^POST /upload/",
    part=r"^PUT .*\bupload_?id=",
    commit=r"^PUT .*\bupload_?id=",
    throttled=_json(429, "rateLimitExceeded", "The rate of requests is too high.", _LATER),
    busy=_json(429, "rateLimitExceeded", "The rate of requests is too high."),
    expired=(_json(401, "authError", "Invalid Credentials"),),
    denied=_json(403, "forbidden", "x@y.iam does not have storage.objects.get access to the object."),
    no_bucket=_json(404, "notFound", "The specified bucket does not exist."),
    permission="storage.objects.get",
    broken=_json(503, "backendError", "We encountered an internal error."),
    no_listings=(
        *_FROM_A_GATEWAY,
        _page('{"kind":"storage#objects","items":[{"name":"a"', "application/json"),
        _page('{"kind":"storage#objects","items":[{"size":"1"}]}', "application/json"),
        _page("{}", "application/json"),
        _page("[]", "application/json"),
    ),
)
AZURE = Dialect(
    listing=r"^GET .*\bcomp=list\b",
    next_page=r"\bmarker=",
    reading=r"^GET /[^/]+/[^/?]+/[^?]+$",
    creating=r"^PUT /[^/]+/[^/?]+/[^?]+$",
    part=r"^PUT .*\bcomp=block\b",
    commit=r"^PUT .*\bcomp=blocklist\b",
    throttled=_xml(503, "ServerBusy", "The server is busy.", **_LATER),
    busy=_xml(503, "ServerBusy", "The server is busy."),
    expired=(
        _xml(403, "AuthenticationFailed", "Server failed to authenticate the request."),
        _xml(401, "InvalidAuthenticationInfo", "Lifetime validation failed. The token is expired."),
    ),
    denied=_xml(403, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation."),
    no_bucket=_xml(404, "ContainerNotFound", "The specified container does not exist."),
    permission="Storage Blob Data",
    broken=_xml(500, "InternalError", "The server encountered an internal error."),
    no_listings=(
        *_FROM_A_GATEWAY,
        _page("<EnumerationResults><Blobs><Blob><Name>a</Name>"),
        _page("<EnumerationResults><Blobs></Blobs></EnumerationResults>"),
        _page("<EnumerationResults><Blobs><Blob><Other/></Blob></Blobs><NextMarker/></EnumerationResults>"),
    ),
)  # fmt: skip
