"""Option types, each with the message for a wrong value."""

from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from vvwatch.core.durations import parse_duration
from vvwatch.core.exports import check_subpath
from vvwatch.core.filters import check_exclude, check_pattern
from vvwatch.core.locations import normal_prefix
from vvwatch.core.networks import parse_network
from vvwatch.core.path_templates import check_template
from vvwatch.errors import VvwatchError
from vvwatch.options.substitution import Substituted

_INSIDE: Final = "a path below the connector's location, e.g. incoming/"
_ENDPOINT: Final = "https://host, https://host:port/path, without a user, ? and #"
_FOREVER: Final = "forever"
_KEPT: Final = "1h or longer, or forever"


def refuse(what: str, allowed: str = "", hint: str = "") -> PydanticCustomError:
    """Return the error of a field's check: what is wrong, and what would be right."""
    return PydanticCustomError("refused", "{what}", {"what": what, "allowed": allowed, "hint": hint})


def as_scalar(text: Substituted, annotation: Any) -> object:
    """Return `text` as the number or truth value that `annotation` wants, else as plain text."""
    wanted = (annotation, *get_args(annotation))
    for kind in (bool, int, float):
        if kind in wanted:
            try:
                return TypeAdapter(kind).validate_python(str(text))
            except ValidationError:
                break
    return str(text)


def retention_seconds(text: str) -> float | None:
    """Return the retention time for `text`: None for ever. Raises InvalidInput for no duration."""
    return None if text == _FOREVER else parse_duration(text)


def split_listen(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[v6]:port`. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not colon or not host or (":" in host) != bracketed or not port.isdecimal() or int(port) > 65535:
        raise ValueError(text)
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`, judged by its text."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


# Unlike the methods of Path, these two answer instead of raising where a folder on the way is closed to us.
def is_folder(path: Path) -> bool:
    """Return whether `path` is a visible folder."""
    return os.path.isdir(path)  # noqa: PTH112


def disk_bytes(path: Path) -> int | None:
    """Return the size of the disk of `path`, existing or not, in bytes; None if unknown."""
    there = next((each for each in (path, *path.parents) if is_folder(each)), None)
    try:
        disk = None if there is None else os.statvfs(there)
    except OSError:
        return None
    return None if disk is None else disk.f_blocks * disk.f_frsize


def most_open_files() -> int:
    """Return how many open files a process of this user may allow itself."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def is_file(path: Path) -> bool:
    """Return whether `path` is a visible file."""
    return os.path.isfile(path)  # noqa: PTH113


def _check_with(check: Callable[[str], object], allowed: str = "") -> AfterValidator:
    """Return a field's check that applies a check of the core."""

    def check_text(text: str) -> str:
        try:
            check(text)
        except VvwatchError as error:
            raise refuse(error.message, allowed, error.hint) from error
        return text

    return AfterValidator(check_text)


def match_pattern(
    pattern: str,
    what: str,
    allowed: str,
    also: Callable[[str], bool] = bool,
    mistaken: Mapping[str, str] = MappingProxyType({}),
) -> AfterValidator:
    """Return a field's check against a whole pattern, and another check. `mistaken` maps typical mix-ups to hints."""
    wanted = re.compile(pattern, re.ASCII)

    def check_text(text: str) -> str:
        if not (wanted.fullmatch(text) and also(text)):
            raise refuse(what, allowed, next((hint for sign, hint in mistaken.items() if sign in text), ""))
        return text

    return AfterValidator(check_text)


def _check_listen(text: str) -> str:
    try:
        split_listen(text)
    except ValueError as error:
        raise refuse(f"{text!r} is no address", "host:port, e.g. 127.0.0.1:8787; port 0 picks one") from error
    return text


def _check_absolute(value: object) -> object:
    if not isinstance(value, str | Path):
        return value
    if "\0" in str(value) or not Path(value).is_absolute():
        raise refuse(
            f"{str(value)!r} is not an absolute path", "a path from /", "${HOME}/… works, ~ does not"
        )
    return Path(value)


def _require_one_second(text: str) -> str:
    if parse_duration(text) < 1:
        raise refuse(f"{text!r} is too short", "1s or longer")
    return text


def _require_one_hour(text: str) -> str:
    if (seconds := retention_seconds(text)) is not None and seconds < 3600:
        raise refuse(f"{text!r} is too short", _KEPT)
    return text


def _check_web_address(text: str) -> str:
    parts = _split_url(text)
    if parts is None or parts.fragment:
        raise refuse("is no web address", "https://host/path or http://host/path")
    return text


def _check_document(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise refuse("holds what JSON cannot", "texts, finite numbers, true, false, lists, tables") from None
    return value


def _split_url(text: str) -> Any:
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        return None
    return parts if known and text.isprintable() and " " not in text else None


def _check_proxies(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise refuse("is no network", "10.0.0.0/8, fd00::/8, or one address", "host bits must be 0") from None


def _check_endpoint(text: str) -> str:
    parts = urlsplit(text)
    if parts.query or parts.username is not None or parts.password is not None:
        raise refuse("is not the address of a service", _ENDPOINT)
    return parts.scheme + text[len(parts.scheme) :].rstrip("/")


def _check_proxy(text: str) -> str:
    parts = urlsplit(text)
    if parts.username is not None or parts.password is not None:
        raise refuse("would be kept in clear with the user in it", "http://host:port")
    if parts.query or parts.path.strip("/"):
        raise refuse("is not the address of a proxy", "http://host:port")
    return text.rstrip("/")


Listen = Annotated[str, AfterValidator(_check_listen)]
AbsolutePath = Annotated[Path, BeforeValidator(_check_absolute)]
Pause = Annotated[str, _check_with(parse_duration)]
"""A duration, zero included, as it was written."""
Duration = Annotated[str, _check_with(parse_duration), AfterValidator(_require_one_second)]
"""A duration of at least a second, as it was written."""
Kept = Annotated[str, _check_with(retention_seconds, _KEPT), AfterValidator(_require_one_hour)]
"""A duration of at least an hour, or the word forever, as it was written."""
NetworkText = Annotated[str, _check_with(parse_network)]
"""A network that URLs may lead to besides public addresses, as it was written."""
ProxyNetwork = Annotated[str, AfterValidator(_check_proxies)]
"""A network of reverse proxies, as it was written."""
Positive = Annotated[int, Field(ge=1, le=(1 << 63) - 1)]
"""A whole number from 1 on that the database can hold."""
NodeName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9._-]*$")]
Pattern = Annotated[str, _check_with(check_pattern)]
Excluded = Annotated[str, _check_with(check_exclude)]
FieldTemplate = Annotated[str, _check_with(check_template)]
KeyPrefix = Annotated[str, _check_with(normal_prefix, _INSIDE)]
Subpath = Annotated[str, _check_with(lambda text: check_subpath(text, "the path"), _INSIDE)]
WebAddress = Annotated[str, AfterValidator(_check_web_address)]
Endpoint = Annotated[WebAddress, AfterValidator(_check_endpoint)]
"""The address of a service, without a trailing slash."""
Proxy = Annotated[WebAddress, AfterValidator(_check_proxy)]
Document = Annotated[dict[str, Any], AfterValidator(_check_document)]
"""A table that is stored and sent as JSON."""
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
List = Strict(False)
"""Marks a tuple field: TOML knows lists only, so a list is taken for it; its items stay strict."""
