"""Commands that ask a daemon: which one, by the same options everywhere."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from vvwatch.cli.client import connect
from vvwatch.cli.options import config_option, json_option, state_dir_option, url_option

_OPTIONS = (url_option, state_dir_option, config_option, json_option)


def asking(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a daemon and, as its first argument, the client for it."""

    @functools.wraps(function)
    def command(url: str | None, state: str | None, config: str | None, **rest: Any) -> None:
        function(connect(url, state, config, os.environ), **rest)

    return naming_a_daemon(command)


def naming_a_daemon(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options `url`, `state` and `config`, which name a daemon, and `as_json`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
