"""`vvwatch run`: run the daemon."""

from __future__ import annotations

import json
import os
from pathlib import Path

import anyio
import click

from vvwatch.cli.commands import Command, config_option, json_option, state_dir_option
from vvwatch.config import Config, load
from vvwatch.processors.sandbox import hide_memory


@click.command(
    cls=Command,
    examples=(
        ("vvwatch run --config vvwatch.toml", "watch what the file declares"),
        ("vvwatch run --listen 127.0.0.1:0", "on a free port, which is printed"),
        ("VVWATCH_LOG_LEVEL=debug vvwatch run", "options from the environment"),
    ),
)
@config_option
@click.option(
    "--listen", metavar="HOST:PORT", help="Where the API answers.  [$VVWATCH_LISTEN, 127.0.0.1:8787]"
)
@state_dir_option
@click.option("--log-format", metavar="FORMAT", help="auto, console, journal or json.  [$VVWATCH_LOG_FORMAT]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [$VVWATCH_LOG_LEVEL]")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    config: str | None,
    listen: str | None,
    state: str | None,
    log_format: str | None,
    log_level: str | None,
    *,
    as_json: bool,
) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; SIGHUP reloads the configuration file.

    Prints one line with its address when it is ready. Options override the environment, the environment overrides
    the file.
    """
    hide_memory()
    overrides = {
        "listen": listen,
        "state_dir": None if state is None else str(Path(state).absolute()),
        "log.format": log_format,
        "log.level": log_level,
    }

    def read() -> Config:
        return load(Path(config) if config else None, os.environ, overrides)

    loaded = read()
    # Here, because it takes a second to import: whatever is wrong with the configuration was said before.
    from vvwatch.daemon import ServeOptions, serve  # noqa: PLC0415

    announce = _announce_json if as_json else click.echo
    options = ServeOptions(os.environ, announce=announce, reload=read)
    ctx.exit(anyio.run(serve, loaded, options, backend_options={"loop_factory": options.watch.loop}))


def _announce_json(line: str) -> None:
    click.echo(json.dumps({"event": "ready", "message": line, "address": line.rpartition(" ")[2]}))
