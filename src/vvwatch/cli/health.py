"""`vvwatch health`: a fast check for containers."""

from __future__ import annotations

import os

import click

from vvwatch.cli.client import Client
from vvwatch.cli.commands import Command, config_option, json_option, state_dir_option, url_option
from vvwatch.cli.failures import Failure
from vvwatch.cli.local_daemon import find_state_dir, read_address
from vvwatch.cli.output import print_json

_TIMEOUT_SECONDS = 5.0


@click.command(
    cls=Command,
    examples=(
        ("vvwatch health", "exit code 0 when it is ready, else 1"),
        ('HEALTHCHECK CMD ["vvwatch", "health"]', "in a Dockerfile"),
    ),
)
@url_option
@state_dir_option
@config_option
@json_option
@click.pass_context
def health(
    ctx: click.Context, url: str | None, state: str | None, config: str | None, *, as_json: bool
) -> None:
    """Check whether the daemon is ready: exit code 0 if so, 1 if it is starting, stopping or not running."""
    ready, detail = _check_health(url, state, config)
    if as_json:
        print_json({"ready": ready, "detail": detail})
    else:
        click.echo("ready" if ready else f"not ready: {detail}", err=not ready)
    ctx.exit(0 if ready else 1)


def _check_health(url: str | None, state: str | None, config: str | None) -> tuple[bool, str]:
    try:
        there = url or read_address(find_state_dir(state, config, os.environ))
        reply = Client(there, timeout_seconds=_TIMEOUT_SECONDS).ask("GET", "/readyz")
    except Failure as failure:
        return False, failure.message
    return reply.status == 200, reply.body.decode(errors="replace").strip()
