"""A queue's access policy: who may send, as far as its text shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_SEND: Final = "sqs:sendmessage"
_SOURCE: Final = "aws:sourcearn"


def build_statement(queue_arn: str, bucket_arn: str) -> dict[str, Any]:
    """Return the statement that lets S3 send for this bucket only."""
    bucket = bucket_arn.rpartition(":")[2]
    return {
        "Sid": "vvwatch-" + re.sub(r"[^A-Za-z0-9-]", "-", bucket),
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": bucket_arn}},
    }


def add_statement(policy: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Return `policy` with the statement, replacing one of its name; everything else stays."""
    kept = [each for each in _statements_of(policy) if each.get("Sid") != added["Sid"]]
    return {"Version": "2012-10-17", **policy, "Statement": [*kept, added]}


def lets_send(policy: Mapping[str, Any], service: str, queue_arn: str, source_arn: str = "") -> bool:
    """Return whether the service may send for the source; without one, for some source.

    Only the condition on the source is evaluated: other conditions of an allow count as met, those of a deny as not
    met.
    """
    concerning = [each for each in _statements_of(policy) if _is_about(each, service, queue_arn)]
    refused = any(each.get("Effect") == "Deny" and not each.get("Condition") for each in concerning)
    return not refused and any(
        each.get("Effect") == "Allow" and _is_from(each, source_arn) for each in concerning
    )


def _statements_of(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each for each in _as_list(policy.get("Statement")) if isinstance(each, dict)]


def _is_about(each: Mapping[str, Any], service: str, queue_arn: str) -> bool:
    return (
        _is_of(each.get("Principal"), service)
        and any(_matches_pattern(str(action).lower(), _SEND) for action in _as_list(each.get("Action")))
        and any(_matches_pattern(str(resource), queue_arn) for resource in _as_list(each.get("Resource")))
    )


def _is_of(principal: Any, service: str) -> bool:
    if not isinstance(principal, dict):
        return bool(principal == "*")
    return service in _as_list(principal.get("Service")) or "*" in _as_list(principal.get("AWS"))


def _is_from(each: Mapping[str, Any], source_arn: str) -> bool:
    return not source_arn or all(
        any(_matches_pattern(str(pattern), source_arn) for pattern in _as_list(patterns))
        for operator, keys in (each.get("Condition") or {}).items()
        if "Not" not in operator and isinstance(keys, dict)
        for key, patterns in keys.items()
        if key.lower() == _SOURCE
    )


def _matches_pattern(pattern: str, text: str) -> bool:
    """Match as policies do: `*` and `?` are wildcards."""
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, text, re.DOTALL) is not None


def _as_list(value: Any) -> Iterable[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
