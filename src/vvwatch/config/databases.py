"""Addresses of databases: a file, or a PostgreSQL server. They may hold a password, so no error shows any of one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from vvwatch.options.fields import refuse
from vvwatch.options.substitution import find_variables

_FILE: Final = re.compile(r"sqlite:///(?P<path>[^?#:]+)")
_SCHEME: Final = re.compile(r"(?P<name>postgres(?:ql)?)(?P<driver>\+[a-z0-9_+]*)?://", re.IGNORECASE)
_HOST: Final = re.compile(r"(?:\[[^\[\]]+\]|[^:\[\]]+)(?::(?P<port>.*))?")
_PASSWORDS: Final = ("password", "sslpassword")
_ALLOWED: Final = "sqlite:///name.db, sqlite:////absolute/path.db, postgresql://user@host:port/name"
_ENCODE: Final = "in a user's name or password write %XX for / ? # @ : % and spaces"


def is_server(url: str) -> bool:
    """Whether a checked address leads to a PostgreSQL server, which several nodes may share."""
    return not url.startswith("sqlite:")


def database_file(url: str, state_dir: Path) -> Path:
    """The file of an SQLite address; a relative one lies in the state directory."""
    match = _FILE.fullmatch(url)
    return state_dir / (match["path"] if match else "vvwatch.db")


def has_password(url: str) -> bool:
    """Whether a password stands in `url` itself, as far as it can be read; one that is `${VAR}` does not."""
    parts = _split_url(url)
    if parts is None or not _SCHEME.match(url):
        return False
    written = [parts.password, *map(dict(parse_qsl(parts.query)).get, _PASSWORDS)]
    return any(password and not find_variables(password) for password in written)


def _check_url(url: str) -> str:
    """`url`, with the scheme of a server in its one spelling."""
    if _FILE.fullmatch(url):
        return url
    scheme = _SCHEME.match(url)
    if scheme is None:
        raise refuse("is no address of a database", _ALLOWED)
    if scheme["driver"]:
        raise refuse("names a driver", "postgresql://…", "write it without +asyncpg")
    if wrong := _find_error(_split_url(url)):
        raise wrong
    return "postgresql" + url[len(scheme["name"]) :]


def _split_url(url: str) -> SplitResult | None:
    """The parts of `url`; None where it is not written as an address is."""
    try:
        parts = urlsplit(url)
        parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        return None
    usable = url.isprintable() and not {" ", "#"} & set(url) and parts.netloc.count("@") <= 1
    return parts if usable else None


def _find_error(parts: SplitResult | None) -> PydanticCustomError | None:
    """Why a server cannot be reached at `parts`."""
    if parts is None:
        return refuse("is not written as an address is", _ALLOWED, _ENCODE)
    options = dict(parse_qsl(parts.query))
    hosts = parts.netloc.rpartition("@")[2]
    matches = [_HOST.fullmatch(each) for each in _network_hosts(hosts or options.get("host", ""))]
    if None in matches:
        return refuse("has a host that cannot be read", "host, host:port, [v6]:port", _ENCODE)
    ports = [match["port"] for match in matches if match and match["port"] is not None]
    if not all(map(_is_port, [*ports, *filter(None, options.get("port", "").split(","))])):
        return refuse("has a port that is not a number", "1 to 65535", _ENCODE)
    if not (parts.path.strip("/") or options.get("dbname") or options.get("database")):
        return refuse("names no database", "postgresql://user@host/name")
    return None


def _network_hosts(hosts: str) -> list[str]:
    """The hosts of a list, without the folders of sockets in it."""
    return [host for host in hosts.split(",") if not host.startswith("/")] if hosts else []


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= 65535


DatabaseUrl = Annotated[str, AfterValidator(_check_url)]
