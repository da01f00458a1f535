"""The command line: one file a command."""

from vvwatch.cli.root import main

__all__ = ["main"]
