"""`vvwatch completion`: print what makes a shell complete commands and options."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from vvwatch.cli.commands import Command, json_option
from vvwatch.cli.output import print_json

VARIABLE: Final = "_VVWATCH_COMPLETE"
"""The variable by which a shell asks for completions."""
SHELLS: Final = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    examples=(
        ('eval "$(vvwatch completion bash)"', "in ~/.bashrc"),
        ('eval "$(vvwatch completion zsh)"', "in ~/.zshrc"),
        ("vvwatch completion fish > ~/.config/fish/completions/vvwatch.fish", "for fish"),
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def completion(ctx: click.Context, shell: str, *, as_json: bool) -> None:
    """Print a script that makes SHELL complete commands, options and their values."""
    text = write_completion(ctx.find_root().command, shell)
    if as_json:
        print_json({"shell": shell, "script": text})
    else:
        click.echo(text, nl=False)


def write_completion(command: click.Command, shell: str) -> str:
    """Return the script for one of `SHELLS`; it starts the installed `vvwatch`."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  # click has these shells
    complete = kind(command, {}, "vvwatch", VARIABLE)
    return complete.source_template % complete.source_vars()
