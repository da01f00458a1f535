"""Reports a failed command on stderr, with the place and a remedy, and chooses its exit code."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator

import click

from vvwatch.errors import ConfigInvalid, SchemaTooNew, SecretKeyMismatch, VvwatchError

FAILURE = 1
USAGE = 2
UNREACHABLE = os.EX_UNAVAILABLE
TRY_LATER = os.EX_TEMPFAIL
REFUSED = os.EX_NOPERM
INVALID_CONFIG = os.EX_CONFIG
INTERRUPTED = 130


class Failure(VvwatchError):
    """Raised when a command fails; `where` names the place, `exit_code` is for the shell."""

    def __init__(self, message: str, hint: str = "", *, where: str = "", exit_code: int = FAILURE) -> None:
        super().__init__(message, hint)
        self.where = where
        self.exit_code = exit_code


def report_failure(error: BaseException, *, debug: bool = False) -> int:
    """Print the error on stderr and return the exit code; print a traceback only with `debug`."""
    error = _find_cause(error)
    if debug:
        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
    for line in failure_lines(error):
        click.echo(line, err=True)
    return _exit_code(error)


def failure_lines(error: BaseException) -> Iterator[str]:
    """Return `error: what`, `  where: place` and `  try: command`, without unknown parts."""
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        yield "interrupted"
    elif isinstance(error, click.exceptions.NoArgsIsHelpError):
        yield error.format_message()
    elif isinstance(error, click.ClickException):
        yield f"error: {_decapitalize(error.format_message())}"
        yield from _usage_hint(error)
    elif isinstance(error, ConfigInvalid):
        count = len(error.problems)
        yield f"error: the configuration has {count} problem{'s' if count > 1 else ''}"
        yield from (f"  where: {problem}" for problem in error.problems)
        yield f"  try: {'the same command with --help' if _is_usage(error) else error.hint}"
    else:
        yield from _error_lines(error)


def _error_lines(error: BaseException) -> Iterator[str]:
    if not isinstance(error, VvwatchError):
        yield f"error: {type(error).__name__}: {error}"
        yield "  try: the same command as `vvwatch --debug …`, for the traceback"
        return
    yield f"error: {error.message}"
    where = error.where if isinstance(error, Failure) else ""
    yield from (f"  {name}: {text}" for name, text in (("where", where), ("try", error.hint)) if text)


def _usage_hint(error: click.ClickException) -> Iterator[str]:
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        yield f"  try: {context.command_path} --help"


def _decapitalize(text: str) -> str:
    """Return a message of click in our style: lower case, no full stop."""
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _find_cause(error: BaseException) -> BaseException:
    """Return the single error in nested groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_usage(error: ConfigInvalid) -> bool:
    """Return whether only the command line is wrong (--state-dir may also be wrong because of the folder)."""
    return all(problem.file == "flags" and problem.key != "state_dir" for problem in error.problems)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, Failure):
        return error.exit_code
    if isinstance(error, ConfigInvalid):
        return USAGE if _is_usage(error) else INVALID_CONFIG
    if isinstance(error, SchemaTooNew | SecretKeyMismatch):
        return INVALID_CONFIG  # as long as nobody mends that, a restart meets it again
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return INTERRUPTED
    return error.exit_code if isinstance(error, click.ClickException) else FAILURE
