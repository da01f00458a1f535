"""Parse Blob Storage events from Event Grid, without trusting their content.

Event Grid's own schema and CloudEvents 1.0 are known, one event or an array, plain or in base64. An event equals a
listing entry only if one request committed a block blob. With a hierarchical namespace CopyBlob is reported when the
copy starts: such a blob is looked up, as after any unknown operation.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from vvwatch.core.changes import EventKind, ObjectEvent
from vvwatch.core.objects import StorageObject
from vvwatch.providers.azure.listing import is_usable_key
from vvwatch.providers.messages import (
    LARGEST_BYTES,
    ParsedMessage,
    UnusableMessage,
    parse_each,
    parse_or_refuse,
    parse_time,
    require_mapping,
)

_MOST_CHARACTERS: Final = 1 << 18
"""A message of a queue has at most 64 KiB."""
_COMMITTED: Final = ("PutBlob", "PutBlockList")
_BEGUN: Final = ("CreateFile", "SftpCreate")
"""Operations that create empty files; another event reports the finished write."""
_ACCOUNT: Final = re.compile(r"/providers/Microsoft\.Storage/storageAccounts/([^/]+)\Z", re.IGNORECASE)
_SUBJECT: Final = re.compile(r"/blobServices/default/containers/([^/]+)/blobs/(.+)", re.DOTALL)
_ETAG: Final = re.compile(r'"?([!#-~]{1,128})"?')
_SEQUENCER: Final = re.compile(r"[0-9A-Fa-f]{1,64}")


def parse_message(text: str, storage_account: str, container: str) -> ParsedMessage:
    """Return the events of the container in a message body; never raises."""
    return parse_or_refuse(
        lambda: parse_each(_decode_events(text), lambda item: _parse_event(item, storage_account, container)),
        text,
    )


def _decode_events(text: str) -> list[Any]:
    """Return the events in the body."""
    if len(text) > _MOST_CHARACTERS:
        raise UnusableMessage("malformed", "the message is longer than any of a queue")
    try:
        plain = text.lstrip().startswith(("{", "["))
        found = json.loads(text if plain else b64decode(text, validate=True))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict | list):
        raise UnusableMessage("malformed", "it is no JSON, neither plain nor in base64")
    return found if isinstance(found, list) else [found]


def _parse_event(event: Any, storage_account: str, container: str) -> tuple[ObjectEvent, ...]:
    if not isinstance(event, dict):
        raise UnusableMessage("malformed", "an event is no JSON object")
    cloud = "specversion" in event
    name = _require_text(event, "type" if cloud else "eventType")
    if name.startswith("Microsoft.EventGrid."):
        return ()  # of a subscription: that it is new, or gone
    if not name.startswith("Microsoft.Storage."):
        raise UnusableMessage("foreign", "it is no event of a storage account")
    account = _ACCOUNT.search(_require_text(event, "source" if cloud else "topic"))
    if not account or account[1].lower() != storage_account.lower():
        raise UnusableMessage("foreign", "it is about another storage account")
    subject = _SUBJECT.fullmatch(_require_text(event, "subject"))
    kind = name.removeprefix("Microsoft.Storage.")
    if not subject or (subject[1] != container and kind != "BlobRenamed"):
        raise UnusableMessage("foreign", "it is about no blob in this container")
    read = _READERS.get(kind)
    at = parse_time(event.get("time" if cloud else "eventTime"))
    return (
        read(_Change(container, subject[1], subject[2], require_mapping(event, "data"), at)) if read else ()
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of the blob at `key` of the container `place`; `container` is ours."""

    container: str
    place: str
    key: str
    data: Mapping[str, Any]
    at: float | None

    def event(self, kind: EventKind, url: str = "url", found: StorageObject | None = None) -> ObjectEvent:
        """Return the event of our blob; if its spelling is uncertain, only its possible keys."""
        if self.place != self.container:
            raise UnusableMessage("foreign", "it is about another container")
        if not is_usable_key(self.key):
            raise UnusableMessage("malformed", "no blob can have its key")
        spelled, sequencer = self.key_at(url), self.data.get("sequencer")
        certain = spelled == self.key
        other = () if certain or spelled is None or not is_usable_key(spelled) else (spelled,)
        ordered = isinstance(sequencer, str) and _SEQUENCER.fullmatch(sequencer)
        return ObjectEvent(
            kind, (self.key, *other), found if certain else None, str(sequencer) if ordered else ""
        )

    def key_at(self, name: str) -> str | None:
        """Return the key in the address at `name`; None outside our container."""
        url = self.data.get(name)
        try:
            path = urlsplit(url).path if isinstance(url, str) else ""
            _, ours, encoded = path.partition(f"/{self.container}/")
            return unquote(encoded, errors="strict") if ours else None
        except ValueError:
            return None


def _parse_created(change: _Change) -> tuple[ObjectEvent, ...]:
    if change.data.get("api") in _BEGUN and not change.data.get("contentLength"):
        return ()
    return (change.event(EventKind.CREATED, found=_to_object(change)),)


def _parse_removed(change: _Change) -> tuple[ObjectEvent, ...]:
    return (change.event(EventKind.REMOVED),)


def _parse_renamed(change: _Change) -> tuple[ObjectEvent, ...]:
    """Return the events of both keys; the old one has no order, because the sequencer is the new key's."""
    before = change.key_at("sourceUrl")
    removed = (
        (ObjectEvent(EventKind.REMOVED, (before,)),) if before is not None and is_usable_key(before) else ()
    )
    if removed and change.place != change.container:
        return removed
    return (*removed, change.event(EventKind.CREATED, "destinationUrl"))


def _parse_tier_changed(change: _Change) -> tuple[ObjectEvent, ...]:
    """Return that an archived blob is readable; reported when the change is done."""
    event = change.event(EventKind.RESTORED)
    return () if change.data.get("accessTier") == "Archive" else (event,)


_READERS: Final[dict[str, Callable[[_Change], tuple[ObjectEvent, ...]]]] = {
    "BlobCreated": _parse_created,
    "BlobDeleted": _parse_removed,
    "BlobRenamed": _parse_renamed,
    "BlobTierChanged": _parse_tier_changed,
}


def _to_object(change: _Change) -> StorageObject | None:
    """Return the blob with its listed version; None if a part of it is missing."""
    data, at = change.data, change.at
    etag, size = data.get("eTag"), data.get("contentLength")
    if data.get("api") not in _COMMITTED or data.get("blobType") != "BlockBlob" or at is None:
        return None
    version = _ETAG.fullmatch(etag) if isinstance(etag, str) else None
    if not version or type(size) is not int or not 0 <= size <= LARGEST_BYTES:
        return None
    return StorageObject(change.key, version[1], size, at, at, data.get("accessTier") == "Archive")


def _require_text(event: Mapping[str, Any], name: str) -> str:
    text = event.get(name)
    if not isinstance(text, str):
        raise UnusableMessage("malformed", f"it has no {name}")
    return text
