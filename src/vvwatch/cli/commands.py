"""Commands whose help pages begin with examples, and the options that several of them share."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, and suggest the closest command for a mistyped one."""
        if close := self.find_close(ctx, args[0]):
            ctx.fail(f"No such command {args[0]!r}: did you mean {close!r}?")
        return super().resolve_command(ctx, args)

    def find_close(self, ctx: click.Context, typed: str) -> str:
        """Return the command that was probably meant; empty if `typed` is one, or like none."""
        known = self.list_commands(ctx)
        close = [] if typed in known else get_close_matches(typed, known, n=1)
        return close[0] if close else ""


class Family(Branch):
    """A group of commands whose default is `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, with `list` inserted before its options and before a name that it takes."""
        if ctx.resilient_parsing:  # a shell asks what may come next
            return super().parse_args(ctx, args)
        if not args or self._is_for_list(ctx, args[0]):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def _is_for_list(self, ctx: click.Context, first: str) -> bool:
        if first.startswith("-"):
            return first not in ctx.help_option_names
        takes_name = any(isinstance(each, click.Argument) for each in self.commands["list"].params)
        return takes_name and first not in self.commands and not self.find_close(ctx, first)

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
