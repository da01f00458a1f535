"""Decide which objects an automation picks up, and say why it skips the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from vvwatch.core.facts import is_fact_sidecar, wants_sidecar
from vvwatch.core.globs import Glob, check_pattern
from vvwatch.core.housekeeping import is_housekeeping, is_housekeeping_file
from vvwatch.core.objects import StorageObject, base_name, extension, media_type
from vvwatch.core.sidecars import SUFFIXES
from vvwatch.errors import InvalidInput

__all__ = [
    "WORTH_KNOWING",
    "ObjectFilter",
    "Reason",
    "Verdict",
    "check_exclude",
    "check_pattern",
    "check_rules",
    "explain_if_known",
    "explain_reason",
    "rules_of",
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
    HOUSEKEEPING = "housekeeping"
    EXCLUDED = "excluded"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    OWN_OUTPUT = "own_output"
    UNDECODABLE_NAME = "undecodable_name"
    NOT_A_REGULAR_FILE = "not_a_regular_file"
    PERMISSION_DENIED = "permission_denied"
    NEW_ONLY_KNOWN_KEY = "new_only_known_key"
    EXISTING = "existing"
    KNOWN_VERSION = "known_version"
    SETTLING = "settling"
    ARCHIVED = "archived"
    UNUSABLE_KEY = "unusable_key"
    KEY_TOO_LONG = "key_too_long"
    INCOMPLETE_ENTRY = "incomplete_entry"
    FOLDER_WITH_CONTENT = "folder_with_content"
    SIDECAR = "sidecar"


_SENTENCES: Final[dict[Reason, str]] = {
    Reason.ACCEPTED: "it matches and is picked up",
    Reason.OUTSIDE_PREFIX: "its key does not start with the source prefix",
    Reason.NOT_DIRECT_CHILD: "it lies deeper than the prefix, and the automation is not recursive",
    Reason.PATTERN_MISMATCH: "its name does not match the file pattern",
    Reason.TEMPORARY_NAME: "its name is hidden or that of an unfinished upload; renamed, it counts as new",
    Reason.FOLDER_MARKER: "it stands for a folder and has no content",
    Reason.ZERO_BYTE: "it is empty; it is looked at again when it changes",
    Reason.UNSUPPORTED_MEDIA_TYPE: "its extension is not one of a supported video, audio or image format",
    Reason.HOUSEKEEPING: "a NAS or a desktop keeps it for itself; moved out of its folder, it counts as new",
    Reason.EXCLUDED: "it matches a pattern that the automation excludes",
    Reason.TOO_SMALL: "it is smaller than the automation's min_size_bytes",
    Reason.TOO_LARGE: "it is larger than the automation's max_size_bytes",
    Reason.OWN_OUTPUT: "vvwatch wrote it itself as an export",
    Reason.UNDECODABLE_NAME: "its name is not valid UTF-8; rename it",
    Reason.NOT_A_REGULAR_FILE: "it is a link, device, pipe or socket, not a regular file",
    Reason.PERMISSION_DENIED: "it may not be read; give the daemon's user read permission",
    Reason.NEW_ONLY_KNOWN_KEY: "import mode new_only: an earlier version of this key was imported",
    Reason.EXISTING: "it existed before the automation began, and process_existing is false",
    Reason.KNOWN_VERSION: "this version was picked up before",
    Reason.ARCHIVED: "it is archived and waits to be restored; it is picked up when it can be read",
    Reason.UNUSABLE_KEY: "its key cannot be asked for (a NUL, or a '.' or '..' segment); rename it",
    Reason.KEY_TOO_LONG: "its key is longer than a request can name; rename it",
    Reason.INCOMPLETE_ENTRY: (
        "the store lists it without its size or its time of change; only the store's operator can mend that"
    ),
    Reason.FOLDER_WITH_CONTENT: "its key ends with a slash, as a folder's does, and it has content; rename it",
    Reason.SIDECAR: "its name is that of captions or facts: they are read with the media of the same name",
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
        Reason.KEY_TOO_LONG,
        Reason.INCOMPLETE_ENTRY,
        Reason.FOLDER_WITH_CONTENT,
    }
)
"""Reasons that matter to the person who put the object there: reported as a skipped file."""

_SIDECAR_ENDINGS: Final = tuple(f".{suffix}" for suffix in SUFFIXES)
_TEMPORARY_ENDINGS: Final = ("~", ".part", ".partial", ".crdownload", ".tmp", ".filepart", ".!qb")


def explain_reason(reason: Reason) -> str:
    """Return the reason as the second half of a sentence about the object."""
    return _SENTENCES[reason]


def explain_if_known(reason: str) -> str:
    """Return the sentence for a stored reason, or the reason itself if a newer vvwatch wrote it."""
    return explain_reason(Reason(reason)) if reason in _SENTENCES else reason


class Verdict(NamedTuple):
    """Whether an object is picked up; `detail` adds to `reason`, or is empty."""

    accepted: bool
    reason: Reason
    detail: str


_ACCEPTED: Final = Verdict(accepted=True, reason=Reason.ACCEPTED, detail="")


def _reject(reason: Reason, detail: str = "") -> Verdict:
    return Verdict(accepted=False, reason=reason, detail=detail)


class HasRules(Protocol):
    """What a row of an automation or an import job says of the objects that it takes."""

    @property
    def source_prefix(self) -> str:
        """The start of their keys."""
        ...

    @property
    def file_pattern(self) -> str:
        """The glob of their names."""
        ...

    @property
    def recursive(self) -> bool:
        """Whether folders below count."""
        ...

    @property
    def exclude_patterns(self) -> list[str] | None:
        """The globs of what is left out."""
        ...

    @property
    def min_size_bytes(self) -> int | None:
        """The least size."""
        ...

    @property
    def max_size_bytes(self) -> int | None:
        """The greatest size."""
        ...


class ObjectFilter:
    """The rules of an automation or an import job.

    `prefix` is the literal start of a key (or a whole key), `pattern` a glob (see `globs`). Without `recursive` only
    direct children of the prefix count. Objects that match an `exclude` glob, or lie outside the size bounds, are
    skipped. Raises InvalidInput for an unusable pattern.
    """

    __slots__ = (
        "_bounded",
        "_excluded",
        "_folder",
        "_glob",
        "_partial",
        "_reads_facts",
        "_sizes",
        "_strip",
        "pattern",
        "prefix",
        "recursive",
    )

    def __init__(
        self,
        prefix: str,
        pattern: str,
        recursive: bool,
        exclude: Sequence[str] | None = None,
        min_size_bytes: int | None = None,
        max_size_bytes: int | None = None,
        *,
        reads_facts: bool = False,
    ) -> None:
        self.prefix = prefix
        self.pattern = pattern
        self.recursive = recursive
        self._reads_facts = reads_facts
        self._glob = Glob(pattern)
        self._excluded = [(each, Glob(each)) for each in exclude or ()]
        self._sizes = min_size_bytes, max_size_bytes
        self._bounded = self._sizes != (None, None)
        self._folder = prefix.rfind("/") + 1
        self._partial = self._folder != len(prefix)
        self._strip = not prefix.endswith("/")

    @classmethod
    def of(cls, row: HasRules) -> ObjectFilter:
        """Return the rules in a row of an automation or an import job."""
        return cls(*rules_of(row), reads_facts=wants_sidecar(getattr(row, "facts", None)))

    def verdict(self, obj: StorageObject) -> Verdict:
        """Return the verdict on `obj`.

        The first rule of `name_verdict` that rejects it, else its size or storage class.
        """
        verdict = self.name_verdict(obj.key)
        if verdict.reason is Reason.FOLDER_MARKER and obj.key and obj.size_bytes:
            return _reject(Reason.FOLDER_WITH_CONTENT)
        if verdict.accepted and obj.size_bytes == 0:
            return _reject(Reason.ZERO_BYTE)
        if verdict.accepted and self._bounded:
            verdict = self._size_verdict(obj.size_bytes)
        if verdict.accepted and obj.archived:
            return _reject(Reason.ARCHIVED)
        return verdict

    def wants(self, obj: StorageObject) -> bool:
        """Return whether name and size of `obj` match, whatever else speaks against it."""
        return self.name_verdict(obj.key).accepted and self._size_verdict(obj.size_bytes).accepted

    def name_verdict(self, key: str) -> Verdict:
        """Return the verdict on the name alone: marker, prefix, depth, housekeeping, patterns, type, encoding."""
        if not key or key.endswith("/"):
            return _reject(Reason.FOLDER_MARKER)
        if not key.startswith(self.prefix):
            return _reject(Reason.OUTSIDE_PREFIX, self.prefix)
        rest = self._rest(key)
        if not self.recursive and "/" in rest:
            return _reject(Reason.NOT_DIRECT_CHILD)
        return self._below(key, rest)

    def is_relevant(self, key: str, reason: str) -> bool:
        """Return whether an entry that is no object has a wanted name, or may hide wanted objects."""
        hides = reason == Reason.PERMISSION_DENIED or (key.endswith("/") and self.recursive)
        return not self._is_left_out(key.rstrip("/")) if hides else self.name_verdict(key).accepted

    def skips(self, folder: str) -> bool:
        """Return whether everything below a folder (key without its trailing slash) is excluded."""
        if not self._excluded or not folder.startswith(self.prefix):
            return False
        rest = self._rest(folder)
        return bool(rest) and any(glob.matches_all_below(rest) for _, glob in self._excluded)

    def _rest(self, key: str) -> str:
        rest = key[len(self.prefix) :]
        return rest.removeprefix("/") if self._strip else rest

    def _is_left_out(self, folder: str) -> bool:
        return self._is_housekeeping(f"{folder}/") or self.skips(folder)

    def _below(self, key: str, rest: str) -> Verdict:
        name = base_name(key)
        if self._is_housekeeping(key):
            return _reject(Reason.HOUSEKEEPING)
        if self._is_temporary(key, name):
            return _reject(Reason.TEMPORARY_NAME)
        sidecar = name[-4:].lower() in _SIDECAR_ENDINGS and len(name) > 4
        sidecar = sidecar or (self._reads_facts and is_fact_sidecar(name))
        if not (sidecar or self._glob.matches(rest or name, name)):
            return _reject(Reason.PATTERN_MISMATCH, self.pattern)
        for pattern, glob in self._excluded:
            if glob.matches(rest or name, name):
                return _reject(Reason.EXCLUDED, pattern)
        if not (key.isascii() or _is_text(key)) and (sidecar or media_type(name)):
            return _reject(Reason.UNDECODABLE_NAME)
        return _type_verdict(name, sidecar=sidecar)

    def _size_verdict(self, size_bytes: int) -> Verdict:
        least, most = self._sizes
        if least is not None and size_bytes < least:
            return _reject(Reason.TOO_SMALL, f"{size_bytes:,} of {least:,} bytes")
        if most is not None and size_bytes > most:
            return _reject(Reason.TOO_LARGE, f"{size_bytes:,} of {most:,} bytes")
        return _ACCEPTED

    def _is_housekeeping(self, key: str) -> bool:
        """Return whether a folder below the prefix is a system's own. The prefix itself was asked for."""
        first, last = self._folder, key.rfind("/")
        if self._partial:
            first = key.find("/", first) + 1 or last
        return last > first and _holds_housekeeping(key[first:last])

    def _is_temporary(self, key: str, name: str) -> bool:
        """Return whether a segment below the prefix is temporary. Segments spelt out in the prefix were asked for."""
        hidden = not self._partial and key.startswith(".", self._folder)
        hidden = hidden or key.find("/.", self._folder) >= 0
        return hidden or name.startswith("~$") or name.lower().endswith(_TEMPORARY_ENDINGS)


def _type_verdict(name: str, *, sidecar: bool) -> Verdict:
    if sidecar:
        return _reject(Reason.SIDECAR)
    if media_type(name) is not None:
        return _ACCEPTED
    if is_housekeeping_file(name):
        return _reject(Reason.HOUSEKEEPING)
    return _reject(Reason.UNSUPPORTED_MEDIA_TYPE, extension(name))


def rules_of(row: HasRules) -> tuple[str, str, bool, list[str] | None, int | None, int | None]:
    """Return the arguments of `ObjectFilter`, as a row of an automation or an import job holds them."""
    return (
        row.source_prefix,
        row.file_pattern,
        row.recursive,
        row.exclude_patterns,
        row.min_size_bytes,
        row.max_size_bytes,
    )


def check_exclude(pattern: str) -> None:
    """Raises InvalidInput with the reason if `pattern` cannot be excluded."""
    if pattern.endswith("/") and pattern.strip("/"):
        folder = pattern.strip("/")
        raise InvalidInput(
            f"{pattern!r} ends with a slash, so no object can match",
            f"all below a folder is {folder + '/**'!r}, and wherever it lies '**/{folder}/**'",
        )
    check_pattern(pattern)


def check_rules(row: Mapping[str, Any]) -> None:
    """Raises InvalidInput if rules, given by their column names, are unusable."""
    check_pattern(row["file_pattern"])
    for pattern in row["exclude_patterns"] or ():
        check_exclude(pattern)
    least, most = row["min_size_bytes"], row["max_size_bytes"]
    if least is not None and most is not None and least > most:
        raise InvalidInput(
            f"min_size_bytes ({least}) is more than max_size_bytes ({most}), so no object can match",
            "leave one of them out, or swap them",
        )


@lru_cache(maxsize=4096)
def _holds_housekeeping(folder: str) -> bool:
    return any(map(is_housekeeping, folder.split("/")))


def _is_text(key: str) -> bool:
    """Return False for a local name whose bytes are not UTF-8: it carries lone surrogates."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
