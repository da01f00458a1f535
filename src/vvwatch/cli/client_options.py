"""The options that name a daemon, the same for every command that asks one."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

from vvwatch.cli.client import connect
from vvwatch.cli.failures import USAGE, Failure
from vvwatch.cli.options import config_option, json_option, state_dir_option, url_option

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
        _refuse_empty(os.environ)
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
