"""The command `vvwatch`: imports subcommands on demand and reports errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from vvwatch.cli.commands import Branch
from vvwatch.cli.failures import report_failure
from vvwatch.cli.output import choose_colour

_COMMANDS = {
    "run": ("run", "Run the daemon."),
    "init": ("init", "Write a configuration to start from."),
    "dev": ("dev", "Try everything on a local folder, without a configuration."),
    "check": ("check", "Check the configuration and list all problems."),
    "plan": ("plan", "Forecast list calls, their cost and how late new files are found."),
    "status": ("status", "Show what is watched, under way, and needs you."),
    "doctor": ("doctor", "Examine everything; repair what can be repaired."),
    "explain": ("explain", "Show an object's history, and why."),
    "scan": ("scan", "Look for new objects now."),
    "windows": ("windows", "List windows, in which objects gather."),
    "reconciles": ("scans", "List full scans and their results."),
    "processors": ("processors", "List processors; resume a paused one."),
    "fire": ("windows", "Close a window now."),
    "hold": ("windows", "Keep a window open."),
    "release": ("windows", "Restore the deadline of a held window."),
    "jobs": ("jobs", "List import jobs and their files."),
    "runs": ("runs", "List prompt runs."),
    "results": ("runs", "Show what a run found in a file."),
    "exports": ("exports", "List exports and their files."),
    "alerts": ("alerts", "List receivers of alerts; send one a test message."),
    "webhooks": ("webhooks", "List webhooks; send one a test event."),
    "deliveries": ("webhooks", "List deliveries and their attempts."),
    "connectors": ("connectors", "List, test and browse connectors."),
    "prompts": ("connectors", "List prompts."),
    "retry": ("retry", "Retry a delivery, export, file or segment."),
    "dismiss": ("retry", "Stop showing a failure that you have seen."),
    "pause": ("pausing", "Pause an automation."),
    "resume": ("pausing", "Resume a paused automation."),
    "health": ("health", "Check readiness, by the exit code."),
    "audit": ("audit", "List who changed what, and who was refused."),
    "keys": ("keys", "Create, list and revoke API keys."),
    "db": ("db", "Copy, back up and check the database."),
    "completion": ("completion", "Print the completion of a shell."),
    "version": ("version", "Print the version; with --json also those of packages."),
}
"""Command to the module that holds it and its line in the overview, so that the overview imports nothing."""


class Root(Branch):
    """The command `vvwatch`. Prints errors on stderr and exits with a code; with `debug` prints a traceback first."""

    debug = False

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's own signature
        """Return the commands in the order in which a newcomer needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Return the command of this name, imported on first use."""
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"vvwatch.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, without importing them, and the options."""
        found = [
            CompletionItem(name, help=line)
            for name, (_, line) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        """Write the overview of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # as click's own
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its code by SystemExit, unless `standalone_mode` is off."""
        self.debug = False
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except Exception as error:  # noqa: BLE001  # every error is reported here, once
            code = report_failure(error, debug=self.debug, as_json=_wants_json(args))
        code = code if isinstance(code, int) else 0
        if standalone_mode:
            sys.exit(code)
        return code


def _wants_json(args: Sequence[str] | None) -> bool:
    """Return whether the command line has --json. Reads it as text: it may be the part that cannot be parsed."""
    given = list(sys.argv[1:] if args is None else args)
    return "--json" in (given[: given.index("--")] if "--" in given else given)


_EXAMPLES = (
    ("vvwatch dev --demo --once", "see the whole way in under a minute"),
    ("vvwatch dev ./incoming", "watch a folder and export the results beside it"),
    ("vvwatch run --config vvwatch.toml", "the daemon, with what the file declares"),
    ("vvwatch status", "what it is doing"),
)


@click.group(
    cls=Root,
    examples=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="vvwatch", message="vvwatch %(version)s")
@click.option("--debug", is_flag=True, help="Print a traceback when something goes wrong.")
@click.option("--no-color", is_flag=True, help="No colours, as with NO_COLOR=1.")
@click.pass_context
def vvwatch(ctx: click.Context, *, debug: bool, no_color: bool) -> None:
    """Folder watcher for object storage: import, process, export and announce new media files."""
    root = ctx.command
    assert isinstance(root, Root)  # noqa: S101  # it is made so, right above
    root.debug = debug
    ctx.color = choose_colour(os.environ, refused=no_color)


def main() -> None:
    """Run the console script."""
    vvwatch.main(prog_name="vvwatch")
