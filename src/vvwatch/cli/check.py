"""`vvwatch check`: everything that is wrong with the configuration, at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from vvwatch.cli.commands import Command
from vvwatch.cli.failures import INVALID_CONFIG
from vvwatch.cli.options import config_option, json_option
from vvwatch.cli.output import plain, several, show_json
from vvwatch.config import Config, default_path, load
from vvwatch.core.media import DEFAULT_PROCESSOR
from vvwatch.daemon.credentials import check_credentials
from vvwatch.errors import ConfigInvalid, Problem
from vvwatch.processors.technical import Limits, TechnicalProcessor
from vvwatch.workflow.prompts import check_prompts


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

    Exit code 0 when it can be used (there may be warnings), 78 when it cannot.
    """
    path = Path(config) if config else default_path(os.environ)
    loaded, problems = _loaded(path)
    if as_json:
        show_json(_document(path, loaded, problems))
    else:
        _print(path, loaded, problems)
    ctx.exit(INVALID_CONFIG if problems else 0)


def _loaded(path: Path | None) -> tuple[Config | None, tuple[Problem, ...]]:
    try:
        loaded = load(path, os.environ)
        check_credentials(loaded)
        check_prompts(loaded, {DEFAULT_PROCESSOR: TechnicalProcessor(limits=Limits(), work_dir=Path())})
    except ConfigInvalid as error:
        return None, error.problems
    return loaded, ()


def _document(path: Path | None, loaded: Config | None, problems: Iterable[Problem]) -> dict[str, object]:
    return {
        "file": None if path is None else str(path),
        "valid": loaded is not None,
        "problems": [asdict(problem) for problem in problems],
        "warnings": [asdict(warning) for warning in loaded.warnings] if loaded else [],
    }


def _print(path: Path | None, loaded: Config | None, problems: tuple[Problem, ...]) -> None:
    where = plain("defaults and environment (there is no file)" if path is None else str(path))
    for problem in problems:
        click.echo(plain(str(problem)))
    if loaded is None:
        click.echo(f"{where}: {click.style(several(len(problems), 'problem'), fg='red')}")
        return
    for warning in loaded.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {plain(str(warning))}")
    held = (
        (loaded.automations, "automation"),
        (loaded.connectors, "connector"),
        (loaded.webhooks.hooks, "webhook"),
    )
    counts = ", ".join(several(len(tables), noun) for tables, noun in held)
    click.echo(f"{where}: {click.style('good', fg='green')} ({counts})")
