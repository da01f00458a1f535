"""`vvwatch check`: list every problem of the configuration at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from vvwatch.cli.commands import Command, config_option, json_option
from vvwatch.cli.failures import INVALID_CONFIG
from vvwatch.cli.output import escape_controls, pluralize, print_json
from vvwatch.clock import SystemClock
from vvwatch.config import Config, load
from vvwatch.core.processors import TECHNICAL
from vvwatch.daemon.credentials import (
    check_credentials,
    check_packages,
    check_search_model,
    problem_at,
)
from vvwatch.errors import ConfigInvalid, InvalidInput, Problem
from vvwatch.options.default_files import default_path
from vvwatch.processors.media.isolation import Limits
from vvwatch.processors.registry import ClosedLimiter, Resources, open_processor
from vvwatch.workflow.pipeline.prompts import check_prompts


@click.command(
    cls=Command,
    examples=(
        ("vvwatch check --config vvwatch.toml", "all problems, with file and line"),
        ("vvwatch check --config vvwatch.toml --json | jq .problems", "for editors and CI"),
    ),
)
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, config: str | None, *, as_json: bool) -> None:
    """Check the configuration: the file, the environment and the secrets it names. Starts nothing.

    Exit code 0 if the configuration is usable (there may be warnings), 78 if not.
    """
    path = Path(config) if config else default_path(os.environ)
    loaded, problems = _load_checked(path)
    if as_json:
        print_json(_to_document(path, loaded, problems))
    else:
        _print_result(path, loaded, problems)
    ctx.exit(INVALID_CONFIG if problems else 0)


def _load_checked(path: Path | None) -> tuple[Config | None, tuple[Problem, ...]]:
    try:
        loaded = load(path, os.environ)
    except ConfigInvalid as error:
        return None, error.problems
    problems: list[Problem] = []
    for check_part in (check_packages, check_search_model, check_credentials, _check_processors):
        try:
            check_part(loaded)
        except ConfigInvalid as error:
            problems += error.problems
    return None if problems else loaded, tuple(problems)


def _check_processors(loaded: Config) -> None:
    """Raise ConfigInvalid for processors that cannot be opened and prompts that their processor cannot answer."""
    resources = Resources(Limits(), Path(), SystemClock(), lambda *_: ClosedLimiter(), lambda *_, **__: None)
    processors, problems = {}, []
    for name in (TECHNICAL, *loaded.processors):
        try:
            processors[name] = open_processor(loaded, name, resources)
        except InvalidInput as error:
            problems.append(problem_at(loaded, ("processors", name), error))
    try:
        check_prompts(loaded, processors)
    except ConfigInvalid as error:
        problems += error.problems
    if problems:
        raise ConfigInvalid(tuple(problems))


def _to_document(path: Path | None, loaded: Config | None, problems: Iterable[Problem]) -> dict[str, object]:
    return {
        "file": None if path is None else str(path),
        "valid": loaded is not None,
        "problems": [asdict(problem) for problem in problems],
        "warnings": [asdict(warning) for warning in loaded.warnings] if loaded else [],
    }


def _print_result(path: Path | None, loaded: Config | None, problems: tuple[Problem, ...]) -> None:
    where = escape_controls("defaults and environment (there is no file)" if path is None else str(path))
    for problem in problems:
        click.echo(escape_controls(str(problem)))
    if loaded is None:
        click.echo(f"{where}: {click.style(pluralize(len(problems), 'problem'), fg='red')}")
        return
    for warning in loaded.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {escape_controls(str(warning))}")
    held = (
        (loaded.automations, "automation"),
        (loaded.connectors, "connector"),
        (loaded.webhooks.hooks, "webhook"),
    )
    counts = ", ".join(pluralize(len(tables), noun) for tables, noun in held)
    for table in ("webhooks", "attachments"):
        if networks := getattr(loaded, table).policy.allow_networks:
            named = ", ".join(map(str, networks))
            click.echo(f"{table} may lead to public addresses and to {named}")
    click.echo(f"{where}: {click.style('good', fg='green')} ({counts})")
