"""`vvwatch version`: print versions."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from vvwatch import __version__
from vvwatch.cli.commands import Command, json_option
from vvwatch.cli.output import print_json

_PACKAGES = ("anyio", "av", "fastapi", "pydantic", "sqlalchemy", "uvicorn", "watchfiles")


@click.command(
    cls=Command,
    examples=(
        ("vvwatch version", "one line"),
        ("vvwatch version --json", "with Python, the platform and packages"),
    ),
)
@json_option
def version(*, as_json: bool) -> None:
    """Print the version of vvwatch; with --json also of Python, the platform and packages."""
    if not as_json:
        click.echo(f"vvwatch {__version__}")
        return
    print_json(
        {
            "version": __version__,
            "python": platform.python_version(),
            "implementation": sys.implementation.name,
            "platform": platform.platform(),
            "packages": {name: found for name in _PACKAGES if (found := _installed_version(name))},
        }
    )


def _installed_version(name: str) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None
