"""Checks the configured credentials as far as possible without a network."""

from __future__ import annotations

from collections.abc import Iterator

from vvwatch.config import CloudConnector, Config
from vvwatch.errors import ConfigInvalid, InvalidInput, Problem
from vvwatch.options.lines import key_lines, nearest_line
from vvwatch.providers.registry import PROVIDERS


def check_credentials(config: Config) -> None:
    """Raise ConfigInvalid, naming each connector whose service account cannot sign in. Takes 50 ms for each."""
    if found := tuple(_find_problems(config)):
        raise ConfigInvalid(found)


def _find_problems(config: Config) -> Iterator[Problem]:
    for name, connector in config.connectors.items():
        secret = config.connector_secrets.get(name)
        if secret is None or not isinstance(connector, CloudConnector):
            continue
        provider, usual = PROVIDERS[connector.type], config.storage.of(connector.type)
        has_endpoint = bool(connector.endpoint_url or (usual and usual.endpoint_url))
        try:
            provider.check_credentials(secret.reveal(), any_host=has_endpoint)
        except InvalidInput as error:
            yield problem_at(config, ("connectors", name, provider.credentials_key), error)


def problem_at(config: Config, loc: tuple[str, ...], error: InvalidInput) -> Problem:
    """Return `error` as a problem at `loc` of the configuration, with its line if there is a file."""
    if config.path is None:
        return Problem("flags", None, ".".join(loc), error.message, hint=error.hint)
    line = nearest_line(key_lines(config.path.read_text(encoding="utf-8")), loc)
    return Problem(str(config.path), line, ".".join(loc), error.message, hint=error.hint)
