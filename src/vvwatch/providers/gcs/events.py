"""What Google Cloud Storage tells of objects through Pub/Sub: read without trust, whatever stands there.

One message tells of one change, in its attributes; its data, where the bucket's configuration wants them, are the
object as a listing has it. Changes of metadata are passed over, and so is the end of a version that another one has
replaced: its key has an object still.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

from vvwatch.core.changes import EventKind, ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.providers.gcs.listing import parsed_object, usable
from vvwatch.providers.messages import LARGEST_BYTES, Told, Unusable, mapping, told_by

_MOST_CHARACTERS: Final = 1 << 20
"""Of data: the longest names and 8 KiB of metadata need a tenth of it."""
_GENERATION: Final = re.compile(r"[0-9]{1,20}")
_KINDS: Final = {
    "OBJECT_FINALIZE": EventKind.CREATED,
    "OBJECT_DELETE": EventKind.REMOVED,
    "OBJECT_ARCHIVE": EventKind.REMOVED,
}


def told(message: object, bucket: str) -> Told:
    """What a message as Pub/Sub gives it tells of `bucket`; never raises."""
    attributes = _attributes(message)
    return told_by(lambda: _events(message, attributes, bucket), str(attributes))


def _attributes(message: object) -> Mapping[str, str]:
    try:
        attributes = mapping(message, "attributes")
    except Unusable:
        return {}
    return {name: value for name, value in attributes.items() if isinstance(value, str)}


def _events(message: object, attributes: Mapping[str, str], bucket: str) -> tuple[ObjectEvent, ...]:
    if not {"eventType", "bucketId", "objectId"} <= attributes.keys():
        raise Unusable("foreign", "it is no notification of Google Cloud Storage")
    if attributes["bucketId"] != bucket:
        raise Unusable("foreign", "it tells of another bucket")
    kind = _KINDS.get(attributes["eventType"])
    if kind is None or (kind is EventKind.REMOVED and attributes.get("overwrittenByGeneration")):
        return ()
    key, generation = attributes["objectId"], attributes.get("objectGeneration", "")
    if not usable(key):
        raise Unusable("malformed", "no object can stand at its key")
    if not _GENERATION.fullmatch(generation):
        raise Unusable("malformed", "it has no objectGeneration")
    found = _found(message, attributes) if kind is EventKind.CREATED else None
    return (ObjectEvent(kind, (key,), found, _sequencer(generation, kind)),)


def _sequencer(generation: str, kind: EventKind) -> str:
    """Of one width, so that texts compare as the numbers do; the end of a generation comes after its beginning."""
    return f"{generation:0>20}{int(kind is EventKind.REMOVED)}"


def _found(message: Any, attributes: Mapping[str, str]) -> StorageObject | None:
    """The object that the data describe, as a listing does; None when there is none, or not the one announced."""
    data = message.get("data")
    if attributes.get("payloadFormat") != "JSON_API_V1" or not isinstance(data, str):
        return None
    try:
        found = parsed_object(b64decode(data[:_MOST_CHARACTERS], validate=True))
    except ValueError:
        return None
    agreed = (found.key, found.version) == (attributes["objectId"], attributes["objectGeneration"])
    return found if agreed and found.size_bytes <= LARGEST_BYTES else None
