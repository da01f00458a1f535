"""Commands whose help pages begin with examples, and the options that several of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

Examples = Sequence[tuple[str, str]]
"""What to type, and what it does."""


class Command(click.Command):
    """A command with examples; with `click.Group` also a group of commands."""

    def __init__(self, *args: Any, examples: Examples = (), **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.examples = examples

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help page, examples first, each below its purpose."""
        with formatter.section("Examples"):
            for typed, does in self.examples:
                formatter.write(f"  # {does}\n  {typed}\n")
        formatter.write_paragraph()
        super().format_help(ctx, formatter)


class Branch(Command, click.Group):
    """A group of commands with examples."""


class Family(Branch):
    """A group of commands whose default is `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, with `list` inserted before options that belong to it."""
        if ctx.resilient_parsing:  # a shell asks what may come next
            return super().parse_args(ctx, args)
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return commands, and options of `list`."""
        found = super().shell_complete(ctx, incomplete)
        listed = self.commands["list"].shell_complete(ctx, incomplete) if incomplete.startswith("-") else []
        return list({each.value: each for each in (*listed, *found)}.values())


class WholeNumber(click.IntRange):
    """A whole number within bounds, with errors in plain words."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert as click does."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number{self._bounds()}", param, ctx)

    def _bounds(self) -> str:
        if self.max is None:
            return f" of {self.min} or more"
        return f" from {self.min} to {self.max}"


limit_option = click.option(
    "--limit", type=WholeNumber(1, 200), metavar="N", default=20, show_default=True, help="How many at most."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer as JSON, for programs.")
config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(
        readable=False
    ),  # one that may not be read is a problem of the configuration: exit code 78
    help="The configuration file.  [$VVWATCH_CONFIG]",
)
state_dir_option = click.option(
    "--state-dir",
    "state",
    metavar="DIR",
    type=click.Path(readable=False),
    help="The state directory.  [$VVWATCH_STATE_DIR]",
)
url_option = click.option(
    "--url", envvar="VVWATCH_URL", metavar="URL", help="The address of a daemon elsewhere.  [$VVWATCH_URL]"
)
