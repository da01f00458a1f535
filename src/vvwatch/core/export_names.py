"""The names of an export's files, from a template such as `{index}/{date}/{stem}.{ext}`.

A name is safe on every store, depends on the database alone, and belongs to one file: where the template does not say
so itself, the short id `{item}` is added to it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from base64 import b32encode
from dataclasses import dataclass
from typing import Final

from vvwatch.errors import InvalidInput

_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_LONGEST: Final = {
    "index": 70,
    "date": 10,
    "run": 40,
    "prompt": 70,
    "export": 40,
    "stem": 90,
    "key": 400,
    "item": 12,
    "format": 24,
    "ext": 30,
}
"""The fields, and the most bytes each of them gives."""

_LONGEST_NAME: Final = 700
_LONGEST_SEGMENT: Final = 230
_LONGEST_FILE: Final = 255
_LONGEST_KEY: Final = 1024
_RESERVED: Final = frozenset('\\:*?"<>|{}^%`[]~#')
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_END: Final = ".{ext}"
_OF_ITEM: Final = "{export}/{stem}.{ext}"
_OF_RUN: Final = "{export}/{run}.{ext}"
_OF_ONLY_RUN: Final = "{export}.{ext}"


@dataclass(frozen=True, slots=True)
class NameFields:
    """The values of one file. `key` is that of its media item, None for a file of a whole run.

    `only_run`: the export can have no other run.
    """

    export_id: str
    index_id: str
    run_id: str
    prompt_id: str
    date: str
    only_run: bool
    key: str | None = None
    item_id: int = 0


def check_template(template: str) -> None:
    """Raise InvalidInput for a template that could give a name which a store refuses."""
    fields = _FIELD.findall(template)
    if unknown := [name for name in fields if name not in _LONGEST]:
        known = ", ".join(f"{{{name}}}" for name in _LONGEST)
        raise InvalidInput(
            f"the name {template!r} has an unknown field {{{unknown[0]}}}", f"the fields are {known}"
        )
    text = _FIELD.sub("x", template)
    segments = text.split("/")
    if ".." in segments or "." in segments or template.startswith("/"):
        raise InvalidInput(f"the name {template!r} leaves its folder", "leave out '..' and the leading slash")
    if "" in segments or not template.endswith(_END):
        raise InvalidInput(
            f"the name {template!r} does not end as a file", "let it end with .{ext}, without '//'"
        )
    if _sanitize(text, "/") != text:
        raise InvalidInput(
            f"the name {template!r} has a character that some store refuses", "use letters and digits"
        )
    if segments[-1] == "manifest.x" or "failures" in segments[:-1]:
        raise InvalidInput(f"the name {template!r} is that of a manifest or of failures", "choose another")
    _check_length(template)


def _check_length(template: str) -> None:
    longest = [
        len(_FIELD.sub("", part).encode()) + sum(_LONGEST[name] for name in _FIELD.findall(part))
        for part in template.replace("{key}", "{stem}").split("/")
    ]
    whole = sum(longest) + len(longest) + (_LONGEST["key"] if "{key}" in template else 0)
    if max(longest) + _LONGEST["item"] > _LONGEST_SEGMENT or whole > _LONGEST_NAME:
        raise InvalidInput(
            f"the name {template!r} can become too long", "use fewer fields between two slashes"
        )


def build_name(template: str | None, of: NameFields, format_name: str, ext: str) -> str:
    """Return the name of one file, below the destination folder; `ext` has no dot. None: the usual template."""
    chosen = template or _choose_template(of)
    if not _is_unique(chosen, of):
        chosen = f"{chosen.removesuffix(_END)}-{{item}}{_END}"
    folder, stem = _split_key(of.key)
    values = {
        "index": of.index_id,
        "date": of.date,
        "run": of.run_id,
        "prompt": of.prompt_id,
        "export": of.export_id,
        "stem": stem,
        "item": item_token(of),
        "format": format_name,
        "ext": ext,
    }
    safe = {name: _shorten(_clean_segment(value), _LONGEST[name]) for name, value in values.items()}
    safe["key"] = folder + safe["stem"]
    return "/".join(map(_finish_segment, _FIELD.sub(lambda match: safe[match[1]], chosen).split("/")))


def sidecar_names(of: NameFields, ext: str) -> tuple[str, str] | None:
    """Return the name beside the item's media, and the one to take if another file has that.

    None if stores refuse the first: folders take names of 255 bytes, buckets keys of 1,024.
    """
    folder, slash, name = (of.key or "").rpartition("/")
    stem, end = strip_suffix(name), f".{item_token(of)}.{ext}"
    longest = min(_LONGEST_FILE, _LONGEST_KEY - _count_bytes(folder + slash))
    if _count_bytes(f"{stem}.{ext}") > longest or len(end) >= longest:
        return None
    spare = stem
    while _count_bytes(spare + end) > longest:
        spare = spare[:-1]
    return f"{folder}{slash}{stem}.{ext}", f"{folder}{slash}{spare}{end}"


def _count_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def failures_name(of: NameFields, ext: str) -> str:
    """Return the name of a run's file of failures: apart from the results, so that a folder of these can be read."""
    return f"{of.export_id}/failures/{of.run_id}.{ext}"


def item_token(of: NameFields) -> str:
    """Return the short id of the item, or of the run, in this export: 60 bits that no other export has."""
    digest = hashlib.sha256(f"{of.export_id}/{of.run_id}/{of.item_id}".encode()).digest()
    return b32encode(digest)[:12].decode().lower()


def _choose_template(of: NameFields) -> str:
    if of.key is not None:
        return _OF_ITEM
    return _OF_ONLY_RUN if of.only_run else _OF_RUN


def _is_unique(template: str, of: NameFields) -> bool:
    """Return whether no other file of the same kind can get this name. Two items may share their key."""
    whole_run = of.key is None and "{export}" in template and (of.only_run or "{run}" in template)
    return "{item}" in template or whole_run


def _split_key(key: str | None) -> tuple[str, str]:
    """Return the folders of the key, safe, with their slash, and the name without its suffix."""
    if key is None:
        return "", "results"
    folders, _, name = key.rpartition("/")
    kept: list[str] = []
    room = _LONGEST["key"] - _LONGEST["stem"]
    for folder in reversed(folders.split("/") if folders else []):
        segment = _finish_segment(_shorten(_clean_segment(folder), _LONGEST["stem"]))
        room -= len(segment.encode()) + 1
        if room < 0:
            break
        kept.insert(0, f"{segment}/")
    return "".join(kept), strip_suffix(name)


def strip_suffix(name: str) -> str:
    """Return a file name without its last suffix; one that begins with a dot keeps it."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def _clean_segment(text: str) -> str:
    return _sanitize(unicodedata.normalize("NFC", text), "")


def _sanitize(text: str, allowed: str) -> str:
    """Return the text with `_` for slashes, what cannot be seen, and what some store reserves."""
    refused = _RESERVED | {"/"} - set(allowed)
    return "".join("_" if each in refused or not each.isprintable() else each for each in text)


def _shorten(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")


def _finish_segment(segment: str) -> str:
    """Return the segment without what has a meaning of its own in a folder, or at the end of a name on Windows."""
    if segment[:1] in {".", " "}:
        segment = "_" + segment[1:]
    if segment[-1:] in {".", " "}:
        segment = segment[:-1] + "_"
    return f"_{segment}" if _DEVICES.match(segment) or not segment else segment
