"""Parse Cloud Storage notifications from Pub/Sub, without trusting their content.

One message reports one change in its attributes; its optional data are the object as listed. Changes of metadata are
ignored, and so is the end of a version that another one replaced, because its key still has an object.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

from vvwatch.core.changes import EventKind, ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.providers.gcs.listing import is_usable_key, parse_object
from vvwatch.providers.messages import (
    LARGEST_BYTES,
    ParsedMessage,
    UnusableMessage,
    parse_or_refuse,
    require_mapping,
)

_MOST_CHARACTERS: Final = 1 << 20
"""Of data: the longest names and 8 KiB of metadata need a tenth of it."""
_GENERATION: Final = re.compile(r"[0-9]{1,20}")
_KINDS: Final = {
    "OBJECT_FINALIZE": EventKind.CREATED,
    "OBJECT_DELETE": EventKind.REMOVED,
    "OBJECT_ARCHIVE": EventKind.REMOVED,
}


def parse_message(message: object, bucket: str) -> ParsedMessage:
    """Return the events for `bucket` in a Pub/Sub message; never raises."""
    attributes = _read_attributes(message)
    return parse_or_refuse(lambda: _parse_events(message, attributes, bucket), str(attributes))


def _read_attributes(message: object) -> Mapping[str, str]:
    try:
        attributes = require_mapping(message, "attributes")
    except UnusableMessage:
        return {}
    return {name: value for name, value in attributes.items() if isinstance(value, str)}


def _parse_events(message: object, attributes: Mapping[str, str], bucket: str) -> tuple[ObjectEvent, ...]:
    if not {"eventType", "bucketId", "objectId"} <= attributes.keys():
        raise UnusableMessage("foreign", "it is no notification of Google Cloud Storage")
    if attributes["bucketId"] != bucket:
        raise UnusableMessage("foreign", "it is about another bucket")
    kind = _KINDS.get(attributes["eventType"])
    if kind is None or (kind is EventKind.REMOVED and attributes.get("overwrittenByGeneration")):
        return ()
    key, generation = attributes["objectId"], attributes.get("objectGeneration", "")
    if not is_usable_key(key):
        raise UnusableMessage("malformed", "no object can have its key")
    if not _GENERATION.fullmatch(generation):
        raise UnusableMessage("malformed", "it has no objectGeneration")
    found = _to_object(message, attributes) if kind is EventKind.CREATED else None
    return (ObjectEvent(kind, (key,), found, _sequencer_of(generation, kind)),)


def _sequencer_of(generation: str, kind: EventKind) -> str:
    """Return texts of one width that compare as the numbers do; the end of a generation follows its beginning."""
    return f"{generation:0>20}{int(kind is EventKind.REMOVED)}"


def _to_object(message: Any, attributes: Mapping[str, str]) -> StorageObject | None:
    """Return the object in the data, as a listing gives it; None without one, or for another generation."""
    data = message.get("data")
    if attributes.get("payloadFormat") != "JSON_API_V1" or not isinstance(data, str):
        return None
    try:
        found = parse_object(b64decode(data[:_MOST_CHARACTERS], validate=True))
    except ValueError:
        return None
    agreed = (found.key, found.version) == (attributes["objectId"], attributes["objectGeneration"])
    return found if agreed and found.size_bytes <= LARGEST_BYTES else None
