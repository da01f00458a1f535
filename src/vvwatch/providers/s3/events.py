"""Parse events of S3 and compatible stores from a queue, without trusting their content.

There are three envelopes: S3's own (`Records`), SNS around it, and EventBridge's (`detail-type`). An event of another
bucket is foreign, unreadable text is malformed; neither ever becomes an event of ours. Irrelevant events of our
bucket (tags, permissions, storage classes) are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from vvwatch.core.changes import EventKind, ObjectEvent
from vvwatch.core.locations import check_key
from vvwatch.core.objects import StorageObject
from vvwatch.errors import InvalidInput
from vvwatch.providers.messages import (
    LARGEST_BYTES,
    ParsedMessage,
    UnusableMessage,
    parse_each,
    parse_or_refuse,
    parse_time,
    require_mapping,
)

_MOST_BYTES: Final = 1 << 20
"""As much as a message of SQS holds."""
_MOST_RECORDS: Final = 1_000
_MOST_ENVELOPES: Final = 3
_SEQUENCER: Final = re.compile(r"[0-9A-Fa-f]{1,64}")
_CONFIRMATIONS: Final = ("SubscriptionConfirmation", "UnsubscribeConfirmation")
_ETAG: Final = re.compile(r"[!-~]{1,256}")
_KINDS: Final = (
    ("ObjectCreated:", EventKind.CREATED),
    ("ObjectRemoved:", EventKind.REMOVED),
    ("LifecycleExpiration:", EventKind.REMOVED),
    ("ObjectRestore:Completed", EventKind.RESTORED),
)
_DETAIL_TYPES: Final = {
    "Object Created": EventKind.CREATED,
    "Object Deleted": EventKind.REMOVED,
    "Object Restore Completed": EventKind.RESTORED,
}


def parse_message(body: str, bucket: str, *, aws: bool) -> ParsedMessage:
    """Return the events for `bucket` in `body`; never raises. `aws`: the bucket is in AWS, not a compatible store.

    A message about our bucket and others counts as ours.
    """
    return parse_or_refuse(lambda: _parse_events(_open_envelopes(body), bucket, aws), body)


def _open_envelopes(body: str) -> dict[str, Any]:
    """Return the innermost envelope."""
    if len(body.encode(errors="surrogatepass")) > _MOST_BYTES:
        raise UnusableMessage("malformed", "the message is larger than 1 MiB")
    text: object = body
    for _ in range(_MOST_ENVELOPES):
        envelope = _parse_json(text)
        kind = envelope.get("Type")
        if kind not in ("Notification", *_CONFIRMATIONS):
            return envelope
        if kind != "Notification":
            raise UnusableMessage("foreign", f"SNS sends a {kind}, which a person must answer")
        text = envelope.get("Message")
    raise UnusableMessage("malformed", "there are envelopes in envelopes")


def _parse_json(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnusableMessage("malformed", "it is no JSON object")
    return found


def _parse_events(envelope: dict[str, Any], bucket: str, aws: bool) -> tuple[ObjectEvent, ...]:
    if "detail-type" in envelope:
        return _parse_event_bridge(envelope, bucket)
    records = envelope.get("Records")
    if isinstance(records, list):
        if len(records) > _MOST_RECORDS:
            raise UnusableMessage("malformed", f"it has {len(records):,} records")
        return parse_each(records, lambda item: _parse_record(item, bucket, aws))
    if envelope.get("Event") == "s3:TestEvent":
        return ()
    raise UnusableMessage("foreign", "it is no event of S3")


def _parse_record(record: Any, bucket: str, aws: bool) -> tuple[ObjectEvent, ...]:
    """Parse S3's own format, version 2: S3 form-encodes keys, MinIO every slash too, Ceph nothing."""
    s3 = require_mapping(record, "s3")
    _require_bucket(s3, bucket)
    version = record.get("eventVersion") or "2"
    if not str(version).startswith("2"):
        raise UnusableMessage("malformed", "its version is not 2")
    name = _require_text(record, "eventName").removeprefix("s3:")
    kind = next((kind for start, kind in _KINDS if name.startswith(start)), None)
    if kind is None:
        return ()
    subject = require_mapping(s3, "object")
    raw, source = _require_text(subject, "key"), record.get("eventSource")
    ways: Iterable[str | None] = _unquote(raw), raw
    if aws and source == "aws:s3":
        ways = [_unquote(raw)]
    elif str(source).startswith("ceph"):
        ways = raw, _unquote(raw)
    return (_Subject(kind, _possible_keys(ways), subject, record.get("eventTime")).event(),)


def _parse_event_bridge(event: dict[str, Any], bucket: str) -> tuple[ObjectEvent, ...]:
    """Parse EventBridge's format, with raw keys. That is undocumented, so possibly encoded keys are looked up."""
    if event.get("source") != "aws.s3":
        raise UnusableMessage("foreign", "it is no event of S3")
    detail = require_mapping(event, "detail")
    _require_bucket(detail, bucket)
    kind = _DETAIL_TYPES.get(_require_text(event, "detail-type"))
    if kind is None:
        return ()
    subject = require_mapping(detail, "object")
    raw = _require_text(subject, "key")
    return (_Subject(kind, _possible_keys((raw, _unquote(raw))), subject, event.get("time")).event(),)


@dataclass(frozen=True, slots=True)
class _Subject:
    """The object of an event, as the event describes it."""

    kind: EventKind
    keys: tuple[str, ...]
    said: dict[str, Any]
    at: object

    def event(self) -> ObjectEvent:
        found = self._parse_object() if self.kind is EventKind.CREATED and len(self.keys) == 1 else None
        sequencer = self.said.get("sequencer")
        ordered = isinstance(sequencer, str) and _SEQUENCER.fullmatch(sequencer)
        return ObjectEvent(self.kind, self.keys, found, str(sequencer) if ordered else "")

    def _parse_object(self) -> StorageObject | None:
        """Return the object with its listed version; None if a part of it is missing."""
        etag, size = self.said.get("eTag") or self.said.get("etag"), self.said.get("size")
        at = parse_time(self.at)
        if type(size) is not int or not 0 <= size <= LARGEST_BYTES or at is None:
            return None
        etag = etag.strip('"') if isinstance(etag, str) else ""
        return StorageObject(self.keys[0], f"{etag}:{size}", size, at, at) if _ETAG.fullmatch(etag) else None


def _require_bucket(place: dict[str, Any], bucket: str) -> None:
    if _require_text(require_mapping(place, "bucket"), "name") != bucket:
        raise UnusableMessage("foreign", "it is about another bucket")


def _require_text(outer: dict[str, Any], name: str) -> str:
    text = outer.get(name)
    if not isinstance(text, str):
        raise UnusableMessage("malformed", f"it has no {name}")
    return text


def _possible_keys(keys: Iterable[str | None]) -> tuple[str, ...]:
    """Return the distinct keys that an object can have. Raises without any."""
    possible = tuple(dict.fromkeys(key for key in keys if key is not None and _can_be(key)))
    if not possible:
        raise UnusableMessage("malformed", "no object can have its key")
    return possible


def _can_be(key: str) -> bool:
    try:
        check_key(key)
    except InvalidInput:
        return False
    return True


def _unquote(key: str) -> str | None:
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeError:
        return None
