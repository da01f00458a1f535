"""`vvwatch init`: write a configuration to start from."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from vvwatch.cli.commands import Command, json_option
from vvwatch.cli.failures import FAILURE, USAGE, Failure
from vvwatch.cli.output import escape_controls, print_json

_LOCAL: Final = "local"
_PLACEHOLDER: Final = "my-bucket"


@cache
def list_stores() -> Mapping[str, Path]:
    """Return the starter of each store that a configuration can be written for, folders first.

    The providers keep them beside their code; finding them imports no provider.
    """
    found = Path(str(files("vvwatch"))).glob("providers/*/starters/*.toml")
    order = sorted(found, key=lambda each: (each.stem != _LOCAL, each.parts[-3], len(each.stem)))
    return {each.stem: each for each in order}


def _complete_stores(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [each for each in list_stores() if each.startswith(incomplete)]


@click.command(
    cls=Command,
    examples=(
        ("vvwatch init local --location /srv/media", "watch /srv/media/incoming"),
        ("vvwatch init", "asks which store and where, on a terminal"),
    ),
    help=f"""Write a commented configuration that watches a STORE: {", ".join(list_stores())}.

    Asks only on a terminal, and only for what is not given; elsewhere STORE is local. --location and credentials can be
    changed in the file.""",
)
@click.argument("store", metavar="[STORE]", required=False, shell_complete=_complete_stores)
@click.option("--location", metavar="NAME", help="The bucket, container or folder.")
@click.option(
    "--output", "file", metavar="FILE", type=click.Path(path_type=Path), default=Path("vvwatch.toml"),
    show_default=True, help="The file to write.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
def init(store: str | None, location: str | None, file: Path, *, force: bool, as_json: bool) -> None:
    """Write a commented configuration."""
    if os.path.lexists(file) and not force:
        hint = "name another with --output, or replace it with --force"
        raise Failure("this file is there already", hint, where=str(file))
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    store = _choose_store(store, asks=asks)
    location = _choose_location(store, location, asks=asks)
    _write(file, write_starter(store, location, file))
    commands = _next_commands(store, location, file)
    if as_json:
        print_json({"file": str(file), "store": store, "next": commands})
        return
    click.echo(escape_controls(f"{file} watches {_summary(store)}; next:"))
    for command in commands:
        click.echo(escape_controls(f"  {command}"))


def _read_starter(store: str) -> str:
    return list_stores()[store].read_text("utf-8")


def _summary(store: str) -> str:
    """Return what a store is, the first line of its starter."""
    line = _read_starter(store).splitlines()[0].removeprefix("# ").removesuffix(".")
    return line[:1].lower() + line[1:]


def _choose_store(given: str | None, *, asks: bool) -> str:
    known = list(list_stores())
    if given is None and asks:
        given = click.prompt("store", type=click.Choice(known), default=_LOCAL)
    store = given or _LOCAL
    if store not in known:
        raise Failure(f"no store is called {store!r}", f"one of {', '.join(known)}", exit_code=USAGE)
    return store


def _choose_location(store: str, given: str | None, *, asks: bool) -> str:
    usual = str(Path.cwd()) if store == _LOCAL else _PLACEHOLDER
    if given is None and asks:
        given = click.prompt("folder" if store == _LOCAL else "bucket or container", default=usual)
    location = given or usual
    return str(Path(location).expanduser().absolute()) if store == _LOCAL else location


def write_starter(store: str, location: str, file: Path) -> str:
    """Return the configuration for a location of a store; it is valid, whatever characters the location has."""
    quoted = json.dumps(location.replace("$", "$$"), ensure_ascii=False)[1:-1].replace("\x7f", "\\u007f")
    connectors = _read_starter(store).partition("\n")[2].strip("\n").replace("{location}", quoted)
    has_own = "[connectors.results]" in connectors
    text = (files("vvwatch.cli") / "starter.toml").read_text("utf-8")
    named = escape_controls(file.name)
    return text.format(
        store=store,
        file=named,
        summary=_summary(store),
        connectors=f"{connectors}\n",
        prefix="#" if has_own else "",
        exports="results" if has_own else "incoming",
    )


def _write(file: Path, text: str) -> None:
    """Write the file whole or not at all. Raises Failure."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(text, "utf-8")
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Failure(
            f"cannot write it: {error.strerror}",
            "choose another with --output",
            where=str(file),
            exit_code=FAILURE,
        ) from error


def _next_commands(store: str, location: str, file: Path) -> list[str]:
    """Return what to type next."""
    named = shlex.quote(str(file))
    folders = " ".join(shlex.quote(f"{location}/{name}") for name in ("incoming", "results"))
    first = f"mkdir -p {folders}" if store == _LOCAL else f"${{EDITOR:-vi}} {named}"
    return [
        first,
        *(f"vvwatch {verb} --config {named}" for verb in ("check", "plan", "run")),
        "vvwatch status",
    ]
