"""Commands whose help pages lead with examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

Examples = Sequence[tuple[str, str]]
"""What to type, and what it does."""


def write_examples(formatter: click.HelpFormatter, examples: Examples) -> None:
    """A section of examples, each below what it does."""
    with formatter.section("Examples"):
        for typed, does in examples:
            formatter.write(f"{'':>{formatter.current_indent}}# {does}\n")
            formatter.write(f"{'':>{formatter.current_indent}}{typed}\n")
    formatter.write_paragraph()


class Command(click.Command):
    """A command with examples."""

    def __init__(self, *args: Any, examples: Examples = (), **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.examples = examples

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help page, examples first."""
        write_examples(formatter, self.examples)
        super().format_help(ctx, formatter)


class Family(click.Group):
    """Commands about one thing, with examples; `list` is meant when none is named."""

    def __init__(self, *args: Any, examples: Examples = (), **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What click does, with `list` put in front of options that belong to it."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help page, examples first."""
        write_examples(formatter, self.examples)
        super().format_help(ctx, formatter)
