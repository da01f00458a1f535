"""A client of the daemon's API, on the standard library's HTTP, and the options that name the daemon."""

from __future__ import annotations

import functools
import http.client
import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from vvwatch import __version__
from vvwatch.cli.commands import config_option, json_option, state_dir_option, url_option
from vvwatch.cli.failures import FAILURE, REFUSED, TRY_LATER, UNREACHABLE, USAGE, Failure
from vvwatch.cli.local_daemon import find_state_dir, read_address, read_admin_key, read_api_key

_TIMEOUT_SECONDS: Final = 30.0
_LONGEST_ANSWER: Final = 64 << 20
_EXIT_CODES: Final = {401: REFUSED, 403: REFUSED, 429: TRY_LATER, 503: UNREACHABLE}
_HINTS: Final = {
    401: "set VVWATCH_API_KEY or VVWATCH_API_KEY_FILE, or run this as the daemon's user with its --state-dir",
    403: "use a key with a higher scope: `vvwatch keys list` shows them",
    503: "the daemon is starting or stopping; try again in a moment",
}
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what a daemon may have bound to


@dataclass(frozen=True, slots=True)
class Reply:
    """The daemon's answer."""

    status: int
    body: bytes


class RefusedRequest(Failure):
    """Raised when the daemon answers with an error; `status` is the HTTP status, `reason` the API's error code."""

    def __init__(self, status: int, message: str, hint: str, where: str, reason: str = "") -> None:
        super().__init__(
            message, hint, where=where, exit_code=_EXIT_CODES.get(status, FAILURE), reason=reason
        )
        self.status = status


class Client:
    """A client of one daemon; sends `key` with every request."""

    def __init__(self, url: str, key: str | None = None, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        try:
            parts = urlsplit(url)
            host, self._port = parts.hostname, parts.port
        except ValueError:
            raise _invalid_address(url) from None
        if parts.scheme not in ("http", "https") or not host:
            raise _invalid_address(url)
        self._host = _ANY_ADDRESS.get(host, host)
        self._base = parts.path.rstrip("/").removesuffix("/api/v2")
        self._secure = parts.scheme == "https"
        self._key = key
        self._timeout_seconds = timeout_seconds
        self.url = url

    def get(self, path: str, **query: object) -> Any:
        """Return the JSON answer to GET /api/v2 + `path`; drops parameters that are None. Raises Failure."""
        return self._json("GET", path, query)

    def find(self, path: str, **query: object) -> Any:
        """Return the answer as `get` does; None if there is no such resource."""
        try:
            return self.get(path, **query)
        except RefusedRequest as refused:
            if refused.status == 404:
                return None
            raise

    def post(self, path: str, body: object = None) -> Any:
        """Return the JSON answer to POST. Raises Failure."""
        return self._json("POST", path, body=body)

    def _json(
        self, method: str, path: str, query: Mapping[str, object] | None = None, body: object = None
    ) -> Any:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        tail = f"?{urlencode(given)}" if given else ""
        reply = self.ask(method, f"/api/v2{path}{tail}", body)
        document = _parse_reply(reply)
        if reply.status >= 400:
            raise _to_refusal(reply.status, document, f"{method} {path}")
        if document is None:
            what = f"the answer of {self.url} is not that of a vvwatch daemon"
            raise Failure(what, "check --url", where=f"{method} {path}", exit_code=UNREACHABLE)
        return document

    def ask(self, method: str, target: str, body: object = None) -> Reply:
        """Return the answer to one request, whatever its status. Raises Failure if there is none."""
        connection = self._connection()
        content = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, self._base + target, content, self._headers(content))
            response = connection.getresponse()
            return Reply(response.status, response.read(_LONGEST_ANSWER))
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self.url, error) from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        """Skip the check of the host name on this machine: nobody is in between."""
        timeout = self._timeout_seconds
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        import ssl  # noqa: PLC0415  # commands that do not need it start faster

        context = ssl.create_default_context()
        if _is_this_machine(self.url):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)

    def _headers(self, content: bytes | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": f"vvwatch/{__version__}"}
        if self._key:
            headers["X-API-Key"] = self._key
        if content is not None:
            headers["Content-Type"] = "application/json"
        return headers


def connect(url: str | None, state: str | None, config: str | None, environ: Mapping[str, str]) -> Client:
    """Return a client for the daemon at `url`, else for the one whose state directory is meant.

    The key is $VVWATCH_API_KEY or the content of $VVWATCH_API_KEY_FILE, else the daemon's admin key, which is sent
    only to this machine.
    """
    _refuse_empty(environ)
    folder: Path = find_state_dir(state, config, environ)
    there = url or read_address(folder)
    key = read_api_key(environ) or (read_admin_key(folder, environ) if _is_this_machine(there) else None)
    return Client(there, key)


def quote_segment(identifier: str) -> str:
    """Return an identifier as one segment of a path."""
    return quote(identifier, safe="")


def _is_this_machine(url: str) -> bool:
    """Return whether the address is one of this machine, loopback or not."""
    host = ""
    try:
        host = urlsplit(url).hostname or ""
        address = ip_address(_ANY_ADDRESS.get(host, host))
    except ValueError:
        return host == "localhost"
    return address.is_loopback or _is_own_address(address)


def _is_own_address(address: IPv4Address | IPv6Address) -> bool:
    """Return whether a socket to `address` would come from that very address; sends nothing."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False
        return ip_address(probe.getsockname()[0]) == address


def _parse_reply(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError:
        return None


def _to_refusal(status: int, document: Any, where: str) -> RefusedRequest:
    """Return the error in the API's envelope."""
    error = document.get("error") if isinstance(document, dict) else None
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message") or f"the daemon answered with status {status}")
    details = error.get("details")
    hint = details.get("hint") if isinstance(details, dict) else None
    if status == 401:
        hint = None  # the API explains how to send a key, which is our part
    return RefusedRequest(
        status, message, str(hint or _HINTS.get(status, "")), where, str(error.get("code") or "")
    )


def _invalid_address(url: str) -> Failure:
    return Failure(
        f"{url!r} is not the address of a daemon",
        f"write http://{url}" if "://" not in url else "write http://host:port",
        where="--url",
        exit_code=USAGE,
    )


def _unreachable(url: str, error: Exception) -> Failure:
    reason = (
        error.strerror
        if isinstance(error, OSError) and error.strerror
        else str(error) or type(error).__name__
    )
    if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER_FAILURE" in str(error):
        hint = f"write {url.replace('https://', 'http://', 1)}"
        return Failure("the server speaks http, not https", hint, where=url, exit_code=UNREACHABLE)
    hint = "is it running? `vvwatch run` starts one; --state-dir or --url points to another"
    return Failure(f"no daemon answers: {reason.lower()}", hint, where=url, exit_code=UNREACHABLE)


_VARIABLES = (
    "VVWATCH_ADMIN_KEY",
    "VVWATCH_ADMIN_KEY_FILE",
    "VVWATCH_API_KEY",
    "VVWATCH_API_KEY_FILE",
    "VVWATCH_CONFIG",
    "VVWATCH_STATE_DIR",
    "VVWATCH_URL",
)
_OPTIONS = (url_option, state_dir_option, config_option, json_option)


def client_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a daemon and, as its first argument, the client for it."""

    @functools.wraps(function)
    def command(url: str | None, state: str | None, config: str | None, **rest: Any) -> None:
        function(connect(url, state, config, os.environ), **rest)

    return daemon_options(command)


def _refuse_empty(environ: Mapping[str, str]) -> None:
    """Raise Failure for a VVWATCH_ variable that is set and empty: a slip, never a default."""
    empty = sorted(name for name in _VARIABLES if not environ.get(name, "set"))
    if empty:
        raise Failure(f"{empty[0]} is set and empty", "give it a value, or unset it", exit_code=USAGE)


def daemon_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `url`, `state` and `config`, which name a daemon, and `as_json`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
