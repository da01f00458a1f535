"""Checks that the packages for the configuration are installed."""

from __future__ import annotations

from collections.abc import Iterator

from vvwatch import extras
from vvwatch.config import CloudConnector, Config
from vvwatch.daemon.credentials import problem_at
from vvwatch.errors import ConfigInvalid, InvalidInput


def check_packages(config: Config) -> None:
    """Raise ConfigInvalid, naming what needs a missing package and the command that installs it."""
    missing = {loc: extra for loc, extra in _list_needed(config) if extras.find_missing_package(extra)}
    if missing:
        raise ConfigInvalid(
            tuple(problem_at(config, loc, _missing_error(extra)) for loc, extra in missing.items())
        )


def _list_needed(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Return where the configuration needs an extra, and which."""
    for name, connector in config.connectors.items():
        if isinstance(connector, CloudConnector):
            yield ("connectors", name), connector.type
    if config.replicated:
        yield ("database_url",), "postgresql"


def _missing_error(extra: str) -> InvalidInput:
    return InvalidInput(
        f"needs the package {extras.find_missing_package(extra)}, which is not installed",
        extras.install_command(extra),
    )
