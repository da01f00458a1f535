"""Which objects an automation picks up, and why it leaves the others alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from vvwatch.core.globs import Glob, check_pattern
from vvwatch.core.objects import StorageObject, base_name, extension, media_type

__all__ = [
    "WORTH_KNOWING",
    "ObjectFilter",
    "Reason",
    "Verdict",
    "check_pattern",
    "explain",
]


class Reason(StrEnum):
    """Why an object was picked up or left alone."""

    ACCEPTED = "accepted"
    OUTSIDE_PREFIX = "outside_prefix"
    NOT_DIRECT_CHILD = "not_direct_child"
    PATTERN_MISMATCH = "pattern_mismatch"
    TEMPORARY_NAME = "temporary_name"
    FOLDER_MARKER = "folder_marker"
    ZERO_BYTE = "zero_byte"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    OWN_OUTPUT = "own_output"
    UNDECODABLE_NAME = "undecodable_name"
    NOT_A_REGULAR_FILE = "not_a_regular_file"
    PERMISSION_DENIED = "permission_denied"
    NEW_ONLY_KNOWN_KEY = "new_only_known_key"
    KNOWN_VERSION = "known_version"
    SETTLING = "settling"
    ARCHIVED = "archived"
    UNUSABLE_KEY = "unusable_key"


_SENTENCES: Final[dict[Reason, str]] = {
    Reason.ACCEPTED: "it matches and is picked up",
    Reason.OUTSIDE_PREFIX: "its key does not start with the source prefix",
    Reason.NOT_DIRECT_CHILD: "it lies deeper than the prefix, and the automation is not recursive",
    Reason.PATTERN_MISMATCH: "its name does not match the file pattern",
    Reason.TEMPORARY_NAME: "its name is hidden or that of an unfinished upload; renamed, it counts as new",
    Reason.FOLDER_MARKER: "it stands for a folder and has no content",
    Reason.ZERO_BYTE: "it is empty; it is looked at again when it changes",
    Reason.UNSUPPORTED_MEDIA_TYPE: "its extension is not one of a supported video, audio or image format",
    Reason.OWN_OUTPUT: "vvwatch wrote it itself as an export",
    Reason.UNDECODABLE_NAME: "its name is not valid UTF-8; rename it",
    Reason.NOT_A_REGULAR_FILE: "it is a link, device, pipe or socket, not a regular file",
    Reason.PERMISSION_DENIED: "it may not be read; give the daemon's user read permission",
    Reason.NEW_ONLY_KNOWN_KEY: "import mode new_only: an earlier version of this key was imported",
    Reason.KNOWN_VERSION: "this version was picked up before",
    Reason.ARCHIVED: "it is archived and waits to be restored; it is picked up when it can be read",
    Reason.UNUSABLE_KEY: "its key cannot be asked for (a NUL, or a '.' or '..' segment); rename it",
    Reason.SETTLING: "it may still be written to; it is taken when it has been still for the settle time",
}

WORTH_KNOWING: Final = frozenset(
    {
        Reason.ZERO_BYTE,
        Reason.UNSUPPORTED_MEDIA_TYPE,
        Reason.UNDECODABLE_NAME,
        Reason.NOT_A_REGULAR_FILE,
        Reason.PERMISSION_DENIED,
        Reason.ARCHIVED,
        Reason.UNUSABLE_KEY,
    }
)
"""What a person who put the object there would want to hear: reported as a skipped file."""

_TEMPORARY_ENDINGS: Final = ("~", ".part", ".partial", ".crdownload", ".tmp", ".filepart", ".!qb")


def explain(reason: Reason) -> str:
    """The reason as the second half of a sentence about the object."""
    return _SENTENCES[reason]


class Verdict(NamedTuple):
    """Whether an object is picked up; `detail` adds what `reason` leaves open, or is empty."""

    accepted: bool
    reason: Reason
    detail: str


_ACCEPTED: Final = Verdict(accepted=True, reason=Reason.ACCEPTED, detail="")


def _rejected(reason: Reason, detail: str = "") -> Verdict:
    return Verdict(accepted=False, reason=reason, detail=detail)


class ObjectFilter:
    """The rules of one automation, ready to be asked millions of times.

    `prefix` is the plain beginning of a key (and may be a whole key), `pattern` a glob (see `globs`);
    without `recursive` only direct children of the prefix count. Raises InvalidInput for an unusable pattern.
    """

    __slots__ = ("_folder", "_glob", "_partial", "_strip", "pattern", "prefix", "recursive")

    def __init__(self, prefix: str, pattern: str, recursive: bool) -> None:
        self.prefix = prefix
        self.pattern = pattern
        self.recursive = recursive
        self._glob = Glob(pattern)
        self._folder = prefix.rfind("/") + 1
        self._partial = self._folder != len(prefix)
        self._strip = not prefix.endswith("/")

    def verdict(self, obj: StorageObject) -> Verdict:
        """What becomes of `obj`: the first rule of `name_verdict` that rejects it, or else its size or class."""
        verdict = self.name_verdict(obj.key)
        if verdict.accepted and obj.size_bytes == 0:
            return _rejected(Reason.ZERO_BYTE)
        if verdict.accepted and obj.archived:
            return _rejected(Reason.ARCHIVED)
        return verdict

    def name_verdict(self, key: str) -> Verdict:
        """What the name alone decides: marker, prefix, depth, temporary name, pattern, type, encoding."""
        if not key or key.endswith("/"):
            return _rejected(Reason.FOLDER_MARKER)
        if not key.startswith(self.prefix):
            return _rejected(Reason.OUTSIDE_PREFIX, self.prefix)
        rest = key[len(self.prefix) :]
        if self._strip:
            rest = rest.removeprefix("/")
        if not self.recursive and "/" in rest:
            return _rejected(Reason.NOT_DIRECT_CHILD)
        return self._below(key, rest)

    def minds(self, key: str, reason: str) -> bool:
        """Whether what stands at `key`, and for that reason is no object, is wanted by its name or may hide what is."""
        hides = reason == Reason.PERMISSION_DENIED or (key.endswith("/") and self.recursive)
        return hides or self.name_verdict(key).accepted

    def _below(self, key: str, rest: str) -> Verdict:
        name = base_name(key)
        if self._is_temporary(key, name):
            return _rejected(Reason.TEMPORARY_NAME)
        if not self._glob.matches(rest or name, name):
            return _rejected(Reason.PATTERN_MISMATCH, self.pattern)
        if media_type(name) is None:
            return _rejected(Reason.UNSUPPORTED_MEDIA_TYPE, extension(name))
        return _ACCEPTED if key.isascii() or _is_text(key) else _rejected(Reason.UNDECODABLE_NAME)

    def _is_temporary(self, key: str, name: str) -> bool:
        """What the prefix spells out was asked for: only the segments that it leaves open are judged."""
        hidden = not self._partial and key.startswith(".", self._folder)
        hidden = hidden or key.find("/.", self._folder) >= 0
        return hidden or name.startswith("~$") or name.lower().endswith(_TEMPORARY_ENDINGS)


def _is_text(key: str) -> bool:
    """False for a local name whose bytes are not UTF-8: it carries lone surrogates."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
