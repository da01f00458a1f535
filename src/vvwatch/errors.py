"""Every error of vvwatch, and whether trying again can help.

VvwatchError                  message, hint, code; permanent unless `transient` is true
├── InvalidInput              what was sent or written cannot be used (422)
│   └── ConfigInvalid         the configuration file has problems; carries them all
├── NotFound                  no such resource (404)
├── Conflict                  the resource's state forbids it (409)
│   └── RequestMismatch       an Idempotency-Key came with another request before
├── StoreError
│   ├── StoreUnavailable      (transient) the database does not take reads or writes now
│   ├── StoreLocked           another process owns this database
│   └── SchemaTooNew          a newer vvwatch has written this database
├── StorageError              the store of objects said no
│   ├── ObjectNotFound        the object is not there (any more)
│   ├── ObjectChanged         another version stands where this one stood
│   ├── ObjectExists          a conditional create met other content
│   ├── AccessDenied          the store refuses this identity
│   ├── OutsideLocation       the key or path would leave the connector's location
│   ├── ObjectArchived        the object must be restored before it can be read
│   ├── ObjectTooLarge        the object needs more room than the spool may ever take
│   └── StorageUnavailable    (transient) the store does not answer, or the location is gone
│       ├── OnAnotherNode     the folder is on another node (409)
│       ├── StorageThrottled  the store asks for fewer requests; perhaps says for how long
│       ├── CredentialsRefused the store does not know these credentials, or not any more
│       └── SpoolFull         there is no room on this machine for the object just now
├── MediaError                the processor could not do its work on this media
│   ├── MediaUnreadable       not media, or damaged beyond use
│   ├── MediaLimit            needs more than the limits allow; says which
│   └── ProcessorCrashed      (transient) the child died by a signal or a time-out
├── TokenRefused              a token is not one of this installation, or counts no more (401)
├── AttachmentRefused         a file cannot be fetched from its address
│   └── AttachmentUnavailable (transient) not now
└── DeliveryRefused           a webhook's address is not allowed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class VvwatchError(Exception):
    """Something went wrong that a person can act on: `message` says what and where, `hint` what to try."""

    code: ClassVar[str] = "internal_error"
    transient: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(VvwatchError):
    """Raised when a value that came from outside cannot be used."""

    code = "validation_error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration: where it stands, what it is, what would be right.

    `file` is a path, or `environment` or `flags`; `line` counts from 1 and is None where there are no lines.
    """

    file: str
    line: int | None
    key: str
    what: str
    allowed: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """`file:line key: what (allowed: …) — hint`, without the parts that are empty."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        where = " ".join(part for part in (place, self.key) if part)
        allowed = f" (allowed: {self.allowed})" if self.allowed else ""
        hint = f" — {self.hint}" if self.hint else ""
        return f"{where}: {self.what}{allowed}{hint}"


class ConfigInvalid(InvalidInput):
    """Raised when the configuration has problems; `problems` holds all of them, in the order of the file."""

    code = "config_invalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)), "correct them, then try `vvwatch check`")
        self.problems = problems


class NotFound(VvwatchError):
    """Raised when a named resource does not exist; `resource` is its type, e.g. `import_job`."""

    def __init__(self, resource: str, identifier: str, hint: str = "") -> None:
        super().__init__(f"no {resource.replace('_', ' ')} {identifier!r}", hint)
        self.resource = resource


class Conflict(VvwatchError):
    """Raised when the state of a resource forbids what was asked."""

    code = "conflict"


class RequestMismatch(Conflict):
    """Raised when a key that stands for one request comes with another."""

    code = "idempotency_request_mismatch"


class StoreError(VvwatchError):
    """The database could not be opened or used."""

    code = "store_error"


class StoreUnavailable(StoreError):
    """Raised when the database cannot be read or written now: the disk is full, or the connection is gone."""

    code = "store_unavailable"
    transient = True


class StoreLocked(StoreError):
    """Raised when another process owns the database file."""

    code = "store_locked"


class SchemaTooNew(StoreError):
    """Raised when the database was written by a newer version."""

    code = "schema_too_new"


class StorageError(VvwatchError):
    """A store of objects refused or failed."""

    code = "storage_error"


class ObjectNotFound(StorageError):
    """Raised when no object stands at the key."""

    code = "object_not_found"


class ObjectChanged(StorageError):
    """Raised when the object at the key is not the version that was asked for."""

    code = "object_changed"


class ObjectExists(StorageError):
    """Raised by a conditional create when different content already stands at the key."""

    code = "object_exists"


class AccessDenied(StorageError):
    """Raised when the store refuses this identity; the hint names the missing permission."""

    code = "access_denied"


class OutsideLocation(StorageError):
    """Raised when a key, prefix or subpath would leave the connector's location."""

    code = "outside_location"


class StorageUnavailable(StorageError):
    """Raised when the store does not answer or the folder is not mounted."""

    code = "storage_unavailable"
    transient = True


class ObjectArchived(StorageError):
    """Raised when the object stands in an archive class and has to be restored before it can be read."""

    code = "object_archived"


class ObjectTooLarge(StorageError):
    """Raised when the object needs more room than the spool may ever take."""

    code = "object_too_large"


class StorageThrottled(StorageUnavailable):
    """Raised when the store asks for fewer requests; `retry_after_seconds` is its own word, or None."""

    code = "storage_throttled"

    def __init__(self, message: str, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_seconds = retry_after_seconds


class CredentialsRefused(StorageUnavailable):
    """Raised when the store does not know the credentials, or not any more; all waits until they are mended."""

    code = "credentials_refused"


class SpoolFull(StorageUnavailable):
    """Raised when this machine has no room for the object just now."""

    code = "spool_full"


class OnAnotherNode(StorageUnavailable):
    """Raised when only another node reaches the location."""

    code = "on_another_node"


class MediaError(VvwatchError):
    """A processor could not do its work on one media item."""

    code = "processing_failed"


class MediaUnreadable(MediaError):
    """Raised when the bytes are not media, are truncated, or are damaged beyond use."""

    code = "media_unreadable"


class MediaLimit(MediaError):
    """Raised when an item needs more memory, time, pixels or output than the limits allow."""

    code = "media_limit"


class ProcessorCrashed(MediaError):
    """Raised when the processor's child died by a signal or ran out of time."""

    code = "processor_crashed"
    transient = True


class TokenRefused(VvwatchError):
    """Raised for a token that this installation did not make, or that has expired."""

    code = "authentication_invalid_token"


class AttachmentRefused(VvwatchError):
    """Raised when a file cannot be fetched from the address that was given for it."""

    code = "attachment_download_failed"


class AttachmentUnavailable(AttachmentRefused):
    """Raised when the host of the file does not answer, or breaks off."""

    transient = True


class DeliveryRefused(VvwatchError):
    """Raised when a webhook's address resolves to one that is not allowed."""

    code = "delivery_refused"
