"""Commands whose help pages begin with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

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
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)
