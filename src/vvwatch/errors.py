"""Every error of vvwatch, and whether trying again can help.

VvwatchError                  message, hint, code; permanent unless `transient` is true
├── InvalidInput              what was sent or written cannot be used (422)
│   ├── ConfigInvalid         the configuration file has problems; carries them all
│   └── ModelNotConfigured    no processor answers to this model
├── NotFound                  no such resource (404)
├── Conflict                  the resource's state forbids it (409)
│   ├── RequestMismatch       an Idempotency-Key came with another request before
│   ├── AnswerNotKept         the answer to a repeated request showed a secret, once
│   └── LimitReached          there are as many of these as there may be
├── StoreError
│   ├── StoreUnavailable      (transient) the database does not take reads or writes now
│   ├── StoreLocked           another process owns this database
│   ├── SecretKeyMismatch     the secret key is not the one that sealed its secrets
│   └── SchemaTooNew          a newer vvwatch has written this database
├── StorageError              the store of objects said no
│   ├── ObjectNotFound        the object is not there (any more)
│   ├── ObjectChanged         another version stands where this one stood
│   ├── ObjectExists          a conditional create met other content
│   ├── AccessDenied          the store refuses this identity
│   ├── OutsideLocation       the key or path would leave the connector's location
│   ├── ObjectArchived        the object must be restored before it can be read
│   ├── ObjectTooLarge        the object needs more room than the spool may ever take
│   ├── ObjectUnavailable     the store answers for others, and not for this object
│   └── StorageUnavailable    (transient) the store does not answer, or the location is gone
│       ├── OnAnotherNode     the folder is on another node (409)
│       ├── StorageThrottled  the store asks for fewer requests; perhaps says for how long
│       └── CredentialsRefused the store does not know these credentials, or not any more
├── MachineShortage           (transient) this machine lacks something, whatever the file: it is waited for
│   └── SpoolFull             there is no room on this machine for the object just now
├── MediaError                the processor could not do its work on this media
│   ├── MediaUnreadable       not media, or damaged beyond use
│   │   ├── MediaUnsupported  a coding that has no decoder here; nothing says that it is damaged
│   │   └── MediaEncrypted    the content is encrypted, and nobody gave us a key
│   ├── MediaLimit            needs more than the limits allow; says which
│   └── ProcessorCrashed      (transient) the child died by a signal or a time-out
├── ProcessorError            the processor, not the media, is the cause
│   ├── ProcessorRefused      it will never do this item, and says why
│   ├── ProcessorUnavailable  (transient) it does not answer now; perhaps says for how long
│   │   ├── ProcessorClosing  vvwatch is stopping: no call begins any more
│   │   └── BudgetHeld        what a budget has left is held for calls under way
│   └── ProcessorPaused       (transient) nobody may ask it before something is mended
│       └── BudgetReached     the money that may be spent is spent
│           └── ItemBudgetReached what one item may cost is spent; others go on
├── Interrupted               the work on an item ends here, and that is no failure
│   ├── Superseded            somebody else has the item now
│   └── RunStopped            its run was cancelled
├── TokenRefused              a token is not one of this installation, or counts no more (401)
├── AttachmentRefused         a file cannot be fetched from its address
│   └── AttachmentUnavailable (transient) not now
└── DeliveryRefused           a webhook's address is not allowed
"""

from __future__ import annotations

from typing import ClassVar

from vvwatch.problems import Problem as Problem  # noqa: PLC0414  # everybody has it from here


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


class ConfigInvalid(InvalidInput):
    """Raised when the configuration has problems; `problems` holds all of them, in the order of the file."""

    code = "config_invalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)), "correct them, then try `vvwatch check`")
        self.problems = problems


class ModelNotConfigured(InvalidInput):
    """Raised when a `processing_model` names no processor and none of their models."""

    code = "model_not_configured"


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


class AnswerNotKept(Conflict):
    """Raised when a repeated request asks for an answer that showed a secret: the request was done, once."""

    code = "idempotency_answer_not_kept"


class LimitReached(Conflict):
    """Raised when there are as many of a thing as may be made."""

    code = "limit_reached"


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


class SecretKeyMismatch(StoreError):
    """Raised when there is another secret key than the one that the database's secrets were sealed with."""

    code = "secret_key_mismatch"


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


class ObjectUnavailable(StorageError):
    """Raised when a store that answers for others does not give this object, however often it is asked."""

    code = "object_unavailable"


class StorageThrottled(StorageUnavailable):
    """Raised when the store asks for fewer requests; `retry_after_seconds` is its own word, or None."""

    code = "storage_throttled"

    def __init__(self, message: str, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_seconds = retry_after_seconds


class CredentialsRefused(StorageUnavailable):
    """Raised when the store does not know the credentials, or not any more; all waits until they are mended."""

    code = "credentials_refused"


class OnAnotherNode(StorageUnavailable):
    """Raised when only another node reaches the location."""

    code = "on_another_node"


class MachineShortage(VvwatchError):
    """Raised when this machine lacks descriptors, processes, memory or room now; `is_suspect`: the item may be why."""

    code = "machine_shortage"
    transient = True
    is_suspect = False


class SpoolFull(MachineShortage):
    """Raised when this machine has no room for the object just now."""

    code = "spool_full"


class MediaError(VvwatchError):
    """A processor could not do its work on one media item."""

    code = "processing_failed"


class MediaUnreadable(MediaError):
    """Raised when the bytes are not media, are truncated, or are damaged beyond use."""

    code = "media_unreadable"


class MediaUnsupported(MediaUnreadable):
    """Raised when media has a coding that cannot be decoded here; the hint says what to convert it to."""

    code = "media_unsupported"


class MediaEncrypted(MediaUnreadable):
    """Raised when pictures or sound are encrypted, so that what is decoded would be noise."""

    code = "media_encrypted"


class MediaLimit(MediaError):
    """Raised when an item needs more memory, time, pixels or output than the limits allow."""

    code = "media_limit"


class ProcessorCrashed(MediaError):
    """Raised when the processor's child died by a signal or ran out of time."""

    code = "processor_crashed"
    transient = True


class ProcessorError(VvwatchError):
    """The processor is the cause, not the media."""

    code = "processor_error"


class ProcessorRefused(ProcessorError):
    """Raised when a processor will never do this item."""

    code = "processor_refused"


class ProcessorUnavailable(ProcessorError):
    """Raised when a processor does not answer now; `retry_after_seconds` is its own word, or None. The item waits."""

    code = "processor_unavailable"
    transient = True

    def __init__(self, message: str, hint: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_seconds = retry_after_seconds


class ProcessorClosing(ProcessorUnavailable):
    """Raised when this process is about to end: the item goes on at another one, or at the next start."""

    code = "processor_closing"


class ProcessorPaused(ProcessorError):
    """Raised while a processor is paused; `until` is epoch seconds, None when a person must mend something."""

    code = "processor_paused"
    transient = True

    def __init__(self, message: str, hint: str = "", until: float | None = None) -> None:
        super().__init__(message, hint)
        self.until = until


class BudgetReached(ProcessorPaused):
    """Raised when a call would cost more than a budget has left; `until` is when its period ends, if it has one."""

    code = "budget_reached"


class ItemBudgetReached(BudgetReached):
    """Raised when the item itself has used up what one item may cost: others go on."""

    code = "item_budget_reached"


class BudgetHeld(ProcessorUnavailable):
    """Raised when a call fits a budget only once calls under way have ended, and proved cheaper than they might be."""

    code = "budget_held"


class Interrupted(VvwatchError):
    """The work on an item ends here; that is no failure of the item."""

    code = "interrupted"


class Superseded(Interrupted):
    """Raised when an item is no longer this process's to work on: nothing more may be recorded."""

    code = "superseded"


class RunStopped(Interrupted):
    """Raised when the item's run was cancelled: nothing more is begun."""

    code = "run_stopped"


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
