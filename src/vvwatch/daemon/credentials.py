"""Checks the configured credentials, as far as possible without a network, and the packages that they need."""

from __future__ import annotations

from collections.abc import Iterator

from vvwatch import extras
from vvwatch.config import CloudConnector, Config
from vvwatch.errors import ConfigInvalid, InvalidInput, Problem
from vvwatch.formats.registry import FORMATS
from vvwatch.options.findings import key_lines, nearest_line
from vvwatch.processors.embedding.embedder import EXTRA, check_model
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


def check_packages(config: Config) -> None:
    """Raise ConfigInvalid, naming what needs a missing package and the command that installs it."""
    missing = {loc: extra for loc, extra in _list_needed(config) if extras.find_missing_package(extra)}
    if missing:
        raise ConfigInvalid(
            tuple(problem_at(config, loc, _missing_error(extra)) for loc, extra in missing.items())
        )


def check_search_model(config: Config) -> None:
    """Raise ConfigInvalid if the folder of the model for searches lacks a file."""
    if config.search.model_dir is None:
        return
    try:
        check_model(config.search.model_dir)
    except InvalidInput as error:
        raise ConfigInvalid((problem_at(config, ("search", "model_dir"), error),)) from error


def _list_needed(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Return where the configuration needs an extra, and which."""
    for name, connector in config.connectors.items():
        if isinstance(connector, CloudConnector):
            yield ("connectors", name), connector.type
    for name, automation in config.automations.items():
        for each in automation.export.formats if automation.export else ():
            if extra := FORMATS[each].extra if each in FORMATS else None:
                yield ("automations", name, "export", "formats"), extra
    if config.replicated:
        yield ("database_url",), "postgresql"
    models = (
        (("search", "model_dir"), config.search.model_dir, EXTRA),
        (("transcription", "speech"), config.transcription.speech, "speech"),
    )
    yield from ((loc, extra) for loc, given, extra in models if given is not None)


def _missing_error(extra: str) -> InvalidInput:
    return InvalidInput(
        f"needs the package {extras.find_missing_package(extra)}, which is not installed",
        extras.install_command(extra),
    )
